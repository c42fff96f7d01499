package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	_ "image/jpeg" // pictures come in both formats
	_ "image/png"
)

// example is an example's pictures in the order of the page's columns, the same
// for all examples.
type example struct {
	Example
	Tiles []tile
}

// tile is a picture with what is under it.
type tile struct {
	Title   string
	Arm     string // class of its colour, "" if it belongs to no arm
	Picture *picture
	Answer  string // the classifier's
	Wrong   bool   // whether that is not the label
	Lines   []string
}

// columns are the pictures that any example has: the others get no room.
type columns struct {
	human, predicted bool
	arms             []summary
}

func columnsOf(examples []Example, arms []summary) columns {
	var c columns
	seen := map[string]bool{}
	for _, e := range examples {
		c.human = c.human || e.Human != nil
		c.predicted = c.predicted || e.Predicted != nil
		for _, m := range e.CAMs {
			seen[m.Arm] = true
		}
	}
	for _, s := range arms {
		if seen[s.name] {
			c.arms = append(c.arms, s)
		}
	}
	return c
}

func newExample(e Example, c columns) (example, error) {
	x := example{Example: e}
	add := func(t tile, data []byte) error {
		p, err := newPicture(data)
		if err != nil {
			return fmt.Errorf("example %q, %s: %w", e.ID, t.Title, err)
		}
		t.Picture = p
		x.Tiles = append(x.Tiles, t)
		return nil
	}
	if err := add(tile{Title: "image"}, e.Image); err != nil {
		return x, err
	}
	if c.human {
		if err := add(tile{Title: "human map"}, e.Human); err != nil {
			return x, err
		}
	}
	if c.predicted {
		if err := add(tile{Title: "predicted map", Lines: predictedLines(e)}, e.Predicted); err != nil {
			return x, err
		}
	}
	for _, s := range c.arms {
		if err := addCAM(add, e, s); err != nil {
			return x, err
		}
	}
	return x, nil
}

func predictedLines(e Example) []string {
	var lines []string
	if finite(e.CC) {
		lines = append(lines, "CC "+number(e.CC, 2))
	}
	if finite(e.Quality) {
		lines = append(lines, "estimated "+number(e.Quality, 2))
	}
	return lines
}

func addCAM(add func(tile, []byte) error, e Example, s summary) error {
	t := tile{Title: s.name, Arm: fmt.Sprintf("c%d", s.colour)}
	for _, m := range e.CAMs {
		if m.Arm != s.name {
			continue
		}
		if m.Class != "" {
			t.Answer, t.Wrong = answer(m), !m.Right
		}
		if finite(m.CC) {
			t.Lines = append(t.Lines, "CC "+number(m.CC, 2))
		}
		return add(t, m.Picture)
	}
	return add(t, nil)
}

func answer(m CAM) string {
	mark := "✓"
	if !m.Right {
		mark = "✗"
	}
	return fmt.Sprintf("%s %s %s", mark, m.Class, number(m.Score, 2))
}

// picture is an image in the page.
type picture struct {
	URL    template.URL
	Coarse bool // so small that its pixels are shown as squares
}

// coarse is the width in pixels up to which a picture is shown as squares.
const coarse = 96

func newPicture(data []byte) (*picture, error) {
	if data == nil {
		return nil, nil
	}
	cfg, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	url := "data:image/" + format + ";base64," + base64.StdEncoding.EncodeToString(data)
	return &picture{template.URL(url), cfg.Width <= coarse}, nil
}
