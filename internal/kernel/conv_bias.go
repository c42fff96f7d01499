package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// BiasGradient sums dy (blocked) over images and pixels, in float64 but for
// short stretches.
func BiasGradient[T Element](e *Env, s op.Shape, db []float32, dy []T) []Phase {
	const perTask = 2048 // pixels
	parts := ceil(s.Pixels(), perTask)
	sums := make([]float64, Blocks(s.C)*parts*Block)
	sum := blockwiseOf[T](e.ISA).sum
	return []Phase{
		{Tasks: Blocks(s.C) * parts, Run: func(task, _ int) {
			block, first := task/parts, task%parts*perTask
			last := min(first+perTask, s.Pixels())
			acc := sums[task*Block:][:Block]
			clear(acc)
			sum(acc, dy[(block*s.Pixels()+first)*Block:(block*s.Pixels()+last)*Block])
		}},
		{Tasks: 1, Run: func(int, int) {
			for c := range db {
				var total float64
				for part := range parts {
					total += sums[(c/Block*parts+part)*Block+c%Block]
				}
				db[c] = float32(total)
			}
		}},
	}
}
