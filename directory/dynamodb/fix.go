package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"postern/directory"
	"postern/mail"
)

// mendTries is how often a row is read anew that changes while it is mended.
const mendTries = 3

// Mend implements [directory.Mender], 32 rows at a time. Each write bears the condition
// that everything it touches is as it was read: an opt-out, a consent or a sync that
// comes in between wins, and the row is read again.
func (s *Store) Mend(ctx context.Context, keys []mail.Address, f *directory.Forms, dry bool) ([]directory.Mended, error) {
	var mu sync.Mutex
	var all []directory.Mended
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for _, key := range keys {
		g.Go(func() error {
			done, err := s.mendOne(gctx, key, f, dry)
			if len(done) > 0 {
				mu.Lock()
				all = append(all, directory.Mended{Email: key, What: done})
				mu.Unlock()
			}
			return err
		})
	}
	err := g.Wait()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return all, err
}

// mendOne says what was done. A row that is gone, or changes every time, is left alone.
func (s *Store) mendOne(ctx context.Context, key mail.Address, f *directory.Forms, dry bool) (done []string, err error) {
	for range mendTries {
		var it item
		err := s.patiently(ctx, func() (err error) {
			it, err = s.getItem(ctx, key)
			return err
		})
		if errors.Is(err, directory.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		m := &mending{item: it, expression: newExpression()}
		if err := m.plan(f); err != nil || len(m.done) == 0 || dry {
			return m.done, err
		}
		m.expression.condition = strings.Join(m.conditions, " AND ")
		err = s.patiently(ctx, func() error { return s.updateItem(ctx, key, m.expression) })
		var changed *types.ConditionalCheckFailedException
		if !errors.As(err, &changed) {
			return m.done, err
		}
	}
	return nil, nil
}

// mending is what is to become of one item.
type mending struct {
	item       item
	expression *expression
	conditions []string
	done       []string
}

func (m *mending) plan(f *directory.Forms) error {
	m.status()
	m.optOut()
	attributes := map[string]any{}
	for name, av := range m.item {
		if !directory.Reserved(name) {
			attributes[name] = readValue(av)
		}
	}
	changes, done := f.Mend(attributes)
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if changes[name] == nil {
			m.remove(name)
			continue
		}
		av, err := m.asStored(name, changes[name])
		if err != nil {
			return err
		}
		m.set(name, av)
	}
	m.done = append(m.done, done...)
	return nil
}

// asStored is a value as the item has it under the name in another case, with its type:
// a set stays one.
func (m *mending) asStored(name string, v any) (types.AttributeValue, error) {
	for _, other := range otherCases(m.item, name) {
		if av := m.item[other]; reflect.DeepEqual(readValue(av), v) {
			return av, nil
		}
	}
	return writeValue(v)
}

// status makes a boolean of what is understood, under the one name.
func (m *mending) status() {
	av, there := m.item[statusName]
	others := otherCases(m.item, statusName)
	subscribed, known, _ := readStatus(m.item)
	if !known {
		return
	}
	for _, name := range others {
		// A no is kept, whatever else says; beside a yes they contradict each other, and
		// somebody must look.
		if is, understood := status(m.item[name]); subscribed && !(understood && is) {
			return
		}
	}
	if _, ok := av.(*types.AttributeValueMemberBOOL); !ok {
		m.set(statusName, &types.AttributeValueMemberBOOL{Value: subscribed})
		if there {
			m.done = append(m.done, fmt.Sprintf("%s %s became %v", statusName, strings.TrimPrefix(describe(av), "the "), subscribed))
		}
	} else if len(others) > 0 {
		m.unchanged(statusName)
	}
	for _, name := range others {
		m.remove(name)
		m.done = append(m.done, fmt.Sprintf("%s became %s", name, statusName))
	}
}

// optOut makes a set of a text or a list of texts.
func (m *mending) optOut() {
	av, there := m.item[optOutName]
	if _, set := av.(*types.AttributeValueMemberSS); set || !there {
		return
	}
	ids, plain := plainLists(av)
	switch {
	case !plain:
		return
	case len(ids) == 0:
		m.remove(optOutName)
	default:
		m.set(optOutName, &types.AttributeValueMemberSS{Value: ids})
	}
	m.done = append(m.done, fmt.Sprintf("%s, %s, became a set of texts", optOutName, kindOf(av)))
}

// set, remove and unchanged all hold the write to what was read.
func (m *mending) set(name string, av types.AttributeValue) {
	m.expression.sets = append(m.expression.sets, m.unchanged(name)+" = "+m.value(av))
}

func (m *mending) remove(name string) {
	m.expression.removes = append(m.expression.removes, m.unchanged(name))
}

func (m *mending) unchanged(name string) (placeholder string) {
	n := fmt.Sprintf("#m%d", len(m.expression.names))
	m.expression.names[n] = name
	old, there := m.item[name]
	if !there {
		m.hold("attribute_not_exists(%s)", n)
		return n
	}
	list, ok := old.(*types.AttributeValueMemberL)
	if _, plain := plainLists(old); ok && plain && len(list.Value) <= 100 { // an expression is limited
		// Emulators do not compare lists.
		m.hold("attribute_type(%s, %s)", n, m.value(&types.AttributeValueMemberS{Value: "L"}))
		m.hold("size(%s) = %s", n, m.value(&types.AttributeValueMemberN{Value: fmt.Sprint(len(list.Value))}))
		for _, one := range list.Value {
			m.hold("contains(%s, %s)", n, m.value(one))
		}
		return n
	}
	m.hold("%s = %s", n, m.value(old))
	return n
}

func (m *mending) hold(format string, a ...any) {
	m.conditions = append(m.conditions, fmt.Sprintf(format, a...))
}

func (m *mending) value(av types.AttributeValue) (placeholder string) {
	v := fmt.Sprintf(":m%d", len(m.expression.values))
	m.expression.values[v] = av
	return v
}
