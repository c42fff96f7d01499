package predictor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

// Example is an image with its human map.
type Example struct {
	ID string
	// Group names what must not be split between training and judging, such as a
	// subject or a session; "" is a group of its own.
	Group string
	Image storage.Encoded
	Map   storage.Encoded
}

// ExampleError is an example that cannot be used.
type ExampleError struct {
	ID  string
	Err error
}

func (e *ExampleError) Error() string { return fmt.Sprintf("example %q: %v", e.ID, e.Err) }

// Unwrap is the reason.
func (e *ExampleError) Unwrap() error { return e.Err }

// sample is an example in pixels. It is never written to.
type sample struct {
	id, group     string
	width, height int // of the displayed image
	image         raster.Prepared
	human         *raster.Plane // in [0, 1], made ready for any view; nil if blank
	content       [sha256.Size]byte
}

// decode reads an example for the network of a configuration.
func decode(e Example, cfg Config) (*sample, error) {
	s, err := decodeImage(e.Image, cfg, cfg.resizing().Prepare)
	if err != nil {
		return nil, &ExampleError{e.ID, err}
	}
	if !e.Map.Present() {
		return nil, &ExampleError{e.ID, errors.New("no map, want a human map")}
	}
	human, err := raster.DecodeMap(e.Map.Bytes)
	if err != nil {
		return nil, &ExampleError{e.ID, fmt.Errorf("map: %w", err)}
	}
	if raster.MinMax(human.Pix) {
		s.human = cfg.resizing().ReduceMap(human, kept*cfg.Size)
	}
	s.id, s.group = e.ID, groupOf(e)
	h := sha256.New()
	h.Write(e.Image.Bytes)
	fmt.Fprintf(h, "\x00%d\x00", len(e.Image.Bytes))
	h.Write(e.Map.Bytes)
	h.Sum(s.content[:0])
	return s, nil
}

// groupOf is the group of an example, its own if it has none.
func groupOf(e Example) string {
	if e.Group == "" {
		return "\x00" + e.ID // no name of a group begins so
	}
	return e.Group
}

// decodeImage is the one way from an image file to pixels, in training and use; for views
// of all of it by PrepareWhole of [raster.Resizing], else by Prepare.
func decodeImage(image storage.Encoded, cfg Config, prepare func(*raster.Image, int) raster.Prepared) (*sample, error) {
	if !image.Present() {
		return nil, errors.New("no image")
	}
	m, err := raster.Decode(image.Bytes)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return &sample{width: m.W, height: m.H, image: prepare(m, cfg.Size)}, nil
}

// kept is how many times the network's side a map is kept at, so that a zoomed view
// still has a pixel for each of its own.
const kept = 2

// target writes a view of the human map: (size, size).
func (s *sample) target(dst []float32, view raster.View, size int) {
	view.Map(dst, size, size, s.human)
}

// truth is the human map over the displayed image, reduced to w x h.
func (s *sample) truth(resizing raster.Resizing, w, h int) []float32 {
	p := make([]float32, w*h)
	raster.ResizeMap(p, h, w, resizing.Shown(s.human, s.width, s.height))
	return p
}

// load decodes examples, which must have ids of their own.
func load(ctx context.Context, cfg Config, examples []Example) ([]*sample, error) {
	seen := make(map[string]bool, len(examples))
	for _, e := range examples {
		if seen[e.ID] {
			return nil, &ExampleError{e.ID, errors.New("the id occurs more than once")}
		}
		seen[e.ID] = true
	}
	samples := make([]*sample, len(examples))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cfg.Workers)
	for i, e := range examples {
		group.Go(func() (err error) {
			if err = ctx.Err(); err == nil {
				samples[i], err = decode(e, cfg)
			}
			return err
		})
	}
	return samples, group.Wait()
}

// mapped leaves out the blank maps.
func mapped(samples []*sample) []*sample {
	var kept []*sample
	for _, s := range samples {
		if s.human != nil {
			kept = append(kept, s)
		}
	}
	return kept
}

// fingerprint names a fit: what is computed, on what.
func fingerprint(cfg Config, start *Pretrained, train, val []*sample) (string, error) {
	text, err := cfg.canonical()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(text)
	if start != nil {
		fmt.Fprintf(h, "\nfrom %s", start.SHA256)
	}
	for _, part := range [][]*sample{train, val} {
		fmt.Fprintf(h, "\n%d examples", len(part))
		for _, s := range part {
			writeIdentity(h, s)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func writeIdentity(w io.Writer, s *sample) { fmt.Fprintf(w, "\n%q %q %x", s.id, s.group, s.content) }
