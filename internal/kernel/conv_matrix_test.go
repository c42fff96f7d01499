package kernel

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Where there is no AMX, Go's loops stand in for its kernels, so that what surrounds
// them is tested on every machine. What AVX-512 alone does for them runs where it can.
func init() {
	if Detect() == AMX {
		return
	}
	assembly = standIn(assembly)
	multipliers = standIn(multipliers)
	peaks = standIn(peaks)
	pairPeaks = standIn(pairPeaks)
	amx := pairMultipliers[AMX]
	pairMultipliers = standIn(pairMultipliers)
	loops := &multiplier{depth: matrixDepth, room: matrixRoom, matrix: true, spans: []span{{1, tilesGenericPairs}}, adding: []span{{1, tilesGenericPairs}}}
	if amx != nil && Detect() >= AVX512 {
		loops.wideSquares, loops.spread = amx.wideSquares, amx.spread
	}
	pairMultipliers[AMX] = loops
}

// standIn is a table in which the best instruction set of this machine stands in for AMX.
func standIn[T any](table map[ISA]T) map[ISA]T {
	changed := map[ISA]T{}
	for isa, entry := range table {
		if isa <= Detect() {
			changed[isa] = entry
		}
	}
	if entry, ok := changed[Detect()]; ok {
		changed[AMX] = entry
	}
	return changed
}

func TestTilesOfAMatrixUnitTakeEveryRowOnceAndAreEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line, lines := rapid.IntRange(1, 80).Draw(t, "line"), rapid.IntRange(1, 9).Draw(t, "lines")
		pitch, gap := rapid.IntRange(1, 3).Draw(t, "pitch")*Block, rapid.IntRange(0, 3).Draw(t, "gap")*Block
		var rows []int32
		for l := range lines {
			for i := range line {
				rows = append(rows, int32(l*(line*pitch+gap)+i*pitch))
			}
		}
		outs := pixelOffsets(len(rows))
		b := matrixBand(rows, outs, line)
		if len(b.rows)%(2*b.height) != 0 || b.height > matrixRows {
			t.Fatalf("%d rows in tiles of %d", len(b.rows), b.height)
		}
		var placed []int32
		for i, row := range b.rows {
			if i%b.height > 0 && int(row-b.rows[i-1]) != b.pitch {
				t.Fatalf("row %d of a tile is %d behind the one before, want %d", i%b.height, row-b.rows[i-1], b.pitch)
			}
			if b.outs[i] >= 0 {
				placed = append(placed, b.outs[i])
				if row != rows[b.outs[i]/Block] {
					t.Fatalf("what has place %d is row %d, want %d", b.outs[i], row, rows[b.outs[i]/Block])
				}
			}
		}
		if !slices.Equal(placed, outs) {
			t.Fatalf("placed %v, want %v", placed, outs)
		}
	})
}
