package raster

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"
)

// EncodeMap writes p as a 16-bit grey PNG, the form in which data sets keep
// maps: 8 bits would move the KL divergence. Values are cut to [0, 1] and rounded
// to 1/65535; NaN is an error. The same plane gives the same bytes.
//
// Every row is filtered by Paeth's predictor and compressed at the fastest level. A search
// for the best filter and for long matches takes five times as long, to save one percent
// of a map that varies everywhere and fifteen of one that is mostly black.
func EncodeMap(p *Plane) ([]byte, error) {
	if p.W < 1 || p.H < 1 || len(p.Pix) != p.W*p.H {
		return nil, fmt.Errorf("encode map: found %d values for %d x %d pixels", len(p.Pix), p.W, p.H)
	}
	e := mapEncoders.Get().(*mapEncoder)
	defer mapEncoders.Put(e)
	data, err := e.encode(p)
	if err != nil {
		return nil, fmt.Errorf("encode map: %w", err)
	}
	return data, nil
}

// mapEncoder writes maps one after another.
type mapEncoder struct {
	row, above, filtered []byte
	compressor           *zlib.Writer
	out                  bytes.Buffer
}

var mapEncoders = sync.Pool{New: func() any {
	e := new(mapEncoder)
	e.compressor, _ = zlib.NewWriterLevel(&e.out, zlib.BestSpeed) // which is a level
	return e
}}

// What a PNG says of 16-bit grey pixels.
const (
	greyDepth   = 16
	greyColour  = 0
	greyBytes   = 2 // a pixel
	paethFilter = 4 // in front of a row
)

func (e *mapEncoder) encode(p *Plane) ([]byte, error) {
	header := binary.BigEndian.AppendUint32(nil, uint32(p.W))
	header = binary.BigEndian.AppendUint32(header, uint32(p.H))
	header = append(header, greyDepth, greyColour, 0, 0, 0)
	e.out.Reset()
	e.out.WriteString("\x89PNG\r\n\x1a\n")
	write := func(data []byte) func() error {
		return func() error {
			_, err := e.out.Write(data)
			return err
		}
	}
	for _, c := range []struct {
		kind string
		body func() error
	}{{"IHDR", write(header)}, {"IDAT", func() error { return e.compress(p) }}, {"IEND", write(nil)}} {
		if err := e.chunk(c.kind, c.body); err != nil {
			return nil, err
		}
	}
	return bytes.Clone(e.out.Bytes()), nil
}

// chunk writes a chunk around what body writes.
func (e *mapEncoder) chunk(kind string, body func() error) error {
	const length = 4
	at := e.out.Len()
	e.out.Write(make([]byte, length))
	e.out.WriteString(kind)
	if err := body(); err != nil {
		return err
	}
	whole := e.out.Bytes()[at:]
	binary.BigEndian.PutUint32(whole, uint32(len(whole)-length-len(kind)))
	e.out.Write(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(whole[length:])))
	return nil
}

// compress writes the filtered rows.
func (e *mapEncoder) compress(p *Plane) error {
	e.compressor.Reset(&e.out)
	n := greyBytes * p.W
	e.row, e.above, e.filtered = resized(e.row, n), resized(e.above, n), resized(e.filtered, 1+n)
	e.filtered[0] = paethFilter
	clear(e.above)
	for y := range p.H {
		for x, v := range p.Pix[y*p.W:][:p.W] {
			if v != v {
				return fmt.Errorf("found NaN at x %d, y %d, want values in [0, 1]", x, y)
			}
			level := uint16(float64(min(max(v, 0), 1))*65535 + 0.5)
			binary.BigEndian.PutUint16(e.row[greyBytes*x:], level)
		}
		paeth(e.filtered[1:], e.row, e.above)
		if _, err := e.compressor.Write(e.filtered); err != nil {
			return err
		}
		e.row, e.above = e.above, e.row
	}
	return e.compressor.Close()
}

// paeth writes what a row's bytes have more than Paeth's predictor says (PNG, 9.4): left,
// above or above to the left of them, whichever is nearest to left + above - that.
func paeth(dst, row, above []byte) {
	dst, above = dst[:len(row)], above[:len(row)]
	for x := range min(greyBytes, len(row)) {
		dst[x] = row[x] - above[x]
	}
	for x := greyBytes; x < len(row); x++ {
		left, up, corner := int(row[x-greyBytes]), int(above[x]), int(above[x-greyBytes])
		toLeft, toUp := distance(up, corner), distance(left, corner)
		toCorner := distance(left+up, 2*corner)
		predicted, nearest := corner, toCorner
		if toUp <= nearest {
			predicted = up
		}
		nearest = min(nearest, toUp)
		if toLeft <= nearest {
			predicted = left
		}
		dst[x] = row[x] - byte(predicted)
	}
}

func distance(a, b int) int {
	d := a - b
	sign := d >> 63
	return d ^ sign - sign
}
