package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// Schema is the JSON schema (draft 2020-12) of the configuration file, for
// completion in editors. configs/schema.json holds a copy.
func Schema() ([]byte, error) {
	s := schemaOf(reflect.TypeFor[Config](), rule{})
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Surrogaze configuration"
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return nil, fmt.Errorf("encode the schema: %w", err)
	}
	return buf.Bytes(), nil
}

func schemaOf(t reflect.Type, r rule) map[string]any {
	s := map[string]any{}
	switch t.Kind() {
	case reflect.Struct:
		properties := map[string]any{}
		for f := range t.Fields() {
			properties[fieldName(f)] = described(schemaOf(f.Type, ruleOf(f.Tag)), f)
		}
		s["type"], s["properties"], s["additionalProperties"] = "object", properties, false
	case reflect.Slice:
		s["type"], s["items"] = "array", schemaOf(t.Elem(), r)
	case reflect.Map:
		properties := map[string]any{}
		for _, key := range r.keys {
			properties[key] = schemaOf(t.Elem(), rule{})
		}
		s["type"], s["properties"], s["additionalProperties"] = "object", properties, false
	case reflect.String:
		stringSchema(s, r)
	case reflect.Bool:
		s["type"] = "boolean"
	case reflect.Int, reflect.Int64:
		s["type"] = "integer"
		boundSchema(s, r)
	case reflect.Float64:
		s["type"] = "number"
		boundSchema(s, r)
	}
	return s
}

func described(s map[string]any, f reflect.StructField) map[string]any {
	s["description"] = f.Tag.Get("doc")
	return s
}

func stringSchema(s map[string]any, r rule) {
	switch {
	case slices.Contains(r.enum, "true"):
		// Written without quotes, YAML reads the word as a boolean.
		s["enum"] = append([]any{true}, anys(r.enum)...)
	case r.enum != nil:
		s["enum"] = anys(r.enum)
	case r.pattern != nil:
		s["type"], s["pattern"] = "string", r.pattern.String()
	default:
		s["type"] = "string"
	}
}

func boundSchema(s map[string]any, r rule) {
	for name, bound := range map[string]*float64{
		"minimum": r.min, "maximum": r.max, "exclusiveMinimum": r.above, "exclusiveMaximum": r.below,
	} {
		if bound != nil {
			s[name] = *bound
		}
	}
}

func anys(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}
