package storage

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// folderMaps are the three maps that a sample may have, and what the ImageFolder
// calls them: Hugging Face datasets makes an image column "mask" of the column
// "mask_file_name".
var folderMaps = []struct {
	name    string
	at      func(*Sample) *Encoded
	has     func(Row) bool
	meaning string
}{
	{"mask", func(s *Sample) *Encoded { return &s.Saliency }, func(r Row) bool { return r.HasMap }, "saliency map, 8-bit grey"},
	{"reference", func(s *Sample) *Encoded { return &s.Reference }, func(r Row) bool { return r.HasReference }, "human map that training did not see, 8-bit grey"},
	{"predicted", func(s *Sample) *Encoded { return &s.Predicted }, func(r Row) bool { return r.HasPredicted }, "prediction beside a human map, 8-bit grey"},
}

// imageFolder writes a Hugging Face ImageFolder: for each split a folder with
// images/, a folder for each kind of map, and metadata.parquet. Every metadata file
// has the same columns, as the loader demands.
type imageFolder struct {
	*export
	leaves  []leaf
	columns []cardColumn
	names   names // of the files of the current split
	notes   folderNotes
}

// folderNotes count what a summary has to say.
type folderNotes struct{ turned, reduced, named int }

func (n *folderNotes) add(m folderNotes) {
	n.turned += m.turned
	n.reduced += m.reduced
	n.named += m.named
}

func writeImageFolder(ctx context.Context, x *export, workers int) error {
	f := &imageFolder{export: x}
	f.makeLeaves()
	for start := 0; start < len(x.set.rows); {
		end := start
		for end < len(x.set.rows) && x.set.rows[end].Split == x.set.rows[start].Split {
			end++
		}
		if err := f.writeSplit(ctx, start, end, max(workers, 1)); err != nil {
			return err
		}
		start = end
	}
	f.note(f.notes.turned, "images are displayed otherwise than stored (EXIF orientation): readers that ignore it see them turned against their maps")
	f.note(f.notes.reduced, "maps lost precision on the way to 8 bits")
	f.note(f.notes.named, "maps lost the file names that they came with")
	return f.writeCard(func(split string) string { return split + "/**" }, f.columns)
}

// add declares a column of the metadata.
func (f *imageFolder) add(l leaf, typ, meaning string) {
	f.leaves = append(f.leaves, l)
	f.columns = append(f.columns, cardColumn{l.column, typ, meaning})
}

// makeLeaves declares the columns of the metadata. In the samples that they are
// written from, the paths of image and maps are their file names in the export.
func (f *imageFolder) makeLeaves() {
	f.add(text("file_name", false, func(s *Sample) *string { return &s.Image.Path }), "Image", "loaded as the column image")
	for _, m := range folderMaps {
		if slices.ContainsFunc(f.set.rows, m.has) {
			f.add(text(m.name+"_file_name", false, func(s *Sample) *string { return &m.at(s).Path }), "Image", m.meaning+", loaded as the column "+m.name)
		}
	}
	f.add(text(columnID, false, func(s *Sample) *string { return &s.ID }), "string", "unique and stable")
	f.add(f.labelLeaf(), "", "class; null where there is none")
	f.add(text(columnSource, true, func(s *Sample) *string { return &s.SaliencySource }), "string", "who made the map")
	f.add(text(columnModel, true, func(s *Sample) *string { return &s.SaliencyModel }), "string", "key of the model that made the map")
	f.add(leaf{column: columnQuality, kind: Float32, get: func(s *Sample) any {
		if isNull(s.SaliencyQuality) {
			return nil
		}
		return s.SaliencyQuality
	}}, "float32", "estimated correlation of the map with a human's")
	f.add(text(columnGroup, true, func(s *Sample) *string { return &s.Group }), "string", f.groupMeaning())
	f.add(text("original_name", false, func(s *Sample) *string { return &s.Split }), "string", "name of the image file as it came")
	for i, c := range f.set.schema.Extra {
		l := extra(c, i, len(f.set.schema.Extra))
		l.column = f.freeColumn(c.Name)
		if l.column != c.Name {
			f.note(1, fmt.Sprintf("column renamed: %q is called %q", c.Name, l.column))
		}
		f.add(l, c.Kind.String(), "")
	}
	for i := range f.columns {
		if f.columns[i].typ == "" {
			f.columns[i].typ = f.leaves[i].kind.String()
		}
	}
}

// labelLeaf writes class names where there are any: the loader makes no classes of
// integers.
func (f *imageFolder) labelLeaf() leaf {
	classes := f.set.schema.Classes
	l := leaf{column: columnLabel, kind: Int64, repeats: true, get: func(s *Sample) any {
		if s.Label == NoLabel {
			return nil
		}
		return s.Label
	}}
	if len(classes) > 0 {
		index := l.get
		l.kind = String
		l.get = func(s *Sample) any {
			if i, ok := index(s).(int64); ok {
				return classes[i]
			}
			return nil
		}
	}
	return l
}

// freeColumn is a name that no other column has, and that the loader does not take
// for a column of file names.
func (f *imageFolder) freeColumn(name string) string {
	taken := func(name string) bool {
		return name == "file_name" || strings.HasSuffix(name, "_file_name") ||
			slices.ContainsFunc(f.leaves, func(l leaf) bool { return l.column == name || l.column == name+"_file_name" })
	}
	for taken(name) {
		name += "_"
	}
	return name
}

