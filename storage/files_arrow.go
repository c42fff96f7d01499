package storage

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	flatbuffers "github.com/google/flatbuffers/go"
)

// arrowTable is an Arrow IPC file or stream.
type arrowTable struct {
	path     string
	stream   bool
	batches  []int64 // rows of each record batch of a file
	schema   *arrow.Schema
	cols     []tableColumn
	at       []int // of each column: its field in the schema
	nrows    int64
	features features
}

var arrowMagic = []byte("ARROW1")

func openArrowTable(path string) (_ table, err error) {
	defer guard(&err)
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	t := &arrowTable{path: path}
	start := make([]byte, len(arrowMagic))
	if _, err := f.ReadAt(start, 0); err != nil {
		return nil, notArrow(unexpected(err))
	}
	t.stream = !bytes.Equal(start, arrowMagic)
	if t.stream {
		err = t.openStream(f)
	} else {
		err = t.openFile(f)
	}
	if err != nil {
		return nil, notArrow(err)
	}
	t.findColumns()
	if text, ok := t.schema.Metadata().GetValue(footerKey); ok {
		t.features, err = parseFeatures(text)
	}
	return t, err
}

func (t *arrowTable) openStream(f *os.File) error {
	m, err := newMessages(f)
	if err != nil {
		return err
	}
	r, err := ipc.NewReaderFromMessageReader(m)
	if err != nil {
		return err
	}
	t.schema = r.Schema()
	t.nrows, err = m.countRows()
	return err
}

func (t *arrowTable) openFile(f *os.File) error {
	blocks, err := checkFooter(f)
	if err != nil {
		return err
	}
	for i, at := range blocks {
		h, err := headerAt(f, at)
		if err != nil {
			return fmt.Errorf("record batch %d: %w", i, err)
		}
		t.batches = append(t.batches, h.rows)
		if t.nrows += h.rows; t.nrows < 0 {
			return errTooManyRows
		}
	}
	r, err := newFileReader(f)
	if err != nil {
		return err
	}
	t.schema = r.Schema()
	return nil
}

var errTooManyRows = errors.New("more rows than can be counted")

func newFileReader(f *os.File) (*ipc.FileReader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, reason(err)
	}
	return ipc.NewFileReader(f, ipc.WithAllocator(limitedAllocator(info.Size())))
}

// checkFooter checks the footer of a file and the dictionaries that it lists, and
// returns the offsets of its record batches.
func checkFooter(f *os.File) (batches []int64, err error) {
	const schemaSlot, dictionariesSlot, batchesSlot = 6, 8, 10
	footer, err := readFooter(f)
	if err != nil {
		return nil, err
	}
	table := flatbuffers.Table{Bytes: footer, Pos: flatbuffers.GetUOffsetT(footer)}
	schema, ok := child(table, schemaSlot)
	if !ok {
		return nil, errors.New("no schema")
	}
	if err := checkSchema(schema); err != nil {
		return nil, err
	}
	dictionaries, err := blocks(table, dictionariesSlot)
	if err != nil {
		return nil, err
	}
	for i, at := range dictionaries {
		if _, err := headerAt(f, at); err != nil {
			return nil, fmt.Errorf("dictionary %d: %w", i, err)
		}
	}
	return blocks(table, batchesSlot)
}

func readFooter(f *os.File) ([]byte, error) {
	end, err := f.Seek(-10, io.SeekEnd) // before the footer's length and the magic word
	if err != nil {
		return nil, reason(err)
	}
	var tail [10]byte
	if _, err := f.ReadAt(tail[:], end); err != nil {
		return nil, unexpected(err)
	}
	size := int64(binary.LittleEndian.Uint32(tail[:]))
	if !bytes.Equal(tail[4:], arrowMagic) || size > end {
		return nil, fmt.Errorf("the file ends in %q, want the length of a footer and %q", tail, arrowMagic)
	}
	footer := make([]byte, size)
	_, err = f.ReadAt(footer, end-size)
	return footer, unexpected(err)
}

// blocks are the offsets of the messages that a slot of the footer lists.
func blocks(footer flatbuffers.Table, slot flatbuffers.VOffsetT) (offsets []int64, err error) {
	const size = 24
	start, n, err := vector(footer, slot, size)
	for i := range n {
		offsets = append(offsets, footer.GetInt64(start+flatbuffers.UOffsetT(i*size)))
	}
	return offsets, err
}

func notArrow(err error) error { return fmt.Errorf("truncated or not Arrow IPC: %w", err) }

func (t *arrowTable) columns() []tableColumn { return t.cols }

func (t *arrowTable) rows() int64 { return t.nrows }

func (t *arrowTable) classNames(column string) []string { return t.features.classNames(column) }

