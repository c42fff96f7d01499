package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	pqschema "github.com/apache/arrow/go/v17/parquet/schema"
)

// parquetFile is a shard of a data set: its footer. The file itself is open only
// while rows are read.
type parquetFile struct {
	path   string
	meta   *metadata.FileMetaData
	schema Schema
	footer string // features as JSON
	rows   int
	bytes  int64
	groups []RowGroup // rows counted from the start of the file
}

// openParquet reads the footer of a shard and finds out its schema.
func openParquet(path string) (_ *parquetFile, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read %q: %w", path, err)
		}
	}()
	defer guard(&err)
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	r, err := file.NewParquetReader(f, file.WithReadProps(readerProperties()))
	if err != nil {
		return nil, notParquet(err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p := &parquetFile{path: path, meta: r.MetaData()}
	if err := p.readGroups(info.Size()); err != nil {
		return nil, err
	}
	return p, p.readSchema()
}

// notParquet says first what the error of a damaged footer means.
func notParquet(err error) error { return fmt.Errorf("truncated or not Parquet: %w", err) }

func readerProperties() *parquet.ReaderProperties {
	props := parquet.NewReaderProperties(memory.NewGoAllocator())
	props.BufferedStreamEnabled = true // page by page, not a whole column chunk
	props.BufferSize = 1 << 16
	return props
}

// readGroups counts the rows. Every row has an image and thus at least a byte: a
// footer that claims more is damaged.
func (p *parquetFile) readGroups(size int64) error {
	for i, g := range p.meta.RowGroups {
		n := g.GetNumRows()
		if n < 0 || n > size-int64(p.rows) {
			return notParquet(fmt.Errorf("row group %d has %d rows in a file of %d bytes", i, n, size))
		}
		p.groups = append(p.groups, RowGroup{Start: p.rows, Len: int(n)})
		p.rows += int(n)
		p.bytes += g.GetTotalByteSize()
	}
	return nil
}

// readSchema reads the features of the footer and compares the file's columns
// with those that the features imply.
func (p *parquetFile) readSchema() error {
	v := p.meta.KeyValueMetadata().FindValue(footerKey)
	if v == nil {
		return fmt.Errorf("no %q metadata in the footer: not a data set of this program; import it", footerKey)
	}
	p.footer = *v
	var info footerInfo
	if err := json.Unmarshal([]byte(p.footer), &info); err != nil {
		return fmt.Errorf("%q metadata in the footer: %w", footerKey, err)
	}
	features := info.Info.Features
	p.schema.Classes = features[columnLabel].Names
	_, mapped := features[columnSaliency]
	p.schema.Unmapped = !mapped
	_, p.schema.References = features[columnReference]
	_, p.schema.Predictions = features[columnPrediction]
	if err := p.readExtra(features); err != nil {
		return err
	}
	return p.checkColumns()
}

// readExtra collects the extra columns, in the order of the file.
func (p *parquetFile) readExtra(features map[string]feature) error {
	known := map[string]bool{}
	for _, name := range reserved {
		known[name] = true
	}
	root := p.meta.Schema.Root()
	for i := range root.NumFields() {
		name := root.Field(i).Name()
		if known[name] {
			continue
		}
		k, err := kindOf(features[name])
		if err != nil {
			return fmt.Errorf("column %q: %w", name, err)
		}
		p.schema.Extra = append(p.schema.Extra, Column{Name: name, Kind: k})
	}
	return p.schema.validate()
}

func kindOf(f feature) (Kind, error) {
	for k, name := range kindNames {
		if f.Type == "Value" && f.DType == name {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("feature %q of type %q, want a value of %q", f.DType, f.Type, kindNames)
}

// checkColumns compares the columns of the file with those of its schema.
func (p *parquetFile) checkColumns() error {
	want, err := rootNode(p.schema.leaves())
	if err != nil {
		return err
	}
	for _, c := range columnsOf(pqschema.NewSchema(want)) {
		i := p.meta.Schema.ColumnIndexByName(c.Path())
		if i < 0 {
			return fmt.Errorf("no column %q", c.Path())
		}
		got := p.meta.Schema.Column(i)
		if got.PhysicalType() != c.PhysicalType() || got.MaxDefinitionLevel() != c.MaxDefinitionLevel() || got.MaxRepetitionLevel() != 0 {
			return fmt.Errorf("column %q is %v (definition level %d, repetition level %d), want %v (%d, 0)", c.Path(),
				got.PhysicalType(), got.MaxDefinitionLevel(), got.MaxRepetitionLevel(), c.PhysicalType(), c.MaxDefinitionLevel())
		}
	}
	return nil
}

func columnsOf(s *pqschema.Schema) []*pqschema.Column {
	cs := make([]*pqschema.Column, s.NumColumns())
	for i := range cs {
		cs[i] = s.Column(i)
	}
	return cs
}

// open opens the file for reading rows. The caller closes it.
func (p *parquetFile) open() (*file.Reader, io.Closer, error) {
	f, err := os.Open(p.path)
	if err != nil {
		return nil, nil, err
	}
	r, err := file.NewParquetReader(f, file.WithReadProps(readerProperties()), file.WithMetadata(p.meta))
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return r, f, nil
}

// readGroup reads the samples of one row group.
func (p *parquetFile) readGroup(group int) (samples []Sample, err error) {
	defer func() {
		if err != nil {
			samples, err = nil, fmt.Errorf("read %q: row group %d: %w", p.path, group, err)
		}
	}()
	defer guard(&err)
	r, closer, err := p.open()
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	samples = emptySamples(p.groups[group].Len)
	g := r.RowGroup(group)
	for _, l := range p.schema.leaves() {
		if err := p.readLeaf(g, l, samples); err != nil {
			return nil, fmt.Errorf("column %q: %w", l.column, err)
		}
	}
	return samples, nil
}

func emptySamples(n int) []Sample {
	samples := make([]Sample, n)
	for i := range samples {
		samples[i].Label = NoLabel
		samples[i].SaliencyQuality = NoQuality()
	}
	return samples
}

func (p *parquetFile) readLeaf(g *file.RowGroupReader, l leaf, samples []Sample) error {
	if l.image == nil {
		return p.readColumn(g, l.column, len(samples), func(i int, v any, _ int16) {
			if v != nil {
				l.set(&samples[i], l.kind.own(v))
			}
		})
	}
	err := p.readColumn(g, l.column+".bytes", len(samples), func(i int, v any, _ int16) {
		if v != nil {
			l.image(&samples[i]).Bytes = Bytes.own(v).([]byte)
		}
	})
	if err != nil {
		return err
	}
	return p.readColumn(g, l.column+".path", len(samples), func(i int, v any, _ int16) {
		if v != nil {
			l.image(&samples[i]).Path = String.own(v).(string)
		}
	})
}

// own makes a value read from a page the caller's.
func (k Kind) own(v any) any {
	b, ok := v.(parquet.ByteArray)
	switch {
	case ok && k == String:
		return string(b)
	case ok:
		return append([]byte{}, b...)
	}
	return v
}

// readRows reads the light columns of the whole file. Of image columns it reads
// the paths alone, whose definition level tells whether there is an image.
func (p *parquetFile) readRows(intern func([]byte) string) (rows []Row, err error) {
	defer func() {
		if err != nil {
			rows, err = nil, fmt.Errorf("read %q: %w", p.path, err)
		}
	}()
	defer guard(&err)
	r, closer, err := p.open()
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	for group, at := range p.groups {
		part := make([]Row, at.Len)
		for i := range part {
			part[i].Label = NoLabel
			part[i].SaliencyQuality = NoQuality()
		}
		if err := p.readLight(r.RowGroup(group), part, intern); err != nil {
			return nil, fmt.Errorf("row group %d: %w", group, err)
		}
		rows = append(rows, part...)
	}
	return rows, nil
}

func (p *parquetFile) readLight(g *file.RowGroupReader, rows []Row, intern func([]byte) string) error {
	text := func(at func(*Row) *string) func(int, any, int16) {
		return func(i int, v any, _ int16) {
			if v != nil {
				*at(&rows[i]) = intern(v.(parquet.ByteArray))
			}
		}
	}
	present := func(at func(*Row) *bool) func(int, any, int16) {
		return func(i int, _ any, level int16) { *at(&rows[i]) = level > 0 }
	}
	columns := []struct {
		path string
		read func(i int, v any, level int16)
	}{
		{columnID, func(i int, v any, _ int16) {
			if v != nil {
				rows[i].ID = string(v.(parquet.ByteArray))
			}
		}},
		{columnLabel, func(i int, v any, _ int16) {
			if v != nil {
				rows[i].Label = v.(int64)
			}
		}},
		{columnSplit, text(func(r *Row) *string { return &r.Split })},
		{columnGroup, text(func(r *Row) *string { return &r.Group })},
		{columnSource, text(func(r *Row) *string { return &r.SaliencySource })},
		{columnModel, text(func(r *Row) *string { return &r.SaliencyModel })},
		{columnQuality, func(i int, v any, _ int16) {
			if v != nil {
				rows[i].SaliencyQuality = v.(float32)
			}
		}},
		{columnSaliency + ".path", present(func(r *Row) *bool { return &r.HasMap })},
		{columnReference + ".path", present(func(r *Row) *bool { return &r.HasReference })},
		{columnPrediction + ".path", present(func(r *Row) *bool { return &r.HasPredicted })},
	}
	for _, c := range columns {
		if p.meta.Schema.ColumnIndexByName(c.path) < 0 {
			continue // an optional image column that the schema lacks
		}
		if err := p.readColumn(g, c.path, len(rows), c.read); err != nil {
			return fmt.Errorf("column %q: %w", c.path, err)
		}
	}
	return nil
}

// readColumn calls set for each of n rows with the value, nil for null, and the
// definition level. A byte array is valid during the call only.
func (p *parquetFile) readColumn(g *file.RowGroupReader, path string, n int, set func(i int, v any, level int16)) error {
	index := p.meta.Schema.ColumnIndexByName(path)
	column, err := columnReader(g, p.meta.Schema.Column(index), index, memory.NewGoAllocator())
	if err != nil {
		return err
	}
	top := p.meta.Schema.Column(index).MaxDefinitionLevel()
	switch r := column.(type) {
	case *file.BooleanColumnChunkReader:
		return readValues(r, r.ReadBatch, top, n, set)
	case *file.Int64ColumnChunkReader:
		return readValues(r, r.ReadBatch, top, n, set)
	case *file.Float32ColumnChunkReader:
		return readValues(r, r.ReadBatch, top, n, set)
	case *file.Float64ColumnChunkReader:
		return readValues(r, r.ReadBatch, top, n, set)
	case *file.ByteArrayColumnChunkReader:
		return readValues(r, r.ReadBatch, top, n, set)
	}
	return fmt.Errorf("unexpected type %v", column.Type())
}

// readValues reads row by row: a byte array lies in its page, and a longer batch
// may go on to the next page, which takes the last one's place.
func readValues[T any](column file.ColumnChunkReader, read func(int64, []T, []int16, []int16) (int64, int, error),
	top int16, n int, set func(i int, v any, level int16)) error {
	var (
		value [1]T
		level [1]int16
	)
	for i := range n {
		rows, values, err := read(1, value[:], level[:], nil)
		if err == nil {
			err = column.Err()
		}
		if err == nil && (rows != 1 || level[0] == top && values != 1) {
			err = fmt.Errorf("%w after %d of %d rows", io.ErrUnexpectedEOF, i, n)
		}
		if err != nil {
			return err
		}
		if level[0] == top {
			set(i, value[0], top)
		} else {
			set(i, nil, level[0])
		}
	}
	return nil
}

// interner keeps one copy of each of the few words of a column.
func interner() func([]byte) string {
	words := map[string]string{}
	return func(b []byte) string {
		if w, ok := words[string(b)]; ok {
			return w
		}
		w := string(bytes.Clone(b))
		words[w] = w
		return w
	}
}
