// Package jpeg decodes JPEG files into the planes of their components: 8-bit
// baseline, extended sequential and progressive files with Huffman codes, of any
// whole-numbered subsampling. The samples equal those of libjpeg's accurate integer
// method to the bit. What a plane means, and how a coarse one is brought to the
// size of the image, is left to the caller.
//
// The source is ITU-T T.81, by whose sections the code is explained.
package jpeg

import (
	"bytes"
	"errors"
	"fmt"
)

// Image is a decoded file.
type Image struct {
	W, H   int
	Colour Colour
	Planes []Plane // one a component
}

// Colour is what the components of an image are.
type Colour int

// The colours. Grey has one component, CMYK and YCCK have four; YCC is to CMY what
// YCbCr is to RGB.
const (
	Grey Colour = iota
	YCbCr
	RGB
	CMYK
	YCCK
)

// Plane holds the samples of one component: H rows of W, each of which stands for
// X by Y pixels. A row takes Stride bytes, at least 8 more than it has samples; the
// first of those repeats the last sample.
type Plane struct {
	W, H, X, Y int
	Stride     int
	Pix        []uint8
}

// Row is row y with what lies behind its samples.
func (p *Plane) Row(y int) []uint8 { return p.Pix[y*p.Stride:][:p.Stride] }

// maxScans bounds the passes over an image: encoders write about ten, and a scan of
// a few bytes can cost a pass over all coefficients.
const maxScans = 500

// Size is the width and height in pixels that the file's frame header names.
func Size(data []byte) (w, h int, err error) {
	var d decoder
	for s, err := range Segments(data) {
		if err != nil {
			return 0, 0, err
		}
		if isFrame(s.Marker) {
			err := d.readFrame(s)
			return d.w, d.h, err
		}
	}
	return 0, 0, errors.New("found no frame header")
}

// Decode reads a file. It takes memory for the pixels that Size tells of.
func Decode(data []byte) (*Image, error) {
	var d decoder
	for s, err := range Segments(data) {
		if err == nil {
			err = d.read(s)
		}
		if err != nil {
			return nil, err
		}
	}
	return d.image()
}

// decoder is what the segments so far have said.
type decoder struct {
	quantisers  [4]*quantiser
	dc, ac      [4]*huffman
	interval    int // number of MCUs between restarts, 0 for none
	jfif        bool
	adobe       bool
	transform   byte // of Adobe's segment
	w, h        int
	progressive bool
	mcusX       int // of an interleaved scan
	mcusY       int
	components  []component
	scans       int
	coded       []byte // of the interval that is read, without stuffed bytes
}

// component is one component of the frame.
type component struct {
	id           byte
	h, v         int // sampling factors: blocks of an MCU along each axis
	selector     byte
	quantiser    *quantiser // that stood in its table at the first scan; nil before
	blocksX      int        // of all MCUs
	blocksY      int
	plane        Plane
	coefficients []progressive // of a progressive image
}

func isFrame(marker byte) bool {
	return marker >= SOF0 && marker <= SOF15 && marker != DHT && marker != 0xc8 && marker != 0xcc
}

func (d *decoder) read(s Segment) error {
	switch {
	case s.Marker == DQT:
		return d.readQuantisers(s.Body)
	case s.Marker == DHT:
		return d.readCodes(s.Body)
	case s.Marker == DRI:
		if len(s.Body) != 2 {
			return fmt.Errorf("found a restart interval of %d bytes, want 2", len(s.Body))
		}
		d.interval = int(s.Body[0])<<8 | int(s.Body[1])
	case s.Marker == APP0:
		d.jfif = d.jfif || bytes.HasPrefix(s.Body, []byte("JFIF\x00"))
	case s.Marker == APP14 && len(s.Body) >= 12 && bytes.HasPrefix(s.Body, []byte("Adobe")):
		d.adobe, d.transform = true, s.Body[11]
	case isFrame(s.Marker):
		if err := d.readFrame(s); err != nil {
			return err
		}
		d.allocate()
	case s.Marker == SOS:
		d.scans++
		if d.scans > maxScans {
			return fmt.Errorf("found more than %d scans", maxScans)
		}
		if err := d.readScan(s); err != nil {
			return fmt.Errorf("scan %d: %w", d.scans, err)
		}
	}
	return nil
}

// readQuantisers reads DQT (B.2.4.1).
func (d *decoder) readQuantisers(b []byte) error {
	for len(b) > 0 {
		wide, slot := int(b[0]>>4), b[0]&15
		if wide > 1 || slot > 3 || len(b) < 1+64*(1+wide) {
			return fmt.Errorf("found a quantisation table %#02x in %d bytes, want 8 or 16 bits and slots 0 to 3", b[0], len(b))
		}
		q := new(quantiser)
		for k := range q {
			factor := b[1+k*(1+wide):]
			if wide == 1 {
				q.set(k, uint16(factor[0])<<8|uint16(factor[1]))
			} else {
				q.set(k, uint16(factor[0]))
			}
		}
		d.quantisers[slot] = q
		b = b[1+64*(1+wide):]
	}
	return nil
}

