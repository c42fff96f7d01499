package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// table is what was found, in Markdown.
func (c *comparison) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s; %s; %d threads, %s, batch %d; medians of %d rounds of %d in turn.\n",
		c.machine, c.about[0], c.about[1], c.Threads, c.Precision, batch, c.rounds, c.Reps)
	if len(c.options) > 0 {
		fmt.Fprintf(&b, "Flags: `%s`.\n", strings.Join(c.options, " "))
	}
	for _, task := range []string{stepTask, inferenceTask} {
		rows := slices.DeleteFunc(slices.Clone(c.found), func(f finding) bool { return f.Task != task })
		if len(rows) > 0 {
			writeTask(&b, task, rows)
		}
	}
	writeSides(&b, c.found)
	return b.String()
}

// writeTask is a task's cases with ours beside PyTorch's best.
func writeTask(b *strings.Builder, task string, rows []finding) {
	fmt.Fprintf(b, "\n| %s | ours, ms | PyTorch, ms | its mode | ratio | ours, MiB | PyTorch, MiB | ratio |\n", task)
	b.WriteString("|---|--:|--:|---|--:|--:|--:|--:|\n")
	var times, memories []float64
	for _, f := range rows {
		us, best := f.sides[0], f.best()
		time, memory := us.median()/best.median(), ratio(us.memory, best.memory)
		times, memories = append(times, time), append(memories, memory)
		fmt.Fprintf(b, "| %s | %.1f | %.1f | %s | %.2f | %s | %s | %s |\n",
			f.Case, us.median(), best.median(), best.name, time, mebibytes(us.memory), mebibytes(best.memory), decimal(memory))
	}
	fmt.Fprintf(b, "| geometric mean | | | | %.2f | | | %s |\n", geometricMean(times), decimal(geometricMean(memories)))
}

// writeSides is every side by itself.
func writeSides(b *strings.Builder, found []finding) {
	b.WriteString("\n| case | task | side | median, ms | medians of the rounds | MiB |\n|---|---|---|--:|--:|--:|\n")
	for _, f := range found {
		for _, s := range f.sides {
			medians := make([]float64, len(s.rounds))
			for i, r := range s.rounds {
				medians[i] = median(r)
			}
			fmt.Fprintf(b, "| %s | %s | %s | %.1f | %.1f to %.1f | %s |\n",
				f.Case, f.Task, s.name, s.median(), slices.Min(medians), slices.Max(medians), mebibytes(s.memory))
		}
	}
}

// ratio is NaN where the system tells no sizes.
func ratio(a, b int64) float64 {
	if a == 0 || b == 0 {
		return math.NaN()
	}
	return float64(a) / float64(b)
}

// geometricMean is NaN if one of the values is.
func geometricMean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Log(v)
	}
	return math.Exp(sum / float64(len(x)))
}

func decimal(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.2f", x)
}

func mebibytes(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n >> 20)
}