func (t *arrowTable) findColumns() {
	add := func(i int, name, field string, dt arrow.DataType) {
		c := tableColumn{name: name, field: field, typ: dt.String()}
		c.kind, c.usable = arrowKind(dt)
		c.empty = dt.ID() == arrow.NULL
		t.cols = append(t.cols, c)
		t.at = append(t.at, i)
	}
	for i, f := range t.schema.Fields() {
		s, ok := f.Type.(*arrow.StructType)
		if !ok {
			add(i, f.Name, "", f.Type)
			continue
		}
		for _, field := range s.Fields() {
			add(i, f.Name, field.Name, field.Type)
		}
	}
}

// arrowKind is the Kind that holds all values of a type.
func arrowKind(dt arrow.DataType) (Kind, bool) {
	switch dt.ID() {
	case arrow.DICTIONARY:
		return arrowKind(dt.(*arrow.DictionaryType).ValueType)
	case arrow.BOOL:
		return Bool, true
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32:
		return Int64, true
	case arrow.FLOAT32:
		return Float32, true
	case arrow.FLOAT64:
		return Float64, true
	case arrow.STRING, arrow.LARGE_STRING, arrow.STRING_VIEW:
		return String, true
	case arrow.BINARY, arrow.LARGE_BINARY, arrow.BINARY_VIEW:
		return Bytes, true
	}
	return 0, false
}

// arrowRows holds one record batch in memory, as large as the writer made it.
type arrowRows struct {
	table *arrowTable
	file  *os.File
	pick  []int
	// batches is the next record batch and the row of it to begin at.
	batches func() (arrow.Record, int64, error)
	batch   arrow.Record
	row     int64 // in the batch
	values  []any
}

func (t *arrowTable) read(from int64, pick []int) (_ tableRows, err error) {
	defer guard(&err)
	f, err := os.Open(t.path)
	if err != nil {
		return nil, reason(err)
	}
	r := &arrowRows{table: t, file: f, pick: pick, values: make([]any, len(pick))}
	if t.stream {
		r.batches, err = streamBatches(f, from)
	} else {
		r.batches, err = t.fileBatches(f, from)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *arrowRows) close() { _ = r.file.Close() } // read only

func (r *arrowRows) next() (_ []any, err error) {
	defer guard(&err)
	for r.batch == nil || r.row >= r.batch.NumRows() {
		r.batch = nil // let go of it before the next is read
		if r.batch, r.row, err = r.batches(); err != nil {
			return nil, err
		}
	}
	for i, p := range r.pick {
		r.values[i] = r.table.cell(r.batch, p, int(r.row))
	}
	r.row++
	return r.values, nil
}

// fileBatches goes from batch to batch of a file, from that with a row on.
func (t *arrowTable) fileBatches(f *os.File, from int64) (func() (arrow.Record, int64, error), error) {
	r, err := newFileReader(f)
	if err != nil {
		return nil, err
	}
	i := 0
	for i < len(t.batches) && from >= t.batches[i] {
		from -= t.batches[i]
		i++
	}
	return func() (arrow.Record, int64, error) {
		if i == len(t.batches) {
			return nil, 0, io.EOF
		}
		batch, err := r.RecordAt(i)
		first := from
		i, from = i+1, 0
		return batch, first, err
	}, nil
}

// streamBatches goes from batch to batch of a stream, from that with a row on.
func streamBatches(f *os.File, from int64) (func() (arrow.Record, int64, error), error) {
	m, err := newMessages(f)
	if err != nil {
		return nil, err
	}
	r, err := ipc.NewReaderFromMessageReader(m, ipc.WithAllocator(limitedAllocator(m.size)))
	if err != nil {
		return nil, err
	}
	m.skip = from
	return func() (arrow.Record, int64, error) {
		if !r.Next() {
			return nil, 0, cmp.Or(r.Err(), io.EOF)
		}
		first := m.skip // what is left of it lies in this batch
		m.skip = 0
		return r.Record(), first, nil
	}, nil
}

// cell is the value of a column in a row of a batch, a copy.
func (t *arrowTable) cell(batch arrow.Record, column, row int) any {
	a := batch.Column(t.at[column])
	if s, ok := a.(*array.Struct); ok {
		if s.IsNull(row) {
			return nil
		}
		field, _ := s.DataType().(*arrow.StructType).FieldIdx(t.cols[column].field)
		a = s.Field(field)
	}
	if d, ok := a.(*array.Dictionary); ok && a.IsValid(row) {
		a, row = d.Dictionary(), d.GetValueIndex(row)
	}
	if a.IsNull(row) {
		return nil
	}
	switch a := a.(type) {
	case *array.Boolean:
		return a.Value(row)
	case *array.Int8:
		return int64(a.Value(row))
	case *array.Int16:
		return int64(a.Value(row))
	case *array.Int32:
		return int64(a.Value(row))
	case *array.Int64:
		return a.Value(row)
	case *array.Uint8:
		return int64(a.Value(row))
	case *array.Uint16:
		return int64(a.Value(row))
	case *array.Uint32:
		return int64(a.Value(row))
	case *array.Float32:
		return a.Value(row)
	case *array.Float64:
		return a.Value(row)
	case interface{ Value(int) string }:
		return strings.Clone(a.Value(row))
	case interface{ Value(int) []byte }:
		return append([]byte{}, a.Value(row)...)
	}
	panic(fmt.Errorf("column %q: unexpected type %v", t.cols[column].name, a.DataType()))
}

// messages reads the messages of an IPC stream for the Arrow library. Unlike the
// library's own reader it can step over record batches without reading them, and it
// holds every length against that of the file before it allocates anything.
type messages struct {
	file *os.File
	r    *bufio.Reader
	size int64 // of the file
	at   int64 // position of r
	skip int64 // rows to step over
}

// newMessages reads a stream from its beginning.
func newMessages(f *os.File) (*messages, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, reason(err)
	}
	m := &messages{file: f, r: bufio.NewReaderSize(f, 1<<16), size: info.Size()}
	return m, m.seek(0)
}

