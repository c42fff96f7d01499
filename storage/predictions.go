package storage

import (
	"io"
	"iter"
)

// Prediction is what a model says of an image: a saliency predictor its map, a
// classifier its class activation map and scores.
type Prediction struct {
	ID    string
	Image Encoded // for overlays
	Label int64   // as the data have it, or NoLabel
	Map   Encoded // a saliency map, or the class activation map of Class
	// Quality is that of a saliency map; NaN is null.
	Quality float32

	// Of a classifier.
	Class  int64     // of the highest score
	Scores []float64 // probability of each class
	Logits []float32 // of each class
}

// Predictions says what predictions hold.
type Predictions struct {
	// Classified says that they are a classifier's, else a saliency predictor's.
	Classified bool
	// Classes are the class names in the order of their indices, nil if unknown.
	Classes []string
}

// Places of a classifier's values among the extra values of the samples that
// predictions are written from.
const (
	extraClass = iota
	extraScores
	extraLogits
)

// sample holds what is written of a prediction.
func (p Predictions) sample(x *Prediction) Sample {
	s := Sample{ID: x.ID, Label: x.Label, Saliency: x.Map, SaliencyQuality: x.Quality}
	if p.Classified {
		s.Extra = []any{extraClass: x.Class, extraScores: x.Scores, extraLogits: x.Logits}
	}
	return s
}

// leaves are the columns in the order of the file: id, label, and of a classifier
// prediction, score, logits and cam, of a predictor saliency and saliency_quality.
func (p Predictions) leaves() []leaf {
	drawn := func(s *Sample) *Encoded { return &s.Saliency }
	first := []leaf{
		text(columnID, false, func(s *Sample) *string { return &s.ID }),
		class(columnLabel, p.Classes, func(s *Sample) *int64 { return &s.Label }),
	}
	if !p.Classified {
		return append(first, picture(columnSaliency, drawn), quality())
	}
	prediction := class("prediction", p.Classes, nil)
	prediction.get = func(s *Sample) any { return s.Extra[extraClass] }
	return append(first, prediction, list("score", Float64, extraScores), list("logits", Float32, extraLogits), picture("cam", drawn))
}

// list is a column of lists that are one of the samples' extra values.
func list(column string, kind Kind, place int) leaf {
	element := value(kind)
	return leaf{
		column: column, feature: feature{Type: "List", Element: &element}, kind: kind, list: true,
		get: func(s *Sample) any { return s.Extra[place] },
	}
}

// WritePredictions writes predictions to a Parquet file, in place of what path held
// and all or nothing. A row group of them is in memory at a time.
func WritePredictions(path string, p Predictions, rows iter.Seq2[Prediction, error]) error {
	return AtomicWrite(path, func(w io.Writer) error { return p.write(w, rows) })
}

func (p Predictions) write(w io.Writer, rows iter.Seq2[Prediction, error]) error {
	leaves := p.leaves()
	footer, err := footerOf(leaves)
	if err != nil {
		return err
	}
	m := metadataWriter{leaves: leaves, footer: footer}
	if err := m.begin(w); err != nil {
		return err
	}
	for x, err := range rows {
		if err == nil {
			err = m.append(p.sample(&x))
		}
		if err != nil {
			return err
		}
	}
	return m.close()
}
