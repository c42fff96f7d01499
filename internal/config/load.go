package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/surrogaze/surrogaze/configs"
)

// Load reads a configuration file, lays it over [DefaultConfig], applies the
// overrides ("train.alpha=0.2", "data.unannotated.0.path=x.parquet",
// "train.arms=[none, human]" or "train.arms=none,human") in their order and
// validates the result. A path that does not exist may name a built-in
// configuration: quickstart, quickstart.yaml, configs/quickstart.yaml.
//
// Where all values are good so far, more says what else is wrong with them.
//
// The error is an [*Error] with every problem that was found.
func Load(pathOrName string, sets []string, more ...func(*Config) []Problem) (*Config, error) {
	source, text, err := read(pathOrName)
	if err != nil {
		return nil, err
	}
	return decode(source, text, sets, more...)
}

func decode(source, text string, sets []string, more ...func(*Config) []Problem) (*Config, error) {
	c := DefaultConfig()
	base := filepath.Base(source)
	c.Name = strings.TrimSuffix(base, filepath.Ext(base))
	d := &decoder{where: map[string]string{}}
	o := origin{name: source, lines: true, anchors: map[string]ast.Node{}}
	n := d.parse(o, strings.TrimPrefix(text, "\ufeff"))
	if len(d.problems) > 0 {
		return nil, asError(d.problems)
	}
	d.structure(o, n, reflect.ValueOf(c).Elem(), "")
	for _, s := range sets {
		d.override(c, s)
	}
	d.adaptDefaults(c)
	problems := slices.Concat(d.problems, d.located(source, check(c)))
	for _, find := range more {
		if len(problems) == 0 {
			problems = d.located(source, find(c))
		}
	}
	if err := asError(problems); err != nil {
		return nil, err
	}
	return c, nil
}

// located are the problems of values that could be read, with where these were given.
func (d *decoder) located(source string, found []Problem) []Problem {
	var problems []Problem
	for _, p := range found {
		if reported(d.problems, p.Path) {
			continue
		}
		p.Where = d.whereIs(p.Path)
		if p.Path == "name" && p.Where == "" {
			p.Where, p.Text = source, p.Text+", the file's name: rename it or give the key name"
		}
		problems = append(problems, p)
	}
	return problems
}

// given tells whether a file or an override says anything of a key.
func (d *decoder) given(key string) bool {
	for k := range d.where {
		if k == key || strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

// whereIs is the place that set the key, or the nearest section around it.
func (d *decoder) whereIs(key string) string {
	for key != "" {
		if w, ok := d.where[key]; ok {
			return w
		}
		key = key[:max(0, strings.LastIndexByte(key, '.'))]
	}
	return ""
}

// reported tells whether a value could not even be read, so that its default
// need not be judged.
func reported(problems []Problem, key string) bool {
	for _, p := range problems {
		if p.Path != "" && (p.Path == key || strings.HasPrefix(p.Path, key+".") || strings.HasPrefix(key, p.Path+".")) {
			return true
		}
	}
	return false
}

func read(pathOrName string) (source, text string, err error) {
	data, err := os.ReadFile(pathOrName)
	if err == nil {
		return pathOrName, string(data), nil
	}
	name := builtInName(pathOrName)
	if data, err := fs.ReadFile(configs.FS, name+".yaml"); err == nil && !isFile(pathOrName) {
		return path.Join("configs", name+".yaml"), string(data), nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", &Error{err: err, Problems: []Problem{{Text: fmt.Sprintf(
			"config %q: no such file, and no built-in configuration (%s)%s",
			pathOrName, strings.Join(configs.Names(), ", "), didYouMean(name, configs.Names()))}}}
	}
	return "", "", &Error{err: err, Problems: []Problem{{Text: fmt.Sprintf("config %q: %v", pathOrName, unwrapPath(err))}}}
}

// isFile reports whether there is something of a name that is no folder: a data set's
// folder may be called as a configuration is.
func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}

// builtInName is the name that a path would have among the built-in
// configurations.
func builtInName(p string) string {
	return strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(p), "configs/"), ".yaml")
}

func unwrapPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// override applies one "key=value", value being YAML.
func (d *decoder) override(c *Config, set string) {
	o := origin{name: "--set " + set, anchors: map[string]ast.Node{}}
	key, text, ok := strings.Cut(set, "=")
	if !ok || key == "" {
		d.problem(o.name, "", "want key=value")
		return
	}
	n := d.parse(o, text)
	if n == nil && strings.TrimSpace(text) == "" {
		n = d.parse(o, `""`)
	}
	if n == nil {
		return
	}
	path := strings.Split(strings.NewReplacer("[", ".", "]", "").Replace(key), ".")
	d.assign(o, n, reflect.ValueOf(c).Elem(), "", path, rule{})
}

// assign walks down to the value that the rest of the path names and decodes
// the node into it.
func (d *decoder) assign(o origin, n ast.Node, v reflect.Value, at string, rest []string, r rule) {
	if len(rest) == 0 {
		d.value(o, listOf(n, v), v, at, r)
		return
	}
	key := rest[0]
	switch v.Kind() {
	case reflect.Struct:
		f, ok := field(v.Type(), key)
		if !ok {
			d.problem(o.name, at, "unknown key %q%s", key, suggestKey(v.Type(), key))
			return
		}
		d.assign(o, n, v.FieldByIndex(f.Index), join(at, key), rest[1:], ruleOf(f.Tag))
	case reflect.Slice:
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i > v.Len() {
			d.problem(o.name, at, "want an index from 0 to %d, found %q", v.Len(), key)
			return
		}
		if i == v.Len() {
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		}
		d.assign(o, n, v.Index(i), join(at, key), rest[1:], r)
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		d.entry(o, n, n, v, key, at, r)
	default:
		d.problem(o.name, at, "holds one value, has no key %q", key)
	}
}

// listOf reads none,human as [none, human] where a list of scalars is
// wanted, so that a shell needs no quotes.
func listOf(n ast.Node, v reflect.Value) ast.Node {
	s, ok := text(n)
	if !ok || v.Kind() != reflect.Slice || v.Type().Elem().Kind() == reflect.Struct {
		return n
	}
	d := &decoder{}
	if list := d.parse(origin{}, "["+s+"]"); list != nil {
		return list
	}
	return n
}
