package dynamodb

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/mail"
)

// The attributes with a meaning, as they are written.
const (
	keyName    = "Email"
	statusName = "SubscriptionStatus"
	optOutName = "OptOut"
)

type item = map[string]types.AttributeValue

// readUser reads an item; it never fails on what an attribute's type is.
func readUser(it item) directory.User {
	u := directory.User{Attributes: make(map[string]any, len(it)), OptOut: readLists(it[optOutName])}
	if key, ok := it[keyName].(*types.AttributeValueMemberS); ok {
		u.Email = mail.Address(key.Value)
	}
	var known bool
	u.Subscribed, known, u.Odd = readStatus(it)
	u.Unknown = !known
	u.Odd = append(u.Odd, oddOptOut(it)...)
	for name, av := range it {
		if !directory.Reserved(name) {
			u.Attributes[name] = readValue(av)
		}
	}
	return u
}

// readLists reads OptOut, a set of texts; whatever else holds texts is
// read too, because each may be somebody's refusal. Where the type is another program's, so
// may the writing be: "promo, news" and ["promo"] are the ids in it.
func readLists(av types.AttributeValue) []string {
	var ids []string
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		ids = idsIn(v.Value)
	case *types.AttributeValueMemberL:
		for _, one := range v.Value {
			if s, ok := one.(*types.AttributeValueMemberS); ok {
				ids = append(ids, idsIn(s.Value)...)
			}
		}
	case *types.AttributeValueMemberSS:
		ids = v.Value
	}
	return directory.Union(ids, nil)
}

// idsIn are the list ids in a text; all of it where there are none.
func idsIn(text string) []string {
	ids := strings.FieldsFunc(text, func(r rune) bool {
		return r != '_' && r != '-' && r != '*' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	if len(ids) == 0 {
		return []string{text}
	}
	return ids
}

// readValue gives what JSON would make of the value; numbers stay digits.
func readValue(av types.AttributeValue) any {
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return json.Number(v.Value)
	case *types.AttributeValueMemberBOOL:
		return v.Value
	case *types.AttributeValueMemberB:
		return base64.StdEncoding.EncodeToString(v.Value)
	case *types.AttributeValueMemberSS:
		return list(v.Value, func(s string) any { return s })
	case *types.AttributeValueMemberNS:
		return list(v.Value, func(s string) any { return json.Number(s) })
	case *types.AttributeValueMemberBS:
		return list(v.Value, func(b []byte) any { return base64.StdEncoding.EncodeToString(b) })
	case *types.AttributeValueMemberL:
		return list(v.Value, readValue)
	case *types.AttributeValueMemberM:
		m := make(map[string]any, len(v.Value))
		for name, av := range v.Value {
			m[name] = readValue(av)
		}
		return m
	}
	return nil // NULL, and what this SDK does not know yet
}

func list[T any](in []T, f func(T) any) []any {
	out := make([]any, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

// writeValue is the inverse of readValue for what directory.Check lets pass.
func writeValue(v any) (types.AttributeValue, error) {
	switch v := v.(type) {
	case nil:
		return &types.AttributeValueMemberNULL{Value: true}, nil
	case string:
		return &types.AttributeValueMemberS{Value: v}, nil
	case json.Number:
		return &types.AttributeValueMemberN{Value: v.String()}, nil
	case bool:
		return &types.AttributeValueMemberBOOL{Value: v}, nil
	case []any:
		l := make([]types.AttributeValue, len(v))
		for i := range v {
			av, err := writeValue(v[i])
			if err != nil {
				return nil, err
			}
			l[i] = av
		}
		return &types.AttributeValueMemberL{Value: l}, nil
	case map[string]any:
		m := make(item, len(v))
		for name := range v {
			av, err := writeValue(v[name])
			if err != nil {
				return nil, err
			}
			m[name] = av
		}
		return &types.AttributeValueMemberM{Value: m}, nil
	}
	return nil, fmt.Errorf("a %T cannot be stored in DynamoDB", v)
}

func itemKey(key mail.Address) item {
	return item{keyName: &types.AttributeValueMemberS{Value: string(key)}}
}
