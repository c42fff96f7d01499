package storage

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Kind is the type of an extra column.
type Kind uint8

// The kinds of extra columns, with the Go type of their values.
const (
	Bool    Kind = iota // bool
	Int64               // int64
	Float32             // float32
	Float64             // float64
	String              // string
	Bytes               // []byte
)

var kindNames = [...]string{"bool", "int64", "float32", "float64", "string", "binary"}

// String is the name of the kind as Hugging Face datasets writes it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// accepts reports whether v is null or a value of the kind.
func (k Kind) accepts(v any) bool {
	ok := v == nil
	switch k {
	case Bool:
		_, is := v.(bool)
		ok = ok || is
	case Int64:
		_, is := v.(int64)
		ok = ok || is
	case Float32:
		_, is := v.(float32)
		ok = ok || is
	case Float64:
		_, is := v.(float64)
		ok = ok || is
	case String:
		_, is := v.(string)
		ok = ok || is
	case Bytes:
		_, is := v.([]byte)
		ok = ok || is
	}
	return ok
}

// Column is an extra column: one that a set came with and that is kept.
type Column struct {
	Name string
	Kind Kind
}

// Names of the columns of a data set.
const (
	columnID         = "id"
	columnImage      = "image"
	columnLabel      = "label"
	columnSaliency   = "saliency"
	columnSource     = "saliency_source"
	columnModel      = "saliency_model"
	columnQuality    = "saliency_quality"
	columnSplit      = "split"
	columnGroup      = "group"
	columnReference  = "saliency_reference"
	columnPrediction = "saliency_predicted"
)

var reserved = []string{
	columnID, columnImage, columnLabel, columnSaliency, columnSource, columnModel,
	columnQuality, columnSplit, columnGroup, columnReference, columnPrediction,
}

// Schema says what the rows of a data set hold.
type Schema struct {
	// Classes are the class names in the order of their indices. Without any, the
	// labels are plain integers.
	Classes []string
	// Unmapped leaves out the columns of maps: no sample has one.
	Unmapped bool
	// References adds the column saliency_reference.
	References bool
	// Predictions adds the column saliency_predicted.
	Predictions bool
	// Extra are further columns.
	Extra []Column
}

// validate reports columns that cannot be written.
func (s Schema) validate() error {
	seen := map[string]bool{}
	for _, c := range s.Extra {
		switch {
		case c.Name == "" || strings.Contains(c.Name, "."):
			return fmt.Errorf("extra column %q: want a name without dots", c.Name)
		case slices.Contains(reserved, c.Name):
			return fmt.Errorf("extra column %q: the name is a column of every data set", c.Name)
		case seen[c.Name]:
			return fmt.Errorf("extra column %q: given twice", c.Name)
		case int(c.Kind) >= len(kindNames):
			return fmt.Errorf("extra column %q: unknown kind %d", c.Name, c.Kind)
		}
		seen[c.Name] = true
	}
	classes := map[string]bool{}
	for _, c := range s.Classes {
		if classes[c] {
			return fmt.Errorf("class %q: given twice", c)
		}
		classes[c] = true
	}
	return nil
}

// feature is one entry of the features of Hugging Face datasets.
type feature struct {
	Names []string `json:"names,omitempty"`
	DType string   `json:"dtype,omitempty"`
	Type  string   `json:"_type"`
	// Element is of a List.
	Element *feature `json:"feature,omitempty"`
}

// footerInfo is the JSON under the footer key "huggingface".
type footerInfo struct {
	Info struct {
		Features map[string]feature `json:"features"`
	} `json:"info"`
}

// footerKey is where Hugging Face datasets looks for the features of a file.
const footerKey = "huggingface"

// footer is the metadata that makes Hugging Face datasets read image columns as
// images and labels as classes. It is deterministic: JSON objects are sorted.
func (s Schema) footer() (string, error) { return footerOf(s.leaves()) }

func footerOf(leaves []leaf) (string, error) {
	var f footerInfo
	f.Info.Features = map[string]feature{}
	for _, l := range leaves {
		f.Info.Features[l.column] = l.feature
	}
	b, err := json.Marshal(f)
	return string(b), err
}

// leaf is one column of a file: how it is declared and where its value is in a
// sample. Exactly one of image and get is set; that of a list gives a slice.
type leaf struct {
	column  string
	feature feature
	kind    Kind // of a list's elements
	list    bool
	image   func(*Sample) *Encoded
	get     func(*Sample) any // nil for null
	set     func(*Sample, any)
	repeats bool // values repeat from row to row: worth a dictionary
}

