package dynamodb

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
)

// otherCases are the names in an item that are this one in another case, sorted.
func otherCases(it item, name string) (others []string) {
	for other := range it {
		if len(other) == len(name) && other != name && strings.EqualFold(other, name) {
			others = append(others, other)
		}
	}
	slices.Sort(others)
	return others
}

// readStatus takes the attribute by its name; without it, every spelling that
// there is must say yes. known says that something understandable said it. odd is all
// that is not as Postern writes it.
func readStatus(it item) (subscribed, known bool, odd []string) {
	others := otherCases(it, statusName)
	if av, ok := it[statusName]; ok {
		subscribed, known = status(av)
		odd = oddStatus(statusName, av)
		for _, name := range others {
			text := name + " is there beside " + statusName
			if is, _ := status(it[name]); is != subscribed {
				text += ", says something else, and is not looked at"
			}
			odd = append(odd, text)
		}
		return subscribed, known, odd
	}
	if len(others) == 0 {
		return false, false, []string{statusName + " is missing"}
	}
	subscribed, no := true, false
	for _, name := range others {
		is, understood := status(it[name])
		odd = append(odd, name+" is "+statusName+" in another case")
		odd = append(odd, oddStatus(name, it[name])...)
		subscribed, no = subscribed && is, no || understood && !is
	}
	return subscribed, subscribed || no, odd
}

// status is read closed; what is binary is no text, whatever its base64 says.
func status(av types.AttributeValue) (subscribed, known bool) {
	if _, binary := av.(*types.AttributeValueMemberB); binary {
		return false, false
	}
	return directory.KnownStatus(readValue(av))
}

// oddStatus says what the value is, when it is no boolean.
func oddStatus(name string, av types.AttributeValue) []string {
	if _, ok := av.(*types.AttributeValueMemberBOOL); ok {
		return nil
	}
	subscribed, known := status(av)
	if !known {
		return []string{fmt.Sprintf("%s is %s, which is not understood", name, describe(av))}
	}
	return []string{fmt.Sprintf("%s is %s, which is read as %v", name, describe(av), subscribed)}
}

// describe names a value in few words.
func describe(av types.AttributeValue) string {
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		text := v.Value
		if len(text) > 20 {
			text = strings.ToValidUTF8(text[:20], "") + "…"
		}
		return fmt.Sprintf("the text %q", text)
	case *types.AttributeValueMemberN:
		return "the number " + v.Value
	case *types.AttributeValueMemberBOOL:
		return fmt.Sprint(v.Value)
	case *types.AttributeValueMemberNULL:
		return "null"
	case *types.AttributeValueMemberL:
		return "a list"
	case *types.AttributeValueMemberM:
		return "a map"
	case *types.AttributeValueMemberB:
		return "binary"
	}
	return "a set"
}

// oddOptOut says what OptOut is, when it is no set of texts.
func oddOptOut(it item) (odd []string) {
	for _, name := range otherCases(it, optOutName) {
		odd = append(odd, name+" is "+optOutName+" in another case, and is not looked at")
	}
	av, there := it[optOutName]
	if _, set := av.(*types.AttributeValueMemberSS); set || !there {
		return odd
	}
	if _, plain := plainLists(av); plain {
		return append(odd, optOutName+" is "+kindOf(av)+" in place of a set of texts")
	}
	return append(odd, optOutName+" is "+kindOf(av)+" with something in it that is no list id")
}

// plainLists gives the ids of an OptOut of another type, and says that it holds nothing
// else.
func plainLists(av types.AttributeValue) (ids []string, plain bool) {
	ids = readLists(av)
	switch v := av.(type) {
	case *types.AttributeValueMemberNULL:
		return nil, true
	case *types.AttributeValueMemberS:
		return ids, v.Value != ""
	case *types.AttributeValueMemberL:
		for _, one := range v.Value {
			if s, ok := one.(*types.AttributeValueMemberS); !ok || s.Value == "" {
				return ids, false
			}
		}
		return ids, true
	}
	return ids, false
}

// kindOf is describe without the value.
func kindOf(av types.AttributeValue) string {
	switch av.(type) {
	case *types.AttributeValueMemberS:
		return "a text"
	case *types.AttributeValueMemberN:
		return "a number"
	case *types.AttributeValueMemberBOOL:
		return "a boolean"
	}
	return describe(av)
}
