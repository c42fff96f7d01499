package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile bounds what is read as a configuration, far above any real one.
const maxFile = 256 << 10

// maxDepth bounds the nesting of a value, far above the deepest key.
const maxDepth = 32

// decoder fills a Config from YAML nodes. It notes where every value came
// from and goes on after a problem.
type decoder struct {
	where    map[string]string // key in dotted form -> file:line:column or override
	problems []Problem
}

// origin is the text that a node was parsed from.
type origin struct {
	name    string // file, or the whole override
	lines   bool   // positions within the text mean something
	anchors map[string]ast.Node
}

func (o origin) at(n ast.Node) string {
	if !o.lines || n == nil || n.GetToken() == nil {
		return o.name
	}
	p := n.GetToken().Position
	return fmt.Sprintf("%s:%d:%d", o.name, p.Line, p.Column)
}

// parse turns YAML text into its one document's node, nil if it is empty or
// no YAML; the latter leaves a problem.
func (d *decoder) parse(o origin, text string) ast.Node {
	if !utf8.ValidString(text) {
		d.problem(o.name, "", "want UTF-8 text")
		return nil
	}
	if len(text) > maxFile {
		d.problem(o.name, "", "want at most %d bytes, found %d", maxFile, len(text))
		return nil
	}
	if depth := nesting(text); depth > maxDepth {
		d.problem(o.name, "", "want brackets nested at most %d deep, found %d", maxDepth, depth)
		return nil
	}
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		d.syntax(o, err)
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			d.problem(o.at(doc.Body), "", "want one YAML document, found another")
			return nil
		}
		body = doc.Body
	}
	return body
}

// nesting is an upper bound of how deep flow collections are nested.
func nesting(text string) int {
	depth, deepest := 0, 0
	for _, b := range []byte(text) {
		switch b {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		}
	}
	return deepest
}

// value decodes one node into v, the value of the key path.
func (d *decoder) value(o origin, n ast.Node, v reflect.Value, path string, r rule) {
	d.where[path] = o.at(n)
	n, ok := d.resolve(o, n, path, 0)
	if !ok {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(o, n, v, path)
	case reflect.Slice:
		d.list(o, n, v, path, r)
	case reflect.Map:
		d.mapping(o, n, v, path, r)
	default:
		if text := scalar(n, v); text != "" {
			d.problem(o.at(n), path, "%s", text)
		}
	}
}

// resolve follows anchors, aliases and tags to the node they stand for.
func (d *decoder) resolve(o origin, n ast.Node, path string, depth int) (ast.Node, bool) {
	if depth > maxDepth {
		d.problem(o.at(n), path, "want an alias of another value, found one of itself")
		return nil, false
	}
	switch n := n.(type) {
	case *ast.AnchorNode:
		o.anchors[n.Name.GetToken().Value] = n.Value
		return d.resolve(o, n.Value, path, depth+1)
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		target, ok := o.anchors[name]
		if !ok {
			d.problem(o.at(n), path, "alias %q has no anchor before it", name)
			return nil, false
		}
		return d.resolve(o, target, path, depth+1)
	case *ast.TagNode:
		d.problem(o.at(n), path, "want a plain value, found the tag %s", n.Start.Value)
		return nil, false
	}
	return n, true
}

func (d *decoder) structure(o origin, n ast.Node, v reflect.Value, path string) {
	if n == nil || n.Type() == ast.NullType {
		return
	}
	d.pairs(o, n, path, func(key string, at, value ast.Node) {
		f, ok := field(v.Type(), key)
		if !ok {
			d.problem(o.at(at), path, "unknown key %q%s", key, suggestKey(v.Type(), key))
			return
		}
		d.value(o, value, v.FieldByIndex(f.Index), join(path, key), ruleOf(f.Tag))
	})
}

// pairs calls visit for every key of a mapping, and notes keys that come
// twice.
func (d *decoder) pairs(o origin, n ast.Node, path string, visit func(key string, at, value ast.Node)) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.problem(o.at(n), path, "want keys and values, found %s", describe(n))
		return
	}
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		key := it.Key()
		if key.IsMergeKey() || key.GetToken() == nil {
			d.problem(o.at(n), path, "want plain keys, found %s", describe(key))
			continue
		}
		name := key.GetToken().Value
		if seen[name] {
			d.problem(o.at(key), path, "key %q comes twice", name)
			continue
		}
		seen[name] = true
		visit(name, key, it.Value())
	}
}

