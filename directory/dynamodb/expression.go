package dynamodb

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/mail"
)

// expression is an update expression in the making. Every name and value goes
// in by a placeholder: the reserved words of DynamoDB (Name is one) and odd
// characters need no thought.
type expression struct {
	sets, removes, adds, deletes []string

	condition string
	names     map[string]string
	values    item
}

func newExpression() *expression {
	return &expression{names: map[string]string{}, values: item{}}
}

// attributes sets the named attributes and removes those that are nil.
func (e *expression) attributes(attributes map[string]any) error {
	for i, name := range slices.Sorted(maps.Keys(attributes)) {
		n, v := fmt.Sprintf("#n%d", i), fmt.Sprintf(":v%d", i)
		e.names[n] = name
		if attributes[name] == nil {
			e.removes = append(e.removes, n)
			continue
		}
		av, err := writeAttribute(name, attributes[name])
		if err != nil {
			return err
		}
		e.values[v] = av
		e.sets = append(e.sets, n+" = "+v)
	}
	return nil
}

func writeAttribute(name string, v any) (types.AttributeValue, error) {
	av, err := writeValue(v)
	if err != nil {
		return nil, &mail.Error{Class: mail.Permanent, Public: fmt.Sprintf("attribute %q cannot be stored", name), Err: err}
	}
	return av, nil
}

func (e *expression) status(subscribed bool) {
	e.names["#status"] = statusName
	e.values[":status"] = &types.AttributeValueMemberBOOL{Value: subscribed}
	e.sets = append(e.sets, "#status = :status")
}

// leave adds lists to OptOut, rejoin takes them away; not both in one.
func (e *expression) leave(lists []string)  { e.optOut(&e.adds, lists) }
func (e *expression) rejoin(lists []string) { e.optOut(&e.deletes, lists) }

func (e *expression) optOut(clause *[]string, lists []string) {
	if len(lists) == 0 {
		return
	}
	e.names["#optout"] = optOutName
	e.values[":lists"] = &types.AttributeValueMemberSS{Value: directory.Union(lists, nil)}
	*clause = append(*clause, "#optout :lists")
}

func (e *expression) touchesOptOut() bool { return len(e.adds)+len(e.deletes) > 0 }

// text is nil when there is nothing to change: UpdateItem then only looks at
// its condition, or makes an item that has nothing but its key.
func (e *expression) text() *string {
	var clauses []string
	for _, c := range []struct {
		verb  string
		parts []string
	}{{"SET ", e.sets}, {"REMOVE ", e.removes}, {"ADD ", e.adds}, {"DELETE ", e.deletes}} {
		if len(c.parts) > 0 {
			clauses = append(clauses, c.verb+strings.Join(c.parts, ", "))
		}
	}
	if len(clauses) == 0 {
		return nil
	}
	return aws.String(strings.Join(clauses, " "))
}

func (e *expression) conditionText() *string {
	if e.condition == "" {
		return nil
	}
	return aws.String(e.condition)
}

// DynamoDB refuses empty maps.
func (e *expression) namesOrNil() map[string]string {
	if len(e.names) == 0 {
		return nil
	}
	return e.names
}

func (e *expression) valuesOrNil() item {
	if len(e.values) == 0 {
		return nil
	}
	return e.values
}
