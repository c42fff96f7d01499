package storage

import (
	"bufio"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// parquetWriter writes samples as row groups of one Parquet file. It goes by the
// column writers and not by Arrow records, so that image bytes are copied once,
// into the page, and no binary array can pass 2 GiB.
type parquetWriter struct {
	leaves []leaf
	buffer *bufio.Writer
	count  countingWriter
	file   *file.Writer
}

// pageBytes is about the size of a data page, the unit in which files are read.
const pageBytes = 1 << 20

// newParquetWriter writes the columns of a data set.
func newParquetWriter(w io.Writer, s Schema) (*parquetWriter, error) {
	footer, err := s.footer()
	if err != nil {
		return nil, err
	}
	return newLeafWriter(w, s.leaves(), footer)
}

// newLeafWriter writes columns; footer is what Hugging Face datasets is told of them,
// "" for nothing.
func newLeafWriter(w io.Writer, leaves []leaf, footer string) (p *parquetWriter, err error) {
	defer guard(&err)
	var meta metadata.KeyValueMetadata
	if footer != "" {
		if err := meta.Append(footerKey, footer); err != nil {
			return nil, err
		}
	}
	root, err := rootNode(leaves)
	if err != nil {
		return nil, err
	}
	p = &parquetWriter{leaves: leaves, buffer: bufio.NewWriterSize(w, 1<<16)}
	p.count.w = p.buffer
	p.file = file.NewParquetWriter(&p.count, root,
		file.WithWriterProps(writerProperties(leaves)), file.WithWriteMetadata(meta))
	return p, nil
}

// writerProperties: nothing is compressed, because images are already, and the
// bytes of a file then depend on no compressor. Image columns have no statistics:
// the least and greatest image would lie in the footer.
func writerProperties(leaves []leaf) *parquet.WriterProperties {
	props := []parquet.WriterProperty{
		parquet.WithAllocator(memory.NewGoAllocator()),
		// Other readers refuse a root that repeats, which is the library's default, and
		// DuckDB 2.0.1 one that the library calls undefined, a word that Parquet lacks.
		parquet.WithRootRepetition(parquet.Repetitions.Required),
		parquet.WithDataPageSize(pageBytes),
		parquet.WithDictionaryDefault(false),
		parquet.WithStats(false),
		parquet.WithCreatedBy("surrogaze"),
	}
	for _, l := range leaves {
		if l.repeats {
			props = append(props, parquet.WithDictionaryFor(l.column, true))
		}
	}
	return parquet.NewWriterProperties(props...)
}

// rootNode declares the columns. Every field may be null: Hugging Face datasets
// takes an image or class feature only then.
func rootNode(leaves []leaf) (*schema.GroupNode, error) {
	var fields schema.FieldList
	for _, l := range leaves {
		node, err := l.node()
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", l.column, err)
		}
		fields = append(fields, node)
	}
	return schema.NewGroupNode("schema", parquet.Repetitions.Required, fields, -1)
}

var optional = parquet.Repetitions.Optional

func (l leaf) node() (schema.Node, error) {
	if l.list {
		return listNode(l.column, l.kind)
	}
	if l.image == nil {
		return primitive(l.column, l.kind)
	}
	bytes, err := primitive("bytes", Bytes)
	if err != nil {
		return nil, err
	}
	path, err := primitive("path", String)
	if err != nil {
		return nil, err
	}
	return schema.NewGroupNode(l.column, optional, schema.FieldList{bytes, path}, -1)
}

// listNode declares a list in the three levels that Parquet's specification asks for.
func listNode(name string, element Kind) (schema.Node, error) {
	value, err := primitive("element", element)
	if err != nil {
		return nil, err
	}
	list, err := schema.NewGroupNode("list", parquet.Repetitions.Repeated, schema.FieldList{value}, -1)
	if err != nil {
		return nil, err
	}
	return schema.NewGroupNodeLogical(name, optional, schema.FieldList{list}, schema.ListLogicalType{}, -1)
}

func primitive(name string, k Kind) (schema.Node, error) {
	if k == String {
		return schema.NewPrimitiveNodeLogical(name, optional, schema.StringLogicalType{}, parquet.Types.ByteArray, -1, -1)
	}
	types := [...]parquet.Type{Bool: parquet.Types.Boolean, Int64: parquet.Types.Int64,
		Float32: parquet.Types.Float, Float64: parquet.Types.Double, Bytes: parquet.Types.ByteArray}
	return schema.NewPrimitiveNode(name, optional, types[k], -1, -1)
}

// WriteRowGroup writes the samples as one row group.
func (p *parquetWriter) WriteRowGroup(samples []Sample) (err error) {
	defer guard(&err)
	group := p.file.AppendRowGroup()
	for _, l := range p.leaves {
		if err := l.write(group, samples); err != nil {
			return fmt.Errorf("column %q: %w", l.column, err)
		}
	}
	if err := group.Close(); err != nil {
		return err
	}
	return p.buffer.Flush()
}

// Size is the number of bytes written so far.
func (p *parquetWriter) Size() int64 { return p.count.n }

