package cyborg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

// Data is a data set made ready for networks of one input size and resizing. It is
// safe for concurrent use: trainings side by side share what it has decoded.
type Data struct {
	set      *storage.Dataset
	size     int
	resizing raster.Resizing
	classes  []string
	cache    cache
	hash     func() string

	meanLock sync.Mutex
	mean     *raster.Plane // of the combined maps, once asked for
}

// SampleError is a sample whose image or map cannot be decoded.
type SampleError struct {
	ID  string
	Err error
}

func (e *SampleError) Error() string { return fmt.Sprintf("sample %q: %v", e.ID, e.Err) }

// Unwrap is the reason.
func (e *SampleError) Unwrap() error { return e.Err }

// mostClasses bounds the classes of a set without class names, whose labels may be
// anything.
const mostClasses = 1 << 16

// OpenData makes a data set ready for the network of a configuration. Decoded
// images and maps, reduced to what the network can see of them, stay in memory up
// to budget bytes, first come, first kept; the others are decoded each time they
// are needed, in an order that reads every row group of the set once an epoch.
//
// A set without class names gets those of its labels: "0", "1" and so on. Less
// than two classes are an error.
func OpenData(set *storage.Dataset, cfg Config, budget int64) (*Data, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	d := &Data{
		set: set, size: cfg.Size, resizing: cfg.resizing(), classes: set.Classes(),
		cache: cache{budget: budget, held: map[guide]decoded{}},
	}
	if len(d.classes) == 0 {
		for _, r := range set.Rows() {
			if r.Label >= mostClasses {
				return nil, fmt.Errorf("data set %q: sample %q: label %d without a class name, want below %d", set.Dir(), r.ID, r.Label, mostClasses)
			}
			for int64(len(d.classes)) <= r.Label {
				d.classes = append(d.classes, strconv.Itoa(len(d.classes)))
			}
		}
	}
	if len(d.classes) < 2 {
		return nil, storage.Unusable("data set %q: found %d classes, want at least two", set.Dir(), len(d.classes))
	}
	d.hash = sync.OnceValue(d.fingerprint)
	return d, nil
}

// Classes are the names of the classes in the order of their indices. The caller
// does not change them.
func (d *Data) Classes() []string { return d.classes }

// fits reports whether a network of the configuration and classes can be used
// with the data.
func (d *Data) fits(cfg Config, classes []string) error {
	if d.size != cfg.Size || d.resizing != cfg.resizing() {
		return fmt.Errorf("data opened for networks of size %d (%s), want %d (%s)", d.size, d.resizing, cfg.Size, cfg.resizing())
	}
	if !slices.Equal(d.classes, classes) {
		return fmt.Errorf("data set %q has the classes %q, want %q", d.set.Dir(), d.classes, classes)
	}
	return nil
}

// labelled lists the samples of a split that have a label, and counts the others.
func (d *Data) labelled(split string) (items []item, unlabelled int) {
	for row, r := range d.set.Rows() {
		switch {
		case r.Split != split:
		case r.Label == storage.NoLabel:
			unlabelled++
		default:
			items = append(items, item{row: row})
		}
	}
	return items, unlabelled
}

// humanMap is the human map of a row, whether training may see it or not.
func (d *Data) humanMap(row int) guide {
	switch r := &d.set.Rows()[row]; {
	case hasHuman(r):
		return guide{saliency, row}
	case r.HasReference:
		return guide{reference, row}
	}
	return guide{}
}

