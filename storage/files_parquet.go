package storage

import (
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

// parquetTable is a Parquet file by any writer.
type parquetTable struct {
	path     string
	meta     *metadata.FileMetaData
	cols     []tableColumn
	leaves   []int // of each column: its leaf in the file
	nrows    int64
	features features
}

func openParquetTable(path string) (_ table, err error) {
	defer guard(&err)
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	r, err := file.NewParquetReader(f, file.WithReadProps(foreignProperties(f)))
	if err != nil {
		return nil, notParquet(err)
	}
	t := &parquetTable{path: path, meta: r.MetaData()}
	for i, g := range t.meta.RowGroups {
		if g.GetNumRows() < 0 {
			return nil, notParquet(fmt.Errorf("row group %d has %d rows", i, g.GetNumRows()))
		}
		t.nrows += g.GetNumRows()
	}
	if t.nrows < 0 {
		return nil, notParquet(errors.New("the row groups have more rows than can be counted"))
	}
	if v := t.meta.KeyValueMetadata().FindValue(footerKey); v != nil {
		if t.features, err = parseFeatures(*v); err != nil {
			return nil, err
		}
	}
	t.findColumns()
	return t, nil
}

// foreignProperties bound what a damaged page may ask for.
func foreignProperties(f *os.File) *parquet.ReaderProperties {
	size := int64(0)
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	props := parquet.NewReaderProperties(limitedAllocator(size))
	props.BufferedStreamEnabled = true
	props.BufferSize = 1 << 16
	return props
}

func (t *parquetTable) columns() []tableColumn { return t.cols }

func (t *parquetTable) rows() int64 { return t.nrows }

func (t *parquetTable) classNames(column string) []string { return t.features.classNames(column) }

// findColumns lists the leaves of at most two levels; deeper ones stand as one
// column that cannot be used.
func (t *parquetTable) findColumns() {
	seen := map[string]bool{}
	for i := range t.meta.Schema.NumColumns() {
		c := t.meta.Schema.Column(i)
		path := c.ColumnPath()
		column := tableColumn{name: path[0]}
		switch {
		case len(path) > 2 || c.MaxRepetitionLevel() > 0:
			column.typ = "list or nested struct"
			if seen[path[0]] {
				continue
			}
			seen[path[0]] = true
		default:
			if len(path) == 2 {
				column.field = path[1]
			}
			column.kind, column.usable = parquetKind(c)
			_, column.empty = c.LogicalType().(pqschema.NullLogicalType)
			column.usable = column.usable && !column.empty
			column.typ = parquetType(c)
		}
		t.cols = append(t.cols, column)
		t.leaves = append(t.leaves, i)
	}
}

// integer is a logical type that says how wide a number is.
type integer interface {
	BitWidth() int8
	IsSigned() bool
}

// parquetKind is the Kind that holds all values of a leaf.
func parquetKind(c *pqschema.Column) (Kind, bool) {
	switch l := c.LogicalType().(type) {
	case pqschema.StringLogicalType, pqschema.EnumLogicalType, pqschema.JSONLogicalType:
		return String, c.PhysicalType() == parquet.Types.ByteArray
	case integer:
		return Int64, l.IsSigned() || l.BitWidth() < 64
	case pqschema.NoLogicalType, pqschema.UnknownLogicalType:
	default: // dates, decimals, ...
		return 0, false
	}
	switch c.PhysicalType() {
	case parquet.Types.Boolean:
		return Bool, true
	case parquet.Types.Int32, parquet.Types.Int64:
		return Int64, true
	case parquet.Types.Float:
		return Float32, true
	case parquet.Types.Double:
		return Float64, true
	case parquet.Types.ByteArray:
		return Bytes, true
	}
	return 0, false
}

func parquetType(c *pqschema.Column) string {
	switch l := c.LogicalType().(type) {
	case pqschema.NoLogicalType, pqschema.UnknownLogicalType:
		return c.PhysicalType().String()
	default:
		return l.String()
	}
}

// scan reads page by page, so that it never holds more than one page of each
// column, however large the row groups are.
func (t *parquetTable) scan(from int64, pick []int, yield func([]any) bool) (err error) {
	defer guard(&err)
	f, err := os.Open(t.path)
	if err != nil {
		return reason(err)
	}
	defer f.Close()
	props := foreignProperties(f)
	r, err := file.NewParquetReader(f, file.WithReadProps(props), file.WithMetadata(t.meta))
	if err != nil {
		return err
	}
	for i, g := range t.meta.RowGroups {
		n := g.GetNumRows()
		if from >= n {
			from -= n
			continue
		}
		more, err := t.scanGroup(r.RowGroup(i), props.Allocator(), from, n, pick, yield)
		if err != nil || !more {
			return err
		}
		from = 0
	}
	return nil
}

func (t *parquetTable) scanGroup(g *file.RowGroupReader, alloc memory.Allocator, from, n int64, pick []int, yield func([]any) bool) (bool, error) {
	cells := make([]func() (any, error), len(pick))
	for i, p := range pick {
		column, err := columnReader(g, t.meta.Schema.Column(t.leaves[p]), t.leaves[p], alloc)
		if err == nil {
			cells[i], err = t.cells(column, t.cols[p])
		}
		if err != nil {
			return false, fmt.Errorf("column %q: %w", t.cols[p].name, err)
		}
	}
	values := make([]any, len(pick))
	for row := range n {
		for i, next := range cells {
			v, err := next()
			if err != nil {
				return false, fmt.Errorf("column %q: %w", t.cols[pick[i]].name, err)
			}
			values[i] = v
		}
		if row >= from && !yield(values) {
			return false, nil
		}
	}
	return true, nil
}

// cells reads the values of a column chunk one by one.
func (t *parquetTable) cells(column file.ColumnChunkReader, c tableColumn) (func() (any, error), error) {
	switch r := column.(type) {
	case *file.BooleanColumnChunkReader:
		return cellsOf(r, r.ReadBatch, func(v bool) any { return v }), nil
	case *file.Int32ColumnChunkReader:
		if l, ok := column.Descriptor().LogicalType().(integer); ok && !l.IsSigned() {
			return cellsOf(r, r.ReadBatch, func(v int32) any { return int64(uint32(v)) }), nil
		}
		return cellsOf(r, r.ReadBatch, func(v int32) any { return int64(v) }), nil
	case *file.Int64ColumnChunkReader:
		return cellsOf(r, r.ReadBatch, func(v int64) any { return v }), nil
	case *file.Float32ColumnChunkReader:
		return cellsOf(r, r.ReadBatch, func(v float32) any { return v }), nil
	case *file.Float64ColumnChunkReader:
		return cellsOf(r, r.ReadBatch, func(v float64) any { return v }), nil
	case *file.ByteArrayColumnChunkReader:
		return cellsOf(r, r.ReadBatch, func(v parquet.ByteArray) any { return c.kind.own(v) }), nil
	}
	return nil, fmt.Errorf("unexpected type %v", column.Type())
}

func cellsOf[T any](column file.ColumnChunkReader, read func(int64, []T, []int16, []int16) (int64, int, error), own func(T) any) func() (any, error) {
	top := column.Descriptor().MaxDefinitionLevel()
	var (
		value [1]T
		level [1]int16
	)
	// One at a time, for the reason given at readValues.
	return func() (any, error) {
		level[0] = top // a column that cannot be null has no levels
		rows, values, err := read(1, value[:], level[:], nil)
		if err == nil {
			err = column.Err()
		}
		if err == nil && (rows != 1 || level[0] == top && values != 1) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil || level[0] != top {
			return nil, err
		}
		return own(value[0]), nil
	}
}

// features are the columns as Hugging Face datasets describes them, as JSON.
type features map[string]json.RawMessage

// parseFeatures reads the metadata under footerKey.
func parseFeatures(text string) (features, error) {
	var f struct {
		Info struct {
			Features features `json:"features"`
		} `json:"info"`
	}
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return nil, fmt.Errorf("%q metadata: %w", footerKey, err)
	}
	return f.Info.Features, nil
}

// classNames are the names of a column's classes, nil if it has none.
func (f features) classNames(column string) []string {
	var label feature
	if json.Unmarshal(f[column], &label) != nil || label.Type != "ClassLabel" {
		return nil
	}
	return label.Names
}
