package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	pqschema "github.com/apache/arrow/go/v17/parquet/schema"
)

// columnReader is g.Column(i), whose readers never return from some damaged pages,
// behind a look at each page. The allocator is for what the values need.
func columnReader(g *file.RowGroupReader, column *pqschema.Column, i int, alloc memory.Allocator) (file.ColumnChunkReader, error) {
	pages, err := g.GetColumnPageReader(i)
	if err != nil {
		return nil, err
	}
	checked := &checkedPages{PageReader: pages, top: column.MaxDefinitionLevel()}
	return file.NewColumnReader(column, checked, alloc, &scratch), nil
}

// scratch are the buffers of column readers.
var scratch = sync.Pool{New: func() any { return memory.NewResizableBuffer(memory.NewGoAllocator()) }}

// checkedPages are the pages of a column without repetition, each of which holds
// as many definition levels as it says.
type checkedPages struct {
	file.PageReader
	top int16 // definition level of a value
	err error
}

func (p *checkedPages) Next() bool {
	if p.err != nil || !p.PageReader.Next() {
		return false
	}
	p.err = p.check()
	return p.err == nil
}

func (p *checkedPages) Err() error {
	if p.err != nil {
		return p.err
	}
	return p.PageReader.Err()
}

func (p *checkedPages) check() (err error) {
	defer guard(&err)
	page := p.Page()
	data, width := page.Data(), bits.Len16(uint16(p.top))
	switch page := page.(type) {
	case *file.DataPageV1:
		if width == 0 {
			break
		}
		if page.DefinitionLevelEncoding() != parquet.Encodings.RLE {
			return fmt.Errorf("definition levels in encoding %v, want %v", page.DefinitionLevelEncoding(), parquet.Encodings.RLE)
		}
		if len(data) < 4 {
			return errLevels
		}
		n := binary.LittleEndian.Uint32(data)
		if uint64(n) > uint64(len(data)-4) {
			return errLevels
		}
		err = checkLevels(data[4:4+n], width, int64(page.NumValues()))
		data = data[4+n:]
	case *file.DataPageV2:
		start := int(page.RepetitionLevelByteLen())
		end := start + int(page.DefinitionLevelByteLen())
		if end > len(data) {
			return errLevels
		}
		if width > 0 {
			err = checkLevels(data[start:end], width, int64(page.NumValues()))
		}
		data = data[end:]
	default:
		return nil
	}
	if err != nil {
		return err
	}
	return checkDelta(parquet.Encoding(page.Encoding()), data)
}

var errLevels = errors.New("damaged page: fewer definition levels than values")

// checkLevels counts the levels in the hybrid of run lengths and packed bits that
// the Parquet format has for them.
func checkLevels(data []byte, width int, want int64) error {
	for have := int64(0); have < want; {
		head, n := binary.Uvarint(data)
		if n <= 0 {
			return errLevels
		}
		data = data[n:]
		count, size := head>>1, uint64(width+7)/8
		if head&1 == 1 { // groups of 8 levels
			size = count * uint64(width)
			count *= 8
		}
		if size > uint64(len(data)) || count == 0 || count > 1<<32 {
			return errLevels
		}
		data = data[size:]
		have += int64(count)
	}
	return nil
}

// checkDelta looks at the header that the delta encodings begin with: blocks of no
// values never end.
func checkDelta(e parquet.Encoding, data []byte) error {
	switch e {
	case parquet.Encodings.DeltaBinaryPacked, parquet.Encodings.DeltaByteArray, parquet.Encodings.DeltaLengthByteArray:
	default:
		return nil
	}
	block, n := binary.Uvarint(data)
	if n <= 0 {
		return io.ErrUnexpectedEOF
	}
	miniBlocks, m := binary.Uvarint(data[n:])
	if m <= 0 || block == 0 || block%128 != 0 || block > 1<<20 || miniBlocks == 0 || block%miniBlocks != 0 || block/miniBlocks%32 != 0 {
		return fmt.Errorf("damaged page: blocks of %d values in %d parts", block, miniBlocks)
	}
	return nil
}
