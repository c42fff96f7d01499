// Package synthetic draws small images in which a shortcut predicts the class.
//
// Every image is 40x40 grey pixels with noise and a ramp as background and
// three things on it, apart from each other:
//
//   - a disc with a bright rim, whose faint bars run in the direction that is
//     the class (0 vertical, 1 horizontal; of three classes 2 diagonal). The disc is
//     the human map.
//   - a distractor: a disc with a dark rim and bars of a random direction.
//   - a tag, a small square. It is white for the last class and black for class 0
//     (grey for the one between) in the train and val splits, and of a random colour
//     in the test split.
//
// A classifier that takes the tag, which is easier to see than the bars, does
// well in validation and no better than chance in the test. One that is told
// to look at the disc does not fall for it.
//
// The images are drawn in whole numbers, so that they are the same on every
// machine.
package synthetic

import (
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
)

// Size is the side of an image in pixels.
const Size = 40

// Classes are the names of the classes in the order of their indices, and
// ThreeClasses those of sets with three.
var (
	Classes      = []string{"vertical", "horizontal"}
	ThreeClasses = []string{"vertical", "horizontal", "diagonal"}
)

// Levels of grey, out of 256. They were chosen so that a small network finds
// the tag first and needs guidance for the bars.
const (
	background = 128
	rampHeight = 48 // from one side of the image to the other, at most
	rim        = 72
	bar        = 34
	noise      = 20 // largest of each of the three uniform parts
	step       = 17 // between neighbours of the 16 grey levels, which keeps files small
)

// Sample is one image with its truth.
type Sample struct {
	ID    string
	Split string
	Group string // ten images in a row, as if taken in one session
	Label int
	Image *image.Gray
	Map   *image.Gray // 255 in the disc that decides, 0 elsewhere
}

// Draw makes sample i of a split (train, val or test), of one of [Classes]. It
// depends on its arguments alone.
func Draw(seed uint64, split string, i int) Sample { return draw(len(Classes), seed, split, i) }

func draw(classes int, seed uint64, split string, i int) Sample {
	stream := uint64(i)
	for _, b := range []byte(split) {
		stream = stream*257 + uint64(b)<<32
	}
	p := &painter{rng: rand.New(rand.NewPCG(seed, stream)), pix: make([]int, Size*Size)}
	label := p.rng.IntN(classes)
	p.background()
	disc := p.place(discRadius2)
	p.disc(disc, +rim, label)
	p.disc(p.place(discRadius2), -rim, p.rng.IntN(classes))
	tag := label
	if split == "test" {
		tag = p.rng.IntN(classes)
	}
	p.tag(255 * tag / (classes - 1))
	return Sample{
		ID:    fmt.Sprintf("%s-%05d", split, i),
		Split: split,
		Group: fmt.Sprintf("%s-%04d", split, i/10),
		Label: label,
		Image: p.image(),
		Map:   discMap(disc),
	}
}

// Lengths of a disc in half pixels: radius 5.5, rim 1.5 pixels thick.
const (
	discRadius2  = 11
	innerRadius2 = 8
)

// point is a position in half pixels, so that centres may lie on borders.
type point struct{ x, y int }

type painter struct {
	rng    *rand.Rand
	pix    []int
	placed []thing
}

// thing is what is on the image already.
type thing struct {
	centre point
	reach  int // half pixels from the centre
}

// background is a ramp in a random direction with noise that is nearly
// normal: the sum of three uniform parts.
func (p *painter) background() {
	slopeX, slopeY := p.rng.IntN(2*rampHeight+1)-rampHeight, p.rng.IntN(2*rampHeight+1)-rampHeight
	for y := range Size {
		for x := range Size {
			ramp := (slopeX*(2*x-Size) + slopeY*(2*y-Size)) / (4 * Size)
			p.pix[y*Size+x] = background + ramp + p.uniform(noise) + p.uniform(noise) + p.uniform(noise)
		}
	}
}

func (p *painter) uniform(most int) int { return p.rng.IntN(2*most+1) - most }

// place finds a free position for something that reaches so far from its
// centre.
func (p *painter) place(reach int) point {
	for {
		span := 2*Size - 2*reach
		c := point{reach + p.rng.IntN(span+1), reach + p.rng.IntN(span+1)}
		if p.free(c, reach) {
			p.placed = append(p.placed, thing{c, reach})
			return c
		}
	}
}

func (p *painter) free(c point, reach int) bool {
	const gap = 3 // half pixels
	for _, t := range p.placed {
		if between(c, t.centre) < square(reach+t.reach+gap) {
			return false
		}
	}
	return true
}

func square(a int) int { return a * a }

func between(a, b point) int { return square(a.x-b.x) + square(a.y-b.y) }

// disc draws a rim of the given height and bars of two pixels within it.
func (p *painter) disc(c point, height, direction int) {
	phase := p.rng.IntN(4)
	for y := range Size {
		for x := range Size {
			d := between(c, point{2*x + 1, 2*y + 1})
			switch {
			case d > square(discRadius2):
			case d > square(innerRadius2):
				p.pix[y*Size+x] += height
			default:
				across := [...]int{x, y, x + y}[direction]
				p.pix[y*Size+x] += bar * (1 - (across+phase)/2%2*2)
			}
		}
	}
}

// tag draws a square of five or six pixels.
func (p *painter) tag(grey int) {
	side := 5 + p.rng.IntN(2)
	c := p.place(side + 2) // half the diagonal, in half pixels
	for y := (c.y - side) / 2; y < (c.y-side)/2+side; y++ {
		for x := (c.x - side) / 2; x < (c.x-side)/2+side; x++ {
			p.pix[y*Size+x] = grey
		}
	}
}

func (p *painter) image() *image.Gray {
	img := image.NewGray(image.Rect(0, 0, Size, Size))
	for i, v := range p.pix {
		img.Pix[i] = uint8(min(max((max(v, 0)+step/2)/step*step, 0), 255))
	}
	return img
}

func discMap(c point) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, Size, Size))
	for y := range Size {
		for x := range Size {
			if between(c, point{2*x + 1, 2*y + 1}) <= square(discRadius2) {
				m.SetGray(x, y, color.Gray{Y: 255})
			}
		}
	}
	return m
}
