package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// rule is what the tags of one field ask of its value.
type rule struct {
	doc                    string
	enum, keys             []string
	min, max, above, below *float64
	pattern                *regexp.Regexp
	want                   string
}

func ruleOf(tag reflect.StructTag) rule {
	r := rule{
		doc: tag.Get("doc"), want: tag.Get("want"),
		min: bound(tag, "min"), max: bound(tag, "max"), above: bound(tag, "above"), below: bound(tag, "below"),
	}
	if s, ok := tag.Lookup("enum"); ok {
		r.enum = strings.Split(s, ",")
	}
	if s, ok := tag.Lookup("keys"); ok {
		r.keys = strings.Split(s, ",")
	}
	if s, ok := tag.Lookup("pattern"); ok {
		r.pattern = regexp.MustCompile(s)
	}
	return r
}

func bound(tag reflect.StructTag, name string) *float64 {
	s, ok := tag.Lookup(name)
	if !ok {
		return nil
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(fmt.Sprintf("config: tag %s:%q is no number", name, s))
	}
	return &x
}

// fieldName is the key of a field in the file.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// field finds the field of a struct by its key.
func field(t reflect.Type, key string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if fieldName(f) == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		names = append(names, fieldName(f))
	}
	return names
}

// checkNumber compares a number with the bounds and says what is wrong.
func (r rule) checkNumber(x float64) string {
	switch {
	case r.min != nil && x < *r.min:
		return fmt.Sprintf("want at least %g, found %g", *r.min, x)
	case r.max != nil && x > *r.max:
		return fmt.Sprintf("want at most %g, found %g", *r.max, x)
	case r.above != nil && x <= *r.above:
		return fmt.Sprintf("want more than %g, found %g", *r.above, x)
	case r.below != nil && x >= *r.below:
		return fmt.Sprintf("want less than %g, found %g", *r.below, x)
	}
	return ""
}

// checkString compares a string with the words or the pattern.
func (r rule) checkString(s string) string {
	switch {
	case r.enum != nil && !slices.Contains(r.enum, s):
		return fmt.Sprintf("want %s, found %q%s", oneOf(r.enum), s, didYouMean(s, r.enum))
	case r.pattern != nil && !r.pattern.MatchString(s):
		return fmt.Sprintf("want %s, found %q", r.want, s)
	}
	return ""
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return strconv.Quote(words[0])
	}
	return "one of " + strings.Join(words, ", ")
}
