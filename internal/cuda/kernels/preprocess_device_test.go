//go:build gpu

package kernels

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/raster"
)

// everything is all that training may change, far.
var everything = raster.Augment{Flip: true, Transpose: true, Zoom: 0.9, Shift: 1, Color: 0.5, Brightness: 0.5}

// sizes are of images, smaller and larger than what is drawn of them, to the extreme.
var sizes = [][2]int{{1, 1}, {1, 7}, {5, 2}, {12, 12}, {37, 20}, {31, 64}, {64, 64}, {3, 200}, {300, 9}}

// views draws a view for each size, the first two of them plain.
func (g *gpu) views(i int) raster.View {
	if i < 2 {
		return raster.View{}
	}
	return everything.Draw(g.rng)
}

func TestDrawnImagesAreThoseOfTheHost(t *testing.T) {
	g := open(t)
	const rounds = 3
	for _, side := range []int{1, 12, 33} {
		s := op.Shape{N: rounds * len(sizes), C: 3, H: side, W: side}
		want, table := make([]float32, s.Len()), []byte(nil)
		for i := range s.N {
			m := raster.NewImage(sizes[i%len(sizes)][0], sizes[i%len(sizes)][1])
			for k := range m.Pix {
				m.Pix[k] = byte(g.rng.IntN(256))
			}
			resizing := []raster.Resizing{raster.Squash, raster.Pad}[i%2]
			seen := raster.SeenImage{Image: resizing.Prepare(m, side), View: g.views(i), Side: side}
			seen.Draw(want[i*3*side*side:][:3*side*side])
			v := seen.Geometry()
			table = View{g.upload(v.Bytes), v}.Append(table)
		}
		views := g.upload(table)
		for typ, rounding := range map[Type]float64{F32: 0, BF16: 1. / 256} {
			drawn := s
			if typ == BF16 {
				drawn.C = ImageChannels
			}
			y := g.room(drawn, typ)
			g.run(DrawImages(s, typ, y, views))
			for i, v := range g.readMaps(y, drawn, typ) {
				image, channel, pixel := i/(drawn.C*side*side), i/(side*side)%drawn.C, i%(side*side)
				w := 0.0
				if channel < s.C {
					w = float64(want[(image*s.C+channel)*side*side+pixel])
				}
				// The host's weights are multiples of 1/8192; 1/255 of the full range is a level.
				if !(math.Abs(v-w) <= 0.25/255/0.225+rounding*math.Abs(w)) {
					t.Fatalf("%v, side %d: pixel %d of channel %d of image %d is %v, want %v", typ, side, pixel, channel, image, v, w)
				}
			}
		}
	}
}

func TestDrawnMapsAreThoseOfTheHost(t *testing.T) {
	g := open(t)
	for _, side := range []int{1, 7, 33} {
		s := op.Shape{N: 3 * len(sizes), C: 1, H: side, W: side}
		want, table := make([]float32, s.Len()), []byte(nil)
		for i := range s.N {
			p := raster.NewPlane(sizes[i%len(sizes)][0], sizes[i%len(sizes)][1])
			for k := range p.Pix {
				p.Pix[k] = g.rng.Float32()
			}
			seen := raster.SeenMap{Map: p, View: g.views(i), Side: side}
			seen.Draw(want[i*side*side:][:side*side])
			v := seen.Geometry()
			var b []byte
			for _, x := range v.Values {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
			}
			table = View{g.upload(b), v}.Append(table)
		}
		y := g.room(s, F32)
		g.run(DrawMaps(s, y, g.upload(table)))
		for i, v := range g.readMaps(y, s, F32) {
			if w := float64(want[i]); !(math.Abs(v-w) <= 1e-5) {
				t.Fatalf("side %d: value %d of map %d is %v, want %v", side, i%(side*side), i/(side*side), v, w)
			}
		}
	}
}

// BenchmarkDrawing draws views of photographs, and of maps, for usual networks; it makes
// sense on a GPU alone.
func BenchmarkDrawing(b *testing.B) {
	g := open(b)
	augment := raster.Augment{Flip: true, Zoom: 0.2}
	const side, width, height = 224, 500, 375
	images, maps := op.Shape{N: 128, C: 3, H: side, W: side}, op.Shape{N: 128, C: 1, H: side, W: side}
	y := g.bytes(images.Pixels() * max(3*F32.Size(), ImageChannels*BF16.Size()))
	table := func(v func(raster.View) View) Pointer {
		var t []byte
		for range images.N {
			t = v(augment.Draw(g.rng)).Append(t)
		}
		return g.upload(t)
	}
	image := raster.Squash.Prepare(raster.NewImage(width, height), side)
	human := raster.NewPlane(width, height)
	pixels := func(bytes int) Pointer {
		p := g.bytes(bytes)
		g.must(g.stream.Fill(p, 0, int64(bytes)))
		return p
	}
	ofImages := table(func(v raster.View) View {
		return View{pixels(3 * width * height), raster.SeenImage{Image: image, View: v, Side: side}.Geometry()}
	})
	ofMaps := table(func(v raster.View) View {
		return View{pixels(4 * width * height), raster.SeenMap{Map: human, View: v, Side: side}.Geometry()}
	})
	for name, launches := range map[string][]Launch{
		"images/f32": DrawImages(images, F32, y, ofImages), "images/bf16": DrawImages(images, BF16, y, ofImages), "maps": DrawMaps(maps, y, ofMaps),
	} {
		b.Run(name, func(b *testing.B) {
			seconds := g.time(b.N, launches)
			b.ReportMetric(seconds*1e6/float64(b.N), "us/op")
			b.ReportMetric(float64(images.N*b.N)/seconds, "images/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
