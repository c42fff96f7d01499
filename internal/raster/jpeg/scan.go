package jpeg

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// scan is a pass over the blocks of one or more components (T.81, B.2.3).
type scan struct {
	d          *decoder
	components []scanned
	start, end int  // of the coefficients, in zigzag order
	high, low  uint // bits of the coefficients known before and after
	mcusX      int  // units of interleaving: blocks of all components
	mcusY      int
	rest       []byte // of the file, from the next marker on
	bits       bits
	run        int32 // blocks that still have no further coefficients
}

// scanned is a component in a scan.
type scanned struct {
	*component
	h, v      int // blocks of an MCU
	dc, ac    *huffman
	predicted int32 // DC of the next block
}

func (d *decoder) readScan(s Segment) error {
	c := &scan{d: d, rest: s.Rest}
	if err := c.readHeader(s.Body); err != nil {
		return err
	}
	if err := c.chooseBlocks(); err != nil {
		return err
	}
	return c.decode()
}

func (s *scan) readHeader(b []byte) error {
	if len(b) < 1 || len(b) != 4+2*int(b[0]) {
		return fmt.Errorf("found a header of %d bytes, want 4 and 2 for each component", len(b))
	}
	n := int(b[0])
	if err := s.readBand(b[1+2*n:], n); err != nil {
		return err
	}
	for i := range n {
		if err := s.add(b[1+2*i], b[2+2*i]); err != nil {
			return err
		}
	}
	return nil
}

// readBand reads which coefficients and which of their bits a scan of n components
// brings: of a sequential image all (G.1.1.1).
func (s *scan) readBand(b []byte, n int) error {
	if !s.d.progressive {
		s.end = 63
		return nil
	}
	s.start, s.end, s.high, s.low = int(b[0]), int(b[1]), uint(b[2]>>4), uint(b[2]&15)
	alone := s.start == 0 && s.end == 0 || s.start > 0 && s.start <= s.end && s.end <= 63 && n == 1
	next := s.high == 0 && s.low <= 13 || s.high == s.low+1
	if !alone || !next {
		return fmt.Errorf("found coefficients %d to %d of %d components from bit %d to %d, want the first alone or a band of one component, and bit by bit",
			s.start, s.end, n, s.high, s.low)
	}
	return nil
}

// add takes a component into the scan, with the slots of its tables.
func (s *scan) add(id, slots byte) error {
	i := slices.IndexFunc(s.d.components, func(c component) bool { return c.id == id })
	if i < 0 {
		return fmt.Errorf("found component %d, which the frame has not", id)
	}
	c := &s.d.components[i]
	if slices.ContainsFunc(s.components, func(other scanned) bool { return other.component == c }) {
		return fmt.Errorf("found component %d twice", id)
	}
	if slots>>4 > 3 || slots&15 > 3 {
		return fmt.Errorf("component %d: found Huffman tables %#02x, want 0 to 3", id, slots)
	}
	n := scanned{component: c, h: c.h, v: c.v, dc: s.d.dc[slots>>4], ac: s.d.ac[slots&15]}
	if s.start == 0 && s.high == 0 && n.dc == nil || s.end > 0 && n.ac == nil {
		return fmt.Errorf("component %d: found no Huffman table", id)
	}
	if c.quantiser == nil {
		c.quantiser = s.d.quantisers[c.selector]
	}
	if c.quantiser == nil {
		return fmt.Errorf("component %d: found no quantisation table", id)
	}
	s.components = append(s.components, n)
	return nil
}

// chooseBlocks decides which blocks come in which order (A.2). A component alone
// has no blocks beyond its samples.
func (s *scan) chooseBlocks() error {
	s.mcusX, s.mcusY = s.d.mcusX, s.d.mcusY
	if len(s.components) == 1 {
		c := &s.components[0]
		c.h, c.v = 1, 1
		s.mcusX, s.mcusY = ceil(c.plane.W, 8), ceil(c.plane.H, 8)
		return nil
	}
	n := 0
	for _, c := range s.components {
		n += c.h * c.v
	}
	if n > 10 {
		return fmt.Errorf("found %d blocks in an MCU, want at most 10", n)
	}
	return nil
}

// decode reads the coded data, which restart markers cut into intervals.
func (s *scan) decode() error {
	s.begin()
	left, restarts := s.d.interval, 0
	for y := range s.mcusY {
		for x := range s.mcusX {
			if s.d.interval > 0 && left == 0 {
				if err := s.restart(restarts); err != nil {
					return err
				}
				left, restarts = s.d.interval, restarts+1
			}
			left--
			err := s.decodeMCU(x, y)
			if s.bits.overrun() {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return fmt.Errorf("block at pixel %d, %d: %w", x*s.d.w/s.mcusX, y*s.d.h/s.mcusY, err)
			}
		}
	}
	return nil
}

// begin takes the coded data up to the next marker.
func (s *scan) begin() {
	coded := slices.Grow(s.d.coded[:0], len(s.rest)+padding)
	for {
		at := bytes.IndexByte(s.rest, 0xff)
		if at < 0 || at+1 == len(s.rest) {
			coded, s.rest = append(coded, s.rest...), nil
			break
		}
		if s.rest[at+1] != 0 {
			coded, s.rest = append(coded, s.rest[:at]...), s.rest[at:]
			break
		}
		coded, s.rest = append(coded, s.rest[:at+1]...), s.rest[at+2:]
	}
	coded = append(coded, make([]byte, padding)...)
	s.d.coded, s.bits = coded, bits{data: coded}
}

// restart goes to the next interval (F.2.2.5, G.2).
func (s *scan) restart(n int) error {
	for len(s.rest) > 0 && s.rest[0] == 0xff {
		s.rest = s.rest[1:]
	}
	if want := byte(RST0 + n%8); len(s.rest) == 0 || s.rest[0] != want {
		return fmt.Errorf("found marker %#x, want the restart %#x", s.rest[:min(1, len(s.rest))], want)
	}
	s.rest = s.rest[1:]
	for i := range s.components {
		s.components[i].predicted = 0
	}
	s.run = 0
	s.begin()
	return nil
}

func (s *scan) decodeMCU(x, y int) error {
	for i := range s.components {
		c := &s.components[i]
		for v := range c.v {
			for h := range c.h {
				if err := s.decodeBlock(c, x*c.h+h, y*c.v+v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