// readCodes reads DHT (B.2.4.2).
func (d *decoder) readCodes(b []byte) error {
	const counted = 17 // class and slot, numbers of codes
	for len(b) > 0 {
		n := 0
		for _, count := range b[1:min(counted, len(b))] {
			n += int(count)
		}
		class, slot := b[0]>>4, b[0]&15
		if class > 1 || slot > 3 || n > 256 || len(b) < counted+n {
			return fmt.Errorf("found a Huffman table %#02x of %d codes in %d bytes, want classes 0 and 1, slots 0 to 3, at most 256 codes", b[0], n, len(b))
		}
		h, err := newHuffman(b[1:counted], b[counted:counted+n])
		if err != nil {
			return err
		}
		if class == 0 {
			d.dc[slot] = h
		} else {
			d.ac[slot] = h
		}
		b = b[counted+n:]
	}
	return nil
}

// readFrame reads SOF0, SOF1 or SOF2 (B.2.2).
func (d *decoder) readFrame(s Segment) error {
	b := s.Body
	switch {
	case s.Marker > SOF2:
		return fmt.Errorf("found coding process %d, want a baseline, extended sequential or progressive file", s.Marker-SOF0)
	case len(d.components) > 0:
		return errors.New("found a second frame")
	case len(b) < 6 || len(b) != 6+3*int(b[5]):
		return fmt.Errorf("found a frame header of %d bytes, want 6 and 3 for each component", len(b))
	case b[0] != 8:
		return fmt.Errorf("found samples of %d bits, want 8", b[0])
	}
	d.progressive = s.Marker == SOF2
	d.h, d.w = int(b[1])<<8|int(b[2]), int(b[3])<<8|int(b[4])
	if d.w == 0 || d.h == 0 {
		return fmt.Errorf("found %d x %d pixels, want at least 1 x 1", d.w, d.h)
	}
	if n := b[5]; n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("found %d components, want 1, 3 or 4", n)
	}
	for b = b[6:]; len(b) > 0; b = b[3:] {
		d.components = append(d.components, component{id: b[0], h: int(b[1] >> 4), v: int(b[1] & 15), selector: b[2]})
	}
	return d.setGeometry()
}

// setGeometry computes the sizes of the planes (A.1.1, A.2.4). Of a component alone
// the sampling factors mean nothing.
func (d *decoder) setGeometry() error {
	if len(d.components) == 1 {
		d.components[0].h, d.components[0].v = 1, 1
	}
	mostH, mostV := 1, 1
	for _, c := range d.components {
		mostH, mostV = max(mostH, c.h), max(mostV, c.v)
	}
	d.mcusX, d.mcusY = ceil(d.w, 8*mostH), ceil(d.h, 8*mostV)
	for i := range d.components {
		c := &d.components[i]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || mostH%c.h != 0 || mostV%c.v != 0 {
			return fmt.Errorf("component %d: found sampling factors %d x %d of %d x %d, want 1 to 4 and whole parts", c.id, c.h, c.v, mostH, mostV)
		}
		if c.selector > 3 {
			return fmt.Errorf("component %d: found quantisation table %d, want 0 to 3", c.id, c.selector)
		}
		c.blocksX, c.blocksY = d.mcusX*c.h, d.mcusY*c.v
		x, y := mostH/c.h, mostV/c.v
		c.plane = Plane{W: ceil(d.w, x), H: ceil(d.h, y), X: x, Y: y, Stride: 8 * (c.blocksX + 1)}
	}
	return nil
}

func ceil(n, by int) int { return (n + by - 1) / by }

func (d *decoder) allocate() {
	for i := range d.components {
		c := &d.components[i]
		c.plane.Pix = make([]uint8, 8*c.blocksY*c.plane.Stride)
		if d.progressive {
			c.coefficients = make([]progressive, c.blocksX*c.blocksY)
		}
	}
}

// image is the result, after the last scan.
func (d *decoder) image() (*Image, error) {
	if len(d.components) == 0 {
		return nil, errors.New("found no frame header")
	}
	m := &Image{W: d.w, H: d.h, Colour: d.colour()}
	for i := range d.components {
		c := &d.components[i]
		if c.quantiser == nil {
			return nil, fmt.Errorf("component %d: found no scan", c.id)
		}
		if d.progressive {
			c.transformAll()
		}
		for y := range c.plane.H {
			row := c.plane.Row(y)
			row[c.plane.W] = row[c.plane.W-1]
		}
		m.Planes = append(m.Planes, c.plane)
	}
	return m, nil
}

// colour follows libjpeg: JFIF files hold YCbCr, Adobe's segment says what they
// hold, and else the names of the components do.
func (d *decoder) colour() Colour {
	switch {
	case len(d.components) == 1:
		return Grey
	case len(d.components) == 4 && d.adobe && d.transform != 0:
		return YCCK
	case len(d.components) == 4:
		return CMYK
	case d.jfif:
		return YCbCr
	case d.adobe && d.transform == 0, !d.adobe && d.named("RGB"):
		return RGB
	}
	return YCbCr
}

func (d *decoder) named(ids string) bool {
	for i, c := range d.components {
		if c.id != ids[i] {
			return false
		}
	}
	return true
}
