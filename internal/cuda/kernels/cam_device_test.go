//go:build gpu

package kernels

import (
	"fmt"
	"testing"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
)

func TestClassActivationMapsAreTheReferences(t *testing.T) {
	g := open(t)
	for _, s := range []op.Shape{{N: 6, C: 1, H: 1, W: 1}, {N: 7, C: 12, H: 3, W: 5}, {N: 6, C: 512, H: 7, W: 7}, {N: 8, C: 264, H: 4, W: 4}, {N: 6, C: 24, H: 33, W: 20}} {
		for _, typ := range []Type{F32, BF16} {
			c := op.CAM{Features: s, Classes: 3}
			plane := s.H * s.W
			f, w := g.uniform(s.Len(), typ, 0, 2), g.uniform(c.Classes*s.C, F32, -1, 1)
			dcam, class := g.uniform(s.N*plane, F32, -1, 1), make([]float64, s.N)
			for i := range class {
				class[i] = float64(g.rng.IntN(2)) // none of the last class
			}
			class[0], class[1] = -1, 3
			clear(f[2*s.C*plane : 3*s.C*plane]) // a map of zeros
			for i := range s.C * plane {        // a constant map
				f[3*s.C*plane+i] = 1
			}
			pf, pw, pc, pd := g.maps(s, typ, f), g.planar(w), g.planar(class), g.planar(dcam)
			what := fmt.Sprintf("%v of %v", s, typ)
			g.compare("map of "+what, s.N*plane, func(to Pointer) []Launch { return CAM(c, typ, to, pf, pw, pc) },
				func(to []float64) { reference.CAM(c, to, f, w, class) })
			g.compare("gradient by the weights of "+what, len(w), func(to Pointer) []Launch { return CAMBackwardWeights(c, typ, to, pd, pf, pw, pc, g.scratch) },
				func(to []float64) { reference.CAMBackwardWeights(c, to, dcam, f, w, class) })

			df, want := g.room(s, typ), make([]float64, len(f))
			g.run(CAMBackwardFeatures(c, typ, df, pd, pf, pw, pc, g.scratch))
			reference.CAMBackwardFeatures(c, want, dcam, f, w, class)
			g.near("gradient by the features of "+what, typ, g.readMaps(df, s, typ), want)
		}
	}
}

func TestWhatPullsAtTheExtremesOfAnActivationMapGoesNowhere(t *testing.T) {
	g := open(t)
	s := op.Shape{N: 1, C: 1, H: 1, W: 4}
	c := op.CAM{Features: s, Classes: 1}
	f, w, class := []float64{1, 2, 3, 5}, []float64{1}, []float64{0}
	pf, pw, pc := g.planar(f), g.planar(w), g.planar(class)
	calm, wild := []float64{0, 1, -2, 0}, []float64{1e12, 1, -2, -1e12}
	for _, dcam := range [][]float64{calm, wild} {
		pd := g.planar(dcam)
		g.compare("gradient", len(f), func(to Pointer) []Launch { return CAMBackwardFeatures(c, F32, to, pd, pf, pw, pc, g.scratch) },
			func(to []float64) { reference.CAMBackwardFeatures(c, to, calm, f, w, class) })
	}
}
