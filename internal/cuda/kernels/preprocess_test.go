package kernels

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
)

func TestAViewLiesInMemoryAsTheKernelsReadIt(t *testing.T) {
	v := View{0x1234, op.View{
		W: 5, H: 6, X: op.Span{Centre: 1.5, Side: 2.5}, Y: op.Span{Centre: 3.5, Side: 4.5, Backwards: true}, Transpose: true,
		Gain: [3]float32{1, 2, 3}, Mean: [3]float32{4, 5, 6}, Std: [3]float32{0.5, 0.25, 0.125},
	}}
	b := v.Append(nil)
	if len(b) != ViewSize || ViewSize%8 != 0 {
		t.Fatalf("%d bytes, want %d, a multiple of 8", len(b), ViewSize)
	}
	if p := binary.LittleEndian.Uint64(b); p != 0x1234 {
		t.Errorf("pixels at %#x", p)
	}
	for i, want := range []float64{1.5, 2.5, 3.5, 4.5} {
		if x := math.Float64frombits(binary.LittleEndian.Uint64(b[8+8*i:])); x != want {
			t.Errorf("span value %d is %v, want %v", i, x, want)
		}
	}
	for i, want := range []uint32{5, 6, 2 | 4} {
		if x := binary.LittleEndian.Uint32(b[40+4*i:]); x != want {
			t.Errorf("number %d is %d, want %d", i, x, want)
		}
	}
	for i, want := range []float32{1. / 255, 2. / 255, 3. / 255, 4, 5, 6, 2, 4, 8} {
		if x := math.Float32frombits(binary.LittleEndian.Uint32(b[52+4*i:])); x != want {
			t.Errorf("channel value %d is %v, want %v", i, x, want)
		}
	}
}

func TestDrawingHasAThreadForEveryPixel(t *testing.T) {
	for _, s := range []op.Shape{{N: 1, C: 3, H: 1, W: 1}, {N: 128, C: 3, H: 224, W: 224}, {N: 2, C: 3, H: 9, W: 33}} {
		for _, launches := range [][]Launch{DrawImages(s, F32, 256, 512), DrawImages(s, BF16, 256, 512), DrawMaps(s, 256, 512)} {
			l := launches[0]
			if err := Check(l); err != nil {
				t.Error(err)
			}
			if l.Grid[0]*l.Block[0] < s.W || l.Grid[1]*l.Block[1] < s.H || l.Grid[2]*l.Block[2] != s.N {
				t.Errorf("%v: blocks %v of %v threads", s, l.Grid, l.Block)
			}
		}
	}
}
