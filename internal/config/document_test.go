package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

//go:generate go test -run TestTheCommitted -update .

const document = "../../docs/configuration.md"

// generated is the line of the document below which its tables are written.
const generated = "<!-- Written by go generate ./internal/config from the tags of the types. -->\n"

// tables describes every key of the file: a table for each section.
func tables(t *testing.T) string {
	t.Helper()
	w := &tableWriter{t: t}
	w.section("", "keys outside of any section", reflect.ValueOf(*DefaultConfig()))
	return w.text.String()
}

type tableWriter struct {
	t    *testing.T
	text strings.Builder
}

// section writes the table of a struct, and then those of the structs in it.
func (w *tableWriter) section(path, doc string, v reflect.Value) {
	fmt.Fprintf(&w.text, "\n## %s\n\n%s.\n\n", cmp.Or(path, "Top level"), strings.ToUpper(doc[:1])+doc[1:])
	fmt.Fprint(&w.text, "| key | value | default | meaning |\n|---|---|---|---|\n")
	for f, value := range v.Fields() {
		if elem, _ := sectionOf(value); !elem.IsValid() {
			fmt.Fprintf(&w.text, "| `%s` | %s | %s | %s |\n", fieldName(f), w.kind(f), w.value(value, v), cell(f.Tag.Get("doc")))
		}
	}
	for f, value := range v.Fields() {
		if elem, suffix := sectionOf(value); elem.IsValid() {
			w.section(join(path, fieldName(f))+suffix, f.Tag.Get("doc"), elem)
		}
	}
}

// sectionOf is the struct that a value is or is a list of, which has a table of its
// own. The path of a list's items ends in [].
func sectionOf(v reflect.Value) (elem reflect.Value, suffix string) {
	switch {
	case v.Kind() == reflect.Struct:
		return v, ""
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		return reflect.Zero(v.Type().Elem()), "[]"
	}
	return reflect.Value{}, ""
}

// kind says what values a key takes.
func (w *tableWriter) kind(f reflect.StructField) string {
	r, of, s, t := ruleOf(f.Tag), "", "", f.Type
	if t.Kind() == reflect.Slice {
		of, s, t = "list of ", "s", t.Elem()
	}
	switch t.Kind() {
	case reflect.Map:
		return "names for " + code(r.keys)
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return of + "whole number" + s + bounds(r)
	case reflect.Float64:
		return of + "number" + s + bounds(r)
	}
	switch {
	case r.enum != nil:
		return of + code(r.enum)
	case r.want != "":
		return cell(r.want)
	}
	return of + "text" + s
}

func bounds(r rule) string {
	text := ""
	for _, b := range []struct {
		sign  string
		bound *float64
	}{{"≥", r.min}, {">", r.above}, {"≤", r.max}, {"<", r.below}} {
		if b.bound != nil {
			text += fmt.Sprintf(" %s %g,", b.sign, *b.bound)
		}
	}
	return strings.TrimSuffix(text, ",")
}

// value is a default as YAML would have it; "" where there is none.
func (w *tableWriter) value(v, section reflect.Value) string {
	if section.IsZero() || v.IsZero() && (v.Kind() == reflect.String || v.Kind() == reflect.Slice) {
		return ""
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		w.t.Fatal(err)
	}
	return "`" + strings.ReplaceAll(strings.ReplaceAll(string(text), `"`, ""), ",", ", ") + "`"
}

func code(words []string) string { return "`" + strings.Join(words, "`, `") + "`" }

// cell keeps text from ending a cell of a table or being read as HTML.
func cell(text string) string { return strings.NewReplacer("|", `\|`, "<", `\<`).Replace(text) }

func TestTheCommittedDocumentIsThatOfTheTypes(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, found, ok := strings.Cut(string(text), generated)
	if !ok {
		t.Fatalf("%s: found no line %q", document, generated)
	}
	want := tables(t)
	if *update {
		if err := os.WriteFile(document, []byte(head+generated+want), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if found != want {
		t.Errorf("%s is stale; go generate ./internal/config writes it anew", document)
	}
}
