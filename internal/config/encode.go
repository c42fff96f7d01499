package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// YAML is the configuration with nothing left out. Loaded again it gives the
// same configuration. The error is that of a value which no file could hold.
func (c *Config) YAML() ([]byte, error) {
	e := &encoder{}
	e.section(reflect.ValueOf(*c), "")
	return e.out.Bytes(), e.err
}

type encoder struct {
	out bytes.Buffer
	err error
}

// section writes one key a line; sections within go below, indented.
func (e *encoder) section(v reflect.Value, indent string) {
	for f, fv := range v.Fields() {
		switch {
		case left(f, fv):
		case fv.Kind() == reflect.Struct && !plain(f.Type):
			fmt.Fprintf(&e.out, "%s%s:\n", indent, fieldName(f))
			e.section(fv, indent+"  ")
		default:
			fmt.Fprintf(&e.out, "%s%s: %s\n", indent, fieldName(f), e.flow(fv))
		}
	}
}

// left tells whether a field says nothing where it is empty.
func left(f reflect.StructField, v reflect.Value) bool {
	return strings.Contains(f.Tag.Get("json"), ",omit") && v.IsZero()
}

// plain tells whether a section holds scalars only and fits on a line.
func plain(t reflect.Type) bool {
	for f := range t.Fields() {
		switch f.Type.Kind() {
		case reflect.Struct, reflect.Slice, reflect.Map:
			return false
		}
	}
	return true
}

// flow writes a value on one line.
func (e *encoder) flow(v reflect.Value) string {
	var items []string
	switch v.Kind() {
	case reflect.Struct:
		for f, fv := range v.Fields() {
			if !left(f, fv) {
				items = append(items, fieldName(f)+": "+e.flow(fv))
			}
		}
		return "{" + strings.Join(items, ", ") + "}"
	case reflect.Slice:
		for i := range v.Len() {
			items = append(items, e.flow(v.Index(i)))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map:
		m := v.Interface().(map[string]string)
		for _, key := range slices.Sorted(maps.Keys(m)) {
			items = append(items, key+": "+e.word(m[key]))
		}
		return "{" + strings.Join(items, ", ") + "}"
	case reflect.String:
		return e.word(v.String())
	case reflect.Float64:
		return e.json(v.Float())
	default:
		return fmt.Sprint(v.Interface())
	}
}

// bare are the words that mean themselves in YAML without quotes.
var bare = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*$`)

func (e *encoder) word(s string) string {
	if bare.MatchString(s) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(s)) {
		return s
	}
	// A JSON string is a YAML string.
	return e.json(s)
}

func (e *encoder) json(v any) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil && e.err == nil {
		e.err = fmt.Errorf("encode the configuration: %w", err)
	}
	return strings.TrimSpace(buf.String())
}
