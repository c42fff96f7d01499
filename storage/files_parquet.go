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

// parquetRows reads page by page, so that it never holds more than one page of
// each column, however large the row groups are.
type parquetRows struct {
	table  *parquetTable
	file   *os.File
	reader *file.Reader
	alloc  memory.Allocator
	pick   []int
	group  int   // the next row group
	left   int64 // rows left in the one before it
	cells  []func() (any, error)
	values []any
}

func (t *parquetTable) read(from int64, pick []int) (_ tableRows, err error) {
	defer guard(&err)
	f, err := os.Open(t.path)
	if err != nil {
		return nil, reason(err)
	}
	r := &parquetRows{table: t, file: f, pick: pick, values: make([]any, len(pick)), cells: make([]func() (any, error), len(pick))}
	if err := r.begin(from); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// begin goes to a row.
func (r *parquetRows) begin(from int64) (err error) {
	props := foreignProperties(r.file)
	r.alloc = props.Allocator()
	r.reader, err = file.NewParquetReader(r.file, file.WithReadProps(props), file.WithMetadata(r.table.meta))
	if err != nil {
		return err
	}
	groups := r.table.meta.RowGroups
	for r.group < len(groups) && from >= groups[r.group].GetNumRows() {
		from -= groups[r.group].GetNumRows()
		r.group++
	}
	for range from {
		if _, err := r.next(); err != nil {
			return err
		}
	}
	return nil
}

func (r *parquetRows) close() { _ = r.file.Close() } // read only

func (r *parquetRows) next() (_ []any, err error) {
	defer guard(&err)
	for r.left == 0 {
		if r.group == len(r.table.meta.RowGroups) {
			return nil, io.EOF
		}
		if err := r.openGroup(); err != nil {
			return nil, err
		}
	}
	for i, next := range r.cells {
		if r.values[i], err = next(); err != nil {
			return nil, r.inColumn(i, err)
		}
	}
	r.left--
	return r.values, nil
}

func (r *parquetRows) openGroup() error {
	g := r.reader.RowGroup(r.group)
	for i, p := range r.pick {
		leaf := r.table.leaves[p]
		column, err := columnReader(g, r.table.meta.Schema.Column(leaf), leaf, r.alloc)
		if err == nil {
			r.cells[i], err = cells(column, r.table.cols[p].kind)
		}
		if err != nil {
			return r.inColumn(i, err)
		}
	}
	r.left = r.table.meta.RowGroups[r.group].GetNumRows()
	r.group++
	return nil
}

func (r *parquetRows) inColumn(i int, err error) error {
	return fmt.Errorf("column %q: %w", r.table.cols[r.pick[i]].name, err)
}

// cells reads the values of a column chunk one by one.
func cells(column file.ColumnChunkReader, kind Kind) (func() (any, error), error) {
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
		return cellsOf(r, r.ReadBatch, func(v parquet.ByteArray) any { return kind.own(v) }), nil
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