// fingerprint names the set by all but its pixels.
func (d *Data) fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n%v\n", d.classes, d.set.Groups())
	for _, r := range d.set.Rows() {
		fmt.Fprintf(h, "%q %d %q %q %q %v %t %t %t\n", r.ID, r.Label, r.Split,
			r.SaliencySource, r.SaliencyModel, r.SaliencyQuality, r.HasMap, r.HasReference, r.HasPredicted)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// item is what is shown at one place: a row's image and a map.
type item struct {
	row   int // of the image; -1 for none
	guide guide
}

// source is an item as files; those that the cache has are left out.
type source struct {
	item
	id           string
	label        int64
	image, human storage.Encoded
}

// decoded is an item as pixels made ready for any view, never written to. Either
// may be nil: what was not asked for, and a map that is blank.
type decoded struct {
	image         raster.Prepared
	width, height int // of the displayed image
	human         *raster.Plane
}

// read reads items in order. An error ends the sequence.
func (d *Data) read(ctx context.Context, items []item) iter.Seq2[source, error] {
	return func(yield func(source, error) bool) {
		needs := make([]need, len(items))
		var rows []int
		for i, it := range items {
			needs[i] = d.need(it)
			rows = needs[i].appendRows(rows, it)
		}
		next, stop := iter.Pull2(d.set.Read(ctx, rows))
		defer stop()
		for i, it := range items {
			s, err := d.take(next, it, needs[i])
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// need says which files of an item have to be read.
type need struct{ image, human bool }

func (d *Data) need(it item) need {
	missing := func(g guide) bool {
		_, held := d.cache.get(g)
		return !held
	}
	return need{
		image: it.row >= 0 && missing(guide{picture, it.row}),
		human: it.guide.column != noMap && it.guide.column != meanMap && missing(it.guide),
	}
}

// together reports whether image and map are read as one row.
func (n need) together(it item) bool { return n.image && n.human && it.row == it.guide.row }

func (n need) appendRows(rows []int, it item) []int {
	if n.image {
		rows = append(rows, it.row)
	}
	if n.human && !n.together(it) {
		rows = append(rows, it.guide.row)
	}
	return rows
}

// take reads what an item needs.
func (d *Data) take(next func() (storage.Sample, error, bool), it item, n need) (source, error) {
	s := source{item: it}
	if it.row >= 0 {
		r := &d.set.Rows()[it.row]
		s.id, s.label = r.ID, r.Label
	}
	var sample storage.Sample
	var err error
	if n.image {
		if sample, err, _ = next(); err != nil {
			return s, err
		}
		s.image = sample.Image
	}
	if n.human {
		if !n.together(it) {
			if sample, err, _ = next(); err != nil {
				return s, err
			}
		}
		s.human = it.guide.column.of(&sample)
	}
	return s, nil
}

// of is the file of a column.
func (c column) of(s *storage.Sample) storage.Encoded {
	switch c {
	case saliency:
		return s.Saliency
	case predicted:
		return s.Predicted
	case reference:
		return s.Reference
	}
	return storage.Encoded{}
}

// decode turns an item's files into pixels, or finds them in the cache.
func (d *Data) decode(s source) (decoded, error) {
	var out decoded
	if s.row >= 0 {
		found, err := d.cache.getOr(guide{picture, s.row}, func() (decoded, error) {
			return decodeImage(s.image, d.resizing.Prepare, d.size)
		})
		if err != nil {
			return out, &SampleError{s.id, err}
		}
		out = found
	}
	switch s.guide.column {
	case noMap:
	case meanMap:
		out.human = d.mean
	default:
		found, err := d.cache.getOr(s.guide, func() (m decoded, err error) {
			m.human, err = decodeMap(s.human, d.resizing, d.size)
			return m, err
		})
		if err != nil {
			return out, &SampleError{d.set.Rows()[s.guide.row].ID, err}
		}
		out.human = found.human
	}
	return out, nil
}

// decodeImage is the one way from an image file to pixels, in training and use; for views
// of all of it by PrepareWhole of [raster.Resizing], else by Prepare.
func decodeImage(e storage.Encoded, prepare func(*raster.Image, int) raster.Prepared, size int) (decoded, error) {
	if !e.Present() {
		return decoded{}, errors.New("no image")
	}
	m, err := raster.Decode(e.Bytes)
	if err != nil {
		return decoded{}, fmt.Errorf("image: %w", err)
	}
	return decoded{image: prepare(m, size), width: m.W, height: m.H}, nil
}

// decodeMap reads a map, which any view reduces to a far coarser grid. It is nil
// if the map is blank.
func decodeMap(e storage.Encoded, resizing raster.Resizing, size int) (*raster.Plane, error) {
	p, err := raster.DecodeMap(e.Bytes)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	if !raster.MinMax(p.Pix) {
		return nil, nil
	}
	return resizing.ReduceMap(p, size), nil
}