// headerAt reads the header of the message at an offset.
func headerAt(f *os.File, offset int64) (header, error) {
	m, err := newMessages(f)
	if err == nil {
		err = m.seek(offset)
	}
	if err != nil {
		return header{}, err
	}
	h, err := m.next()
	return h, unexpected(err)
}

// Retain does nothing: the file is closed by its opener.
func (m *messages) Retain() {}

// Release does nothing, as Retain.
func (m *messages) Release() {}

// header is the part of a message that says what its body is.
type header struct {
	meta []byte
	typ  ipc.MessageType
	body int64
	rows int64 // of a record batch
}

// maxHeader is far above the size of any schema with a few thousand columns.
const maxHeader = 16 << 20

// next reads a message up to its body. The error is io.EOF at the end.
func (m *messages) next() (h header, err error) {
	var word [4]byte
	if err := m.read(word[:]); err != nil {
		return h, err // io.EOF: a stream may end without a mark
	}
	n := binary.LittleEndian.Uint32(word[:])
	if n == 1<<32-1 { // since format 0.15 the length comes after this mark
		if err := m.read(word[:]); err != nil {
			return h, unexpected(err)
		}
		n = binary.LittleEndian.Uint32(word[:])
	}
	if n == 0 {
		return h, io.EOF
	}
	if int64(n) > min(maxHeader, m.size-m.at) {
		return h, fmt.Errorf("a header of %d bytes, want at most %d", n, min(maxHeader, m.size-m.at))
	}
	h.meta = make([]byte, n)
	if err := m.read(h.meta); err != nil {
		return h, unexpected(err)
	}
	if err := h.parse(); err != nil {
		return h, err
	}
	if h.body < 0 || h.body > m.size-m.at {
		return h, fmt.Errorf("%w: a message of %d bytes, but %d are left", io.ErrUnexpectedEOF, h.body, m.size-m.at)
	}
	return h, nil
}

// parse reads the fields of the flatbuffers tables Message and RecordBatch.
func (h *header) parse() (err error) {
	defer guard(&err)
	const typeSlot, headerSlot, bodySlot, lengthSlot = 6, 8, 10, 4
	m := flatbuffers.Table{Bytes: h.meta, Pos: flatbuffers.GetUOffsetT(h.meta)}
	if err := checkMessage(m); err != nil {
		return err
	}
	h.typ = ipc.MessageType(m.GetByteSlot(typeSlot, 0))
	h.body = m.GetInt64Slot(bodySlot, 0)
	if batch, ok := child(m, headerSlot); ok && h.typ == ipc.MessageRecordBatch {
		h.rows = batch.GetInt64Slot(lengthSlot, 0)
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (m *messages) read(p []byte) error {
	n, err := io.ReadFull(m.r, p)
	m.at += int64(n)
	return err
}

// discard steps over n bytes.
func (m *messages) discard(n int64) error {
	if n > int64(m.r.Buffered()) {
		return m.seek(m.at + n)
	}
	m.at += n
	_, err := m.r.Discard(int(n))
	return err
}

func (m *messages) seek(to int64) error {
	if _, err := m.file.Seek(to, io.SeekStart); err != nil {
		return reason(err)
	}
	m.at = to
	m.r.Reset(m.file)
	return nil
}

// Message is the next message that is not stepped over.
func (m *messages) Message() (*ipc.Message, error) {
	for {
		h, err := m.next()
		if err != nil {
			return nil, err
		}
		if h.typ == ipc.MessageRecordBatch && m.skip > 0 && m.skip >= h.rows {
			m.skip -= h.rows
			if err := m.discard(h.body); err != nil {
				return nil, err
			}
			continue
		}
		body := make([]byte, h.body)
		if err := m.read(body); err != nil {
			return nil, unexpected(err)
		}
		return ipc.NewMessage(memory.NewBufferBytes(h.meta), memory.NewBufferBytes(body)), nil
	}
}

// countRows steps to the end.
func (m *messages) countRows() (int64, error) {
	n := int64(0)
	for {
		h, err := m.next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err == nil {
			err = m.discard(h.body)
		}
		if err != nil {
			return 0, err
		}
		if n += h.rows; n < 0 {
			return 0, errTooManyRows
		}
	}
}