// writeSplit writes the rows from start up to end, which are those of one split.
func (f *imageFolder) writeSplit(ctx context.Context, start, end, workers int) error {
	rows := make([]int, end-start)
	for i := range rows {
		rows[i] = start + i
	}
	split := f.set.rows[start].Split
	f.names = names{}
	return f.create(path.Join(split, "metadata.parquet"), func(w io.Writer) error {
		m := metadataWriter{leaves: f.leaves}
		if err := m.begin(w); err != nil {
			return err
		}
		var batch []Sample
		for s, err := range f.set.Read(ctx, rows) {
			if err != nil {
				return err
			}
			if batch = append(batch, s); len(batch) < folderBatch {
				continue
			}
			if err := f.writeBatch(split, batch, workers, &m); err != nil {
				return err
			}
			batch = batch[:0]
		}
		if err := f.writeBatch(split, batch, workers, &m); err != nil {
			return err
		}
		return m.close()
	})
}

// folderBatch is the number of samples whose files are written side by side.
const folderBatch = 64

// metadataWriter writes what samples without images say, in row groups of bounded
// size.
type metadataWriter struct {
	leaves  []leaf
	footer  string // for Hugging Face datasets, "" for nothing
	w       *parquetWriter
	pending []Sample
	bytes   int64
}

func (m *metadataWriter) begin(w io.Writer) (err error) {
	m.w, err = newLeafWriter(w, m.leaves, m.footer)
	return err
}

func (m *metadataWriter) append(s Sample) error {
	const groupBytes = 16 << 20
	m.pending = append(m.pending, s)
	if m.bytes += s.size(); m.bytes < groupBytes {
		return nil
	}
	return m.flush()
}

func (m *metadataWriter) flush() error {
	if len(m.pending) == 0 {
		return nil
	}
	err := m.w.WriteRowGroup(m.pending)
	clear(m.pending)
	m.pending, m.bytes = m.pending[:0], 0
	return err
}

func (m *metadataWriter) close() error {
	if err := m.flush(); err != nil {
		return err
	}
	return m.w.Close()
}

// writeBatch writes the files of some samples, and what the metadata says of them.
func (f *imageFolder) writeBatch(split string, batch []Sample, workers int, m *metadataWriter) error {
	type result struct {
		light Sample
		notes folderNotes
		err   error
	}
	files := make([]string, len(batch))
	for i := range batch {
		files[i] = f.names.pick(batch[i].ID)
	}
	for r := range inOrder(workers, len(batch), func(i int) (r result) {
		r.light, r.err = f.writeSample(split, files[i], batch[i], &r.notes)
		return r
	}) {
		if r.err != nil {
			return r.err
		}
		f.notes.add(r.notes)
		if err := m.append(r.light); err != nil {
			return err
		}
	}
	return nil
}

// writeSample writes the files of a sample. What it returns has their names for
// paths and no bytes, and the image's own name for its split.
func (f *imageFolder) writeSample(split, file string, s Sample, notes *folderNotes) (Sample, error) {
	light := s
	light.Split = s.Image.Path
	if !s.Saliency.Present() {
		light.SaliencyQuality = NoQuality()
	}
	if raster.Turned(s.Image.Bytes) {
		notes.turned++
	}
	light.Image = Encoded{Path: path.Join("images", file+imageEnding(s.Image.Bytes))}
	if err := f.createBytes(path.Join(split, light.Image.Path), s.Image.Bytes); err != nil {
		return light, err
	}
	for _, m := range folderMaps {
		e := *m.at(&s)
		*m.at(&light) = Encoded{}
		if !e.Present() {
			continue
		}
		mask, exact, err := mask8(e.Bytes)
		if err != nil {
			return light, fmt.Errorf("sample %q: %s: %w", s.ID, m.name, err)
		}
		if !exact {
			notes.reduced++
		}
		if e.Path != "" {
			notes.named++
		}
		m.at(&light).Path = path.Join(m.name, file+".png")
		if err := f.createBytes(path.Join(split, m.at(&light).Path), mask); err != nil {
			return light, err
		}
	}
	return light, nil
}

// mask8 encodes a map as 8-bit grey PNG, as it is displayed, and reports whether
// no level changed.
func mask8(data []byte) (encoded []byte, exact bool, err error) {
	p, err := raster.DecodeMap(data)
	if err != nil {
		return nil, false, err
	}
	m := image.NewGray(image.Rect(0, 0, p.W, p.H))
	exact = true
	for i, v := range p.Pix {
		level := math.Round(float64(v) * 255)
		m.Pix[i] = uint8(level)
		exact = exact && float32(level/255) == v
	}
	var b bytes.Buffer
	err = png.Encode(&b, m)
	return b.Bytes(), exact, err
}

// imageEnding is the ending of an image file by its content, as loaders choose
// files by their endings.
func imageEnding(data []byte) string {
	for magic, ending := range map[string]string{
		"\xff\xd8\xff": ".jpg", "\x89PNG": ".png", "GIF8": ".gif", "RIFF": ".webp", "II*\x00": ".tiff", "MM\x00*": ".tiff", "BM": ".bmp",
	} {
		if bytes.HasPrefix(data, []byte(magic)) {
			return ending
		}
	}
	return ".png"
}

// names gives out file names, of which no two are equal on file systems that do
// not tell upper from lower case. It counts how often each was asked for.
type names map[string]int

// pick is a file name without ending that resembles the id.
func (n names) pick(id string) string {
	base := safeName(id)
	name, key := base, strings.ToLower(base)
	for n[strings.ToLower(name)] > 0 {
		n[key]++
		name = fmt.Sprintf("%s-%d", base, n[key])
	}
	n[strings.ToLower(name)] = 1
	return name
}

// safeName keeps letters, digits, dots, dashes and underscores, at most 100 bytes,
// and no leading dot or ending of an image.
func safeName(id string) string {
	const maxLen = 100
	if s, is := stem(id); is {
		id = s
	}
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, id)
	name = strings.TrimLeft(name, ".")
	for len(name) > maxLen {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	if name == "" {
		return "image"
	}
	return name
}
