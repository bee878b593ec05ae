package expand

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"postern/directory"
)

const (
	maxFilter    = 4096  // octets of a filter's source: bounds the parser's depth
	filterNodes  = 1000  // parts of its syntax tree
	filterBudget = 10000 // elements that one evaluation may allocate
)

// filterFuncs lists the functions of expr-lang that a filter may call: those
// that look at text and numbers. Nothing that loops, allocates by a number, or
// gives another answer tomorrow.
func filterFuncs() []string {
	return []string{"len", "lower", "upper", "trim", "hasPrefix", "hasSuffix", "indexOf",
		"int", "float", "string", "abs", "ceil", "floor", "round", "min", "max"}
}

// Filter chooses users by their fields, such as
//
//	Gender == "Female" && CreateTime >= daysAgo(30)
//
// in the language of expr-lang.org, without its loops and variables, and with
// daysAgo and date. Its cost is bounded by its length. It is safe for use by many
// goroutines.
type Filter struct {
	program *vm.Program // nil: matches everyone
	vars    []filterVar
	fields  *Fields
}

// filterVar is a field that the filter looks at.
type filterVar struct{ field, typ string }

// ErrUnknownField is in the errors of filters that are right but for a field that
// is not known yet.
var ErrUnknownField = errors.New("unknown field")

// CompileFilter reads a filter over the fields of f and Email; days begin as they do
// at loc (nil: UTC). A field may be written as in a placeholder: case, width and
// aliases are ignored. The error of a filter that is wrong, names an unknown field
// (with the nearest known one; it wraps [ErrUnknownField]), compares different types,
// gives daysAgo or date something else than it takes, or is not true or false, is one
// sentence. A filter of nothing but spaces matches everyone.
func CompileFilter(src string, f *Fields, loc *time.Location) (filter *Filter, err error) {
	defer func() {
		if r := recover(); r != nil {
			filter, err = nil, fmt.Errorf("the filter %q cannot be used: %v", clip(src), r)
		}
	}()
	if strings.TrimSpace(src) == "" {
		return &Filter{fields: f}, nil
	}
	if len(src) > maxFilter {
		return nil, fmt.Errorf("the filter %q is too long: %d bytes, at most %d are allowed", clip(src), len(src), maxFilter)
	}
	names := &filterNames{fields: f, loc: loc, env: map[string]any{envNow: 0.0}}
	for _, name := range f.Names() {
		if name == FieldEmail || !IsBuiltIn(name) {
			names.env[name] = zeroOf(f.Type(name))
		}
	}
	options := []expr.Option{expr.Env(names.env), expr.AsBool(), expr.WarnOnAny(),
		expr.Patch(names), expr.MaxNodes(filterNodes), expr.DisableAllBuiltins()}
	for _, fn := range filterFuncs() {
		options = append(options, expr.EnableBuiltin(fn))
	}
	program, err := expr.Compile(src, options...)
	if names.problem != nil {
		return nil, fmt.Errorf("the filter %q cannot be used: %w", clip(src), names.problem)
	}
	if err != nil {
		return nil, fmt.Errorf("the filter %q cannot be used: %w", clip(src), oneLine(err))
	}
	return &Filter{program: program, vars: names.used, fields: f}, nil
}

// filterNames walks a filter before its types are checked: it writes every name
// as the vocabulary does, notes which fields are looked at, and refuses what the
// cost of a filter could grow by.
type filterNames struct {
	fields  *Fields
	loc     *time.Location
	env     map[string]any
	used    []filterVar
	problem error    // the first one
	blame   ast.Node // the name that the problem is about
}

// Visit implements ast.Visitor; children come before their parents.
func (v *filterNames) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		v.name(n)
	case *ast.CallNode:
		v.call(node, n)
	case *ast.VariableDeclaratorNode, *ast.PredicateNode, *ast.PointerNode:
		// over what was said of the names within, which these declare
		v.problem = errors.New("loops and variables (all, any, filter, let …) are not for filters")
	case *ast.BinaryNode:
		if n.Operator == ".." {
			v.problem = errors.New("ranges (..) are not for filters; compare with >= and <=")
		}
	}
}

