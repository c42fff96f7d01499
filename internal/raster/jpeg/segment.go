package jpeg

import (
	"bytes"
	"io"
	"iter"
)

// The markers that decoding looks at.
const (
	SOF0  = 0xc0 // baseline
	SOF1  = 0xc1 // extended sequential
	SOF2  = 0xc2 // progressive
	DHT   = 0xc4
	SOF15 = 0xcf
	RST0  = 0xd0
	SOI   = 0xd8
	EOI   = 0xd9
	SOS   = 0xda
	DQT   = 0xdb
	DRI   = 0xdd
	APP0  = 0xe0
	APP1  = 0xe1
	APP14 = 0xee
)

// Segment is one marker segment of a file.
type Segment struct {
	Marker byte
	Body   []byte // without marker and length
	Rest   []byte // of the file behind it: for SOS the coded data
}

// Segments walks the marker segments between SOI and EOI, stepping over coded data
// and whatever else is no segment. Data that end before are an error.
func Segments(data []byte) iter.Seq2[Segment, error] {
	return func(yield func(Segment, error) bool) {
		rest := data[min(2, len(data)):]
		for {
			at, ok := nextMarker(rest)
			if !ok {
				yield(Segment{}, io.ErrUnexpectedEOF)
				return
			}
			marker := rest[at]
			rest = rest[at+1:]
			if marker == EOI {
				return
			}
			size := length(rest)
			if size < 2 || size > len(rest) {
				yield(Segment{}, io.ErrUnexpectedEOF)
				return
			}
			s := Segment{marker, rest[2:size], rest[size:]}
			if !yield(s, nil) {
				return
			}
			rest = s.Rest
		}
	}
}

// nextMarker finds the next byte that, behind a 0xff, begins a segment or ends the
// image. Stuffed bytes and restart markers belong to coded data.
func nextMarker(data []byte) (at int, ok bool) {
	for {
		found := bytes.IndexByte(data[at:], 0xff)
		if found < 0 || at+found+1 == len(data) {
			return 0, false
		}
		at += found + 1
		if m := data[at]; m != 0 && m != 0xff && (m < RST0 || m >= SOI) {
			return at, true
		}
	}
}

// length is that of a segment, which counts itself; 0 where there is none.
func length(data []byte) int {
	if len(data) < 2 {
		return 0
	}
	return int(data[0])<<8 | int(data[1])
}
