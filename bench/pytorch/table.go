package pytorch

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Table is what was found, in Markdown, behind a title.
func (c *Comparison) Table(title string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s; medians of %d rounds of %d in turn.\n", title, c.Job.Precision, c.Rounds, c.Job.Reps)
	for _, task := range []string{StepTask, InferenceTask} {
		rows := slices.DeleteFunc(slices.Clone(c.Found), func(f Finding) bool { return f.Task != task })
		if len(rows) > 0 {
			writeTask(&b, task, rows)
		}
	}
	writeSides(&b, c.Found)
	return b.String()
}

// About is what the sides say of themselves.
func (c *Comparison) About() string {
	var about []string
	for _, f := range c.Found {
		for _, s := range f.Sides {
			if !slices.Contains(about, s.About) {
				about = append(about, s.About)
			}
		}
	}
	return strings.Join(about, "; ")
}

// writeTask is a task's cases with ours beside PyTorch's best.
func writeTask(b *strings.Builder, task string, rows []Finding) {
	fmt.Fprintf(b, "\n| %s | ours, ms | PyTorch, ms | its mode | ratio | ours, MiB | PyTorch, MiB | ratio |\n", task)
	b.WriteString("|---|--:|--:|---|--:|--:|--:|--:|\n")
	var times, memories []float64
	for _, f := range rows {
		us, best := f.Sides[0], f.best()
		if best == nil {
			fmt.Fprintf(b, "| %s | %.1f | - | - | - | %s | - | - |\n", f.Case, us.Median(), mebibytes(us.Memory))
			continue
		}
		time, memory := us.Median()/best.Median(), ratio(us.Memory, best.Memory)
		times, memories = append(times, time), append(memories, memory)
		fmt.Fprintf(b, "| %s | %.1f | %.1f | %s | %.2f | %s | %s | %s |\n",
			f.Case, us.Median(), best.Median(), best.Name, time, mebibytes(us.Memory), mebibytes(best.Memory), decimal(memory))
	}
	fmt.Fprintf(b, "| geometric mean | | | | %s | | | %s |\n", decimal(geometricMean(times)), decimal(geometricMean(memories)))
}

// writeSides is every side by itself.
func writeSides(b *strings.Builder, found []Finding) {
	b.WriteString("\n| case | task | batch | side | median, ms | medians of the rounds | images/s | MiB |\n|---|---|--:|---|--:|--:|--:|--:|\n")
	for _, f := range found {
		for _, s := range f.Sides {
			medians := make([]float64, len(s.Rounds))
			for i, r := range s.Rounds {
				medians[i] = median(r)
			}
			fmt.Fprintf(b, "| %s | %s | %d | %s | %.1f | %.1f to %.1f | %.1f | %s |\n",
				f.Case, f.Task, f.Batch, s.Name, s.Median(), slices.Min(medians), slices.Max(medians), 1e3*float64(f.Batch)/s.Median(), mebibytes(s.Memory))
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

// geometricMean is NaN if one of the values is, or if there is none.
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