// leaves are the columns of the schema in the order of the file.
func (s Schema) leaves() []leaf {
	ls := []leaf{
		text(columnID, false, func(s *Sample) *string { return &s.ID }),
		picture(columnImage, func(s *Sample) *Encoded { return &s.Image }),
		class(columnLabel, s.Classes, func(s *Sample) *int64 { return &s.Label }),
	}
	if !s.Unmapped {
		ls = append(ls,
			picture(columnSaliency, func(s *Sample) *Encoded { return &s.Saliency }),
			text(columnSource, true, func(s *Sample) *string { return &s.SaliencySource }),
			text(columnModel, true, func(s *Sample) *string { return &s.SaliencyModel }),
			quality(),
		)
	}
	ls = append(ls,
		text(columnSplit, true, func(s *Sample) *string { return &s.Split }),
		text(columnGroup, true, func(s *Sample) *string { return &s.Group }),
	)
	if s.References {
		ls = append(ls, picture(columnReference, func(s *Sample) *Encoded { return &s.Reference }))
	}
	if s.Predictions {
		ls = append(ls, picture(columnPrediction, func(s *Sample) *Encoded { return &s.Predicted }))
	}
	for i, c := range s.Extra {
		ls = append(ls, extra(c, i, len(s.Extra)))
	}
	return ls
}

func value(k Kind) feature { return feature{Type: "Value", DType: k.String()} }

func picture(column string, at func(*Sample) *Encoded) leaf {
	return leaf{column: column, feature: feature{Type: "Image"}, image: at}
}

// class is an index into class names, or a plain number where there are none.
func class(column string, classes []string, at func(*Sample) *int64) leaf {
	f := feature{Type: "ClassLabel", Names: classes}
	if len(classes) == 0 {
		f = value(Int64)
	}
	return leaf{
		column: column, feature: f, kind: Int64, repeats: true,
		get: func(s *Sample) any {
			if *at(s) == NoLabel {
				return nil
			}
			return *at(s)
		},
		set: func(s *Sample, v any) { *at(s) = v.(int64) },
	}
}

func quality() leaf {
	return leaf{
		column: columnQuality, feature: value(Float32), kind: Float32,
		get: func(s *Sample) any {
			if !s.Saliency.Present() || isNull(s.SaliencyQuality) {
				return nil
			}
			return s.SaliencyQuality
		},
		set: func(s *Sample, v any) { s.SaliencyQuality = v.(float32) },
	}
}

func text(column string, repeats bool, at func(*Sample) *string) leaf {
	return leaf{
		column: column, feature: value(String), kind: String, repeats: repeats,
		get: func(s *Sample) any {
			if *at(s) == "" {
				return nil
			}
			return *at(s)
		},
		set: func(s *Sample, v any) { *at(s) = v.(string) },
	}
}

func extra(c Column, i, n int) leaf {
	return leaf{
		column: c.Name, feature: value(c.Kind), kind: c.Kind,
		get: func(s *Sample) any {
			if i >= len(s.Extra) {
				return nil
			}
			return s.Extra[i]
		},
		set: func(s *Sample, v any) {
			if s.Extra == nil {
				s.Extra = make([]any, n)
			}
			s.Extra[i] = v
		},
	}
}

// check reports what of a sample the schema cannot hold.
func (s Schema) check(x *Sample) error {
	switch {
	case x.ID == "":
		return fmt.Errorf("sample without id")
	case !x.Image.Present():
		return fmt.Errorf("sample %q: no image", x.ID)
	case x.Label != NoLabel && (x.Label < 0 || len(s.Classes) > 0 && x.Label >= int64(len(s.Classes))):
		return fmt.Errorf("sample %q: label %d, want %d (none) or 0 to %d", x.ID, x.Label, NoLabel, len(s.Classes)-1)
	case x.Saliency.Present() && s.Unmapped:
		return fmt.Errorf("sample %q: a map, but the schema has no column %s", x.ID, columnSaliency)
	case x.Reference.Present() && !s.References:
		return fmt.Errorf("sample %q: reference map, but the schema has no column %s", x.ID, columnReference)
	case x.Predicted.Present() && !s.Predictions:
		return fmt.Errorf("sample %q: predicted map beside a human one, but the schema has no column %s", x.ID, columnPrediction)
	case len(x.Extra) > len(s.Extra):
		return fmt.Errorf("sample %q: %d extra values, want at most %d", x.ID, len(x.Extra), len(s.Extra))
	}
	for i, v := range x.Extra {
		if c := s.Extra[i]; !c.Kind.accepts(v) {
			return fmt.Errorf("sample %q: column %q holds %T, want %s", x.ID, c.Name, v, c.Kind)
		}
	}
	return x.checkSizes()
}

// maxBlob is the largest image of a data set. Parquet counts the bytes of a page
// in 31 bits.
const maxBlob = 1 << 30

func (s *Sample) checkSizes() error {
	for _, e := range [...]Encoded{s.Image, s.Saliency, s.Reference, s.Predicted} {
		if len(e.Bytes) > maxBlob {
			return fmt.Errorf("sample %q: image of %d bytes, want at most %d", s.ID, len(e.Bytes), maxBlob)
		}
	}
	for _, v := range s.Extra {
		n := 0
		switch v := v.(type) {
		case string:
			n = len(v)
		case []byte:
			n = len(v)
		}
		if n > maxBlob {
			return fmt.Errorf("sample %q: value of %d bytes, want at most %d", s.ID, n, maxBlob)
		}
	}
	return nil
}