func (v *filterNames) name(n *ast.IdentifierNode) {
	field, ok := v.fields.Resolve(n.Value)
	if _, known := v.env[field]; !ok || !known {
		if v.problem == nil {
			v.problem, v.blame = v.unknown(n.Value), n
		}
		return
	}
	n.Value = field
	if one := (filterVar{field, v.fields.Type(field)}); !slices.Contains(v.used, one) {
		v.used = append(v.used, one)
	}
}

// call puts what daysAgo and date stand for in their place; there is no function
// beside these and the ones that expr-lang has compiled itself.
func (v *filterNames) call(node *ast.Node, n *ast.CallNode) {
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || v.problem != nil && v.blame != n.Callee {
		return
	}
	v.problem, v.blame = nil, nil
	seconds, err := timeOf(id.Value, n.Arguments, v.loc)
	if err != nil {
		v.problem = err
		return
	}
	ast.Patch(node, seconds)
}

func (v *filterNames) unknown(name string) error {
	if near := v.fields.Nearest(name); near != "" && near != name {
		return badField(fmt.Sprintf("there is no field %s; did you mean %s?", name, near))
	}
	var known []string
	for _, k := range v.fields.Names() {
		if _, ok := v.env[k]; ok {
			known = append(known, k)
		}
	}
	return badField(fmt.Sprintf("there is no field %s; there are %s", name, strings.Join(known, ", ")))
}

// badField is a sentence about a field that is not known.
type badField string

func (b badField) Error() string        { return string(b) }
func (b badField) Is(target error) bool { return target == ErrUnknownField }

// oneLine takes the picture of the source out of an error of expr-lang.
func oneLine(err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return err
	}
	said := strings.ReplaceAll(strings.Join(strings.Fields(at.Message), " "), "float64", TypeNumber)
	return fmt.Errorf("%s (character %d)", said, at.Column+1)
}

// clip shortens what is quoted in a message for people.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// Match says whether the filter chooses u at the time now, from which daysAgo counts.
// An attribute that is missing or of another kind counts as the zero value of its
// field's type ([Filter.Lacks]); a number stored as text is read. An error says that
// this user could not be judged (a pattern taken from a field that is no pattern); it
// never panics.
func (f *Filter) Match(u *directory.User, now time.Time) (matched bool, err error) {
	if f.program == nil {
		return true, nil
	}
	defer func() {
		if r := recover(); r != nil {
			matched, err = false, fmt.Errorf("the filter cannot judge this user: %v", r)
		}
	}()
	env := make(map[string]any, len(f.vars)+1)
	env[envNow] = float64(now.Unix())
	for _, v := range f.vars {
		env[v.field], _ = convert(f.fields.Value(u, v.field), v.typ)
	}
	machine := vm.VM{MemoryBudget: filterBudget}
	out, err := machine.Run(f.program, env)
	if err != nil {
		return false, fmt.Errorf("the filter cannot judge this user: %w", oneLine(err))
	}
	is, ok := out.(bool)
	if !ok {
		return false, fmt.Errorf("the filter cannot judge this user: it says %T, neither true nor false", out)
	}
	return is, nil
}

// Looks gives what u has in the fields at which the filter looks, as text.
func (f *Filter) Looks(u *directory.User) map[string]string {
	values := make(map[string]string, len(f.vars))
	for _, v := range f.vars {
		values[v.field] = f.fields.Value(u, v.field)
	}
	return values
}

// Lacks names the fields at which the filter looks and in which u has nothing, or
// nothing of their type: Match takes 0, false or the empty text for them.
func (f *Filter) Lacks(u *directory.User) (fields []string) {
	for _, v := range f.vars {
		text := f.fields.Value(u, v.field)
		if _, ok := convert(text, v.typ); !ok || text == "" {
			fields = append(fields, v.field)
		}
	}
	return fields
}

func zeroOf(typ string) any {
	zero, _ := convert("", typ)
	return zero
}

// convert reads an attribute's text as its field's type. What does not parse is
// the zero value, and so is NaN, which would be unequal to itself.
func convert(text, typ string) (v any, ok bool) {
	switch typ {
	case TypeNumber:
		n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return 0.0, false
		}
		return n, true
	case TypeBool:
		is, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(text)))
		return is, err == nil
	}
	return text, true
}
