package expand

import (
	"fmt"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

// The functions of a filter that are ours. Both give seconds since 1970, as CreateTime
// has them, and take only what is written out, so that a mistake is found at the start.
const (
	funcDaysAgo = "daysAgo"
	funcDate    = "date"
)

const (
	maxDaysAgo = 36500
	// envNow is where a filter finds the time; nobody can write such a name.
	envNow = "\x00now"
)

// timeOf is what a call of daysAgo or date stands for.
func timeOf(name string, args []ast.Node, loc *time.Location) (ast.Node, error) {
	switch name {
	case funcDaysAgo:
		days, ok := oneNumber(args)
		if !ok || days < 0 || days > maxDaysAgo {
			return nil, fmt.Errorf("daysAgo takes a number of days from 0 to %d that is written out, such as daysAgo(30)", maxDaysAgo)
		}
		// A day has 24 hours here, so that it makes no difference where a day begins.
		return &ast.BinaryNode{Operator: "-", Left: &ast.IdentifierNode{Value: envNow}, Right: &ast.FloatNode{Value: days * 24 * 60 * 60}}, nil
	case funcDate:
		t, ok := oneDate(args, loc)
		if !ok {
			return nil, fmt.Errorf(`date takes a day that there is and that is written out, such as date("2026-01-31"), or a minute of it, date("2026-01-31 09:30")`)
		}
		return &ast.FloatNode{Value: float64(t.Unix())}, nil
	}
	for _, ours := range []string{funcDaysAgo, funcDate} {
		if EditDistance([]rune(strings.ToLower(name)), []rune(strings.ToLower(ours))) <= 2 {
			return nil, fmt.Errorf("there is no function %s; did you mean %s?", name, ours)
		}
	}
	return nil, fmt.Errorf("there is no function %s; a filter has %s, %s, %s", name, strings.Join(filterFuncs(), ", "), funcDaysAgo, funcDate)
}

func oneNumber(args []ast.Node) (float64, bool) {
	if len(args) != 1 {
		return 0, false
	}
	switch n := args[0].(type) {
	case *ast.IntegerNode:
		return float64(n.Value), true
	case *ast.FloatNode:
		return n.Value, true
	}
	return 0, false
}

func oneDate(args []ast.Node, loc *time.Location) (t time.Time, ok bool) {
	if loc == nil {
		loc = time.UTC
	}
	if len(args) != 1 {
		return t, false
	}
	text, ok := args[0].(*ast.StringNode)
	if !ok {
		return t, false
	}
	t, err := time.ParseInLocation(time.DateOnly, text.Value, loc)
	if err != nil {
		t, err = time.ParseInLocation("2006-01-02 15:04", text.Value, loc)
	}
	return t, err == nil
}