// Close writes the footer.
func (p *parquetWriter) Close() (err error) {
	defer guard(&err)
	// The library's Close loses the footer's error; FlushWithFooter returns it.
	if err := p.file.FlushWithFooter(); err != nil {
		return err
	}
	if err := p.file.Close(); err != nil {
		return err
	}
	return p.buffer.Flush()
}

func (l leaf) write(group file.SerialRowGroupWriter, samples []Sample) error {
	if l.list {
		return writeLists(group, samples, l.get)
	}
	if l.image == nil {
		return writeColumn(group, samples, func(s *Sample) (any, int16) {
			if v := l.get(s); v != nil {
				return v, 1
			}
			return nil, 0
		})
	}
	err := writeColumn(group, samples, func(s *Sample) (any, int16) {
		if e := l.image(s); e.Present() {
			return e.Bytes, 2
		}
		return nil, 0
	})
	if err != nil {
		return err
	}
	return writeColumn(group, samples, func(s *Sample) (any, int16) {
		switch e := l.image(s); {
		case !e.Present():
			return nil, 0
		case e.Path == "":
			return nil, 1
		default:
			return e.Path, 2
		}
	})
}

// writeColumn writes one leaf column; at gives a row's value, nil for null, and
// its definition level.
func writeColumn(group file.SerialRowGroupWriter, samples []Sample, at func(*Sample) (any, int16)) error {
	column, err := group.NextColumn()
	if err != nil {
		return err
	}
	switch w := column.(type) {
	case *file.BooleanColumnChunkWriter:
		err = writeValues(w.WriteBatch, samples, at, func(v any) bool { return v.(bool) })
	case *file.Int64ColumnChunkWriter:
		err = writeValues(w.WriteBatch, samples, at, func(v any) int64 { return v.(int64) })
	case *file.Float32ColumnChunkWriter:
		err = writeValues(w.WriteBatch, samples, at, func(v any) float32 { return v.(float32) })
	case *file.Float64ColumnChunkWriter:
		err = writeValues(w.WriteBatch, samples, at, func(v any) float64 { return v.(float64) })
	case *file.ByteArrayColumnChunkWriter:
		err = writeValues(w.WriteBatch, samples, at, byteArray)
	}
	if err != nil {
		return err
	}
	return column.Close()
}

// writeLists writes a column of lists; get gives a row's, []float32 or []float64.
func writeLists(group file.SerialRowGroupWriter, samples []Sample, get func(*Sample) any) error {
	column, err := group.NextColumn()
	if err != nil {
		return err
	}
	for rows := range slices.Chunk(samples, maxPageRows) {
		switch w := column.(type) {
		case *file.Float32ColumnChunkWriter:
			err = writeListValues(w.WriteBatch, rows, func(s *Sample) []float32 { return get(s).([]float32) })
		case *file.Float64ColumnChunkWriter:
			err = writeListValues(w.WriteBatch, rows, func(s *Sample) []float64 { return get(s).([]float64) })
		}
		if err != nil {
			return err
		}
	}
	return column.Close()
}

// writeListValues hands lists to a column writer. An element is defined at level 3, an
// empty list at 1; the first element of a row does not repeat.
func writeListValues[T any](write func([]T, []int16, []int16) (int64, error), samples []Sample, at func(*Sample) []T) error {
	var (
		values             []T
		defined, repeating []int16
	)
	for i := range samples {
		list := at(&samples[i])
		if len(list) == 0 {
			defined, repeating = append(defined, 1), append(repeating, 0)
		}
		for k := range list {
			defined, repeating = append(defined, 3), append(repeating, int16(min(k, 1)))
		}
		values = append(values, list...)
	}
	_, err := write(values, defined, repeating)
	return err
}

func byteArray(v any) parquet.ByteArray {
	if s, ok := v.(string); ok {
		return parquet.ByteArray(s)
	}
	return v.([]byte)
}

// maxPageRows is the number of rows that are handed to a column writer at once.
const maxPageRows = 1024

// writeValues hands rows to a column writer, as many at a time as fill a page: the
// writer looks at the page size only between calls.
func writeValues[T any](write func([]T, []int16, []int16) (int64, error), samples []Sample,
	at func(*Sample) (any, int16), convert func(any) T) error {
	var (
		values []T
		levels []int16
		bytes  int
	)
	flush := func() error {
		if len(levels) == 0 {
			return nil
		}
		_, err := write(values, levels, nil)
		values, levels, bytes = values[:0], levels[:0], 0
		return err
	}
	for i := range samples {
		v, level := at(&samples[i])
		levels = append(levels, level)
		if v != nil {
			values = append(values, convert(v))
			bytes += blobLen(v)
		}
		if bytes >= pageBytes || len(levels) == maxPageRows {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func blobLen(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []byte:
		return len(v)
	}
	return 8
}

// countingWriter counts what passes through it.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// guard turns a panic of the Arrow library, which it uses for broken input, into
// an error.
func guard(err *error) {
	switch p := recover().(type) {
	case nil:
	case error:
		*err = p
	default:
		*err = fmt.Errorf("%v", p)
	}
}