func (d *decoder) list(o origin, n ast.Node, v reflect.Value, path string, r rule) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.problem(o.at(n), path, "want a list, found %s", describe(n))
		return
	}
	items := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		d.value(o, item, items.Index(i), join(path, strconv.Itoa(i)), r)
	}
	v.Set(items)
}

func (d *decoder) mapping(o origin, n ast.Node, v reflect.Value, path string, r rule) {
	items := reflect.MakeMap(v.Type())
	d.pairs(o, n, path, func(key string, at, value ast.Node) {
		d.entry(o, at, value, items, key, path, r)
	})
	v.Set(items)
}

func (d *decoder) entry(o origin, at, value ast.Node, items reflect.Value, key, path string, r rule) {
	if !slices.Contains(r.keys, key) {
		d.problem(o.at(at), path, "unknown key %q%s", key, didYouMean(key, r.keys))
		return
	}
	item := reflect.New(items.Type().Elem()).Elem()
	d.value(o, value, item, join(path, key), rule{})
	items.SetMapIndex(reflect.ValueOf(key), item)
}

// scalar sets v to the node's value, or says what is wrong.
func scalar(n ast.Node, v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		if s, ok := text(n); ok {
			v.SetString(s)
			return ""
		}
		return "want a word, found " + describe(n)
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
			return ""
		}
		return "want true or false, found " + describe(n)
	case reflect.Int, reflect.Int64:
		if x, ok := number(n); ok && x == math.Trunc(x) && math.Abs(x) < 1<<53 {
			v.SetInt(int64(x))
			return ""
		}
		return "want a whole number, found " + describe(n)
	case reflect.Float64:
		if x, ok := number(n); ok {
			v.SetFloat(x)
			return ""
		}
		return "want a number, found " + describe(n)
	}
	panic("config: no decoder for " + v.Type().String())
}

// text is the source text of a scalar, so that class: true and name: 7 are
// words where words are wanted.
func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func number(n ast.Node) (float64, bool) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		switch x := n.Value.(type) {
		case int64:
			return float64(x), true
		case uint64:
			return float64(x), true
		}
	case *ast.FloatNode:
		return finite(n.Value)
	case *ast.StringNode:
		// The parser wants a dot in a number with an exponent, YAML 1.2 does not.
		if n.Token.Type == token.StringType && exponential.MatchString(n.Value) {
			x, err := strconv.ParseFloat(n.Value, 64)
			if err == nil {
				return finite(x)
			}
		}
	}
	return 0, false
}

var exponential = regexp.MustCompile(`^[-+]?[0-9]+[eE][-+]?[0-9]+$`)

func finite(x float64) (float64, bool) { return x, !math.IsInf(x, 0) && !math.IsNaN(x) }

func describe(n ast.Node) string {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "keys and values"
	case *ast.MergeKeyNode:
		return `the merge key "<<"`
	case *ast.StringNode:
		return strconv.Quote(n.Value)
	default:
		return n.GetToken().Value
	}
}

func (d *decoder) problem(where, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{Where: where, Path: path, Text: fmt.Sprintf(format, args...)})
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// suggestKey names a near key of the same section, or else the places where
// the very key belongs.
func suggestKey(section reflect.Type, key string) string {
	if s := didYouMean(key, fieldNames(section)); s != "" {
		return s
	}
	var places []string
	visitKeys(reflect.TypeFor[Config](), "", func(path, name string) {
		if name == key {
			places = append(places, path)
		}
	})
	if len(places) == 0 {
		return ""
	}
	return "; it belongs in " + oneOf(places)
}

// visitKeys calls visit for every key that lies in plain sections.
func visitKeys(t reflect.Type, path string, visit func(path, name string)) {
	for f := range t.Fields() {
		name := fieldName(f)
		visit(join(path, name), name)
		if f.Type.Kind() == reflect.Struct {
			visitKeys(f.Type, join(path, name), visit)
		}
	}
}

// syntax notes what the YAML parser did not understand.
func (d *decoder) syntax(o origin, err error) {
	var y yaml.Error
	if !errors.As(err, &y) {
		d.problem(o.name, "", "%v", err)
		return
	}
	where := o.name
	if t := y.GetToken(); t != nil && o.lines {
		where = fmt.Sprintf("%s:%d:%d", o.name, t.Position.Line, t.Position.Column)
	}
	d.problem(where, "", "no valid YAML: %s", y.GetMessage())
}
