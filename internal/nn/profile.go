package nn

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/surrogaze/surrogaze/internal/kernel"
	"github.com/surrogaze/surrogaze/internal/op"
)

// Profile sums up what the operators of one program take: time, operations and
// bytes. The zero value is ready to be named in the [Options] of a program, which
// then looks at the clock behind every operator, where its workers wait for one
// another. Results stay the same to the bit. A trainer's first step, which touches
// the memory for the first time, is left out. It must not be read while the program
// runs; a further program that is compiled with it begins anew.
type Profile struct {
	rows    []*operation
	target  Target
	workers int
	warm    bool // behind the first step
	steps   int
	whole   time.Duration // of the steps
	last    time.Time
}

// operation is all instructions of one operator and geometry.
type operation struct {
	name, geometry string
	count          int     // of instructions in a step
	flops, bytes   float64 // of a step
	took           time.Duration
}

// Steps is the number of training steps that were measured.
func (p *Profile) Steps() int { return p.steps }

// begin forgets what was before and notes what the program runs on.
func (p *Profile) begin(target Target, workers int) {
	if p != nil {
		*p = Profile{target: target, workers: workers}
	}
}

// start adds the look at the clock that a run begins with.
func (p *Profile) start(phases []kernel.Phase) []kernel.Phase {
	if p == nil {
		return phases
	}
	return append(phases, kernel.Phase{Tasks: 1, Run: func(int, int) { p.last = time.Now() }})
}

// after adds the look at the clock behind the phases of an instruction.
func (p *Profile) after(phases []kernel.Phase, ins *instruction) []kernel.Phase {
	if p == nil {
		return phases
	}
	return p.measure(phases, ins.operation((*value).len, 4))
}

// around are the phases of an optimiser's step as one operation.
func (p *Profile) around(u *updates, o Optimizer) []kernel.Phase {
	if p == nil {
		return u.phases
	}
	return p.measure(append(p.start(nil), u.phases...), o.operation(u.length, u.moments))
}

// operation is the optimiser's step over so many parameters.
func (o Optimizer) operation(length int, moments *Params) operation {
	moved := 3 * length // weight and gradient in, weight out
	for _, m := range moments.list {
		moved += 2 * len(m.Data)
	}
	return operation{name: o.Name, geometry: fmt.Sprintf("%d parameters", length), bytes: 4 * float64(moved)}
}

// measure adds the look at the clock that ends an operation.
func (p *Profile) measure(phases []kernel.Phase, o operation) []kernel.Phase {
	row := p.add(o)
	return append(phases, kernel.Phase{Tasks: 1, Run: func(int, int) {
		now := time.Now()
		row.took += now.Sub(p.last)
		p.last = now
	}})
}

// add counts an operation in the row of its name and geometry.
func (p *Profile) add(o operation) *operation {
	row := p.row(o)
	row.count++
	row.flops += o.flops
	row.bytes += o.bytes
	return row
}

func (p *Profile) row(o operation) *operation {
	for _, row := range p.rows {
		if row.name == o.name && row.geometry == o.geometry {
			return row
		}
	}
	p.rows = append(p.rows, &operation{name: o.name, geometry: o.geometry})
	return p.rows[len(p.rows)-1]
}

// step counts a training step, or forgets the first.
func (p *Profile) step(took time.Duration) {
	switch {
	case p == nil:
	case p.warm:
		p.steps++
		p.whole += took
	default:
		p.warm = true
		for _, row := range p.rows {
			row.took = 0
		}
	}
}

// flops counts the multiplications and additions of an operator that is a matrix
// product at heart, padding included; of the others, which memory bounds, 0.
func flops(o operator) float64 {
	product := func(g op.Linear) float64 { return 2 * float64(g.N) * float64(g.In) * float64(g.Out) }
	switch o := o.(type) {
	case conv:
		return o.g.FLOPs()
	case convBackwardData:
		return o.g.FLOPs()
	case convBackwardWeights:
		return o.g.FLOPs()
	case linear:
		return product(o.g)
	case linearBackwardData:
		return product(o.g)
	case linearBackwardWeights:
		return product(o.g)
	}
	return 0
}

// operation is what an instruction takes, with the bytes of every operand and result
// once: size of a value in units of so many bytes.
func (ins *instruction) operation(size func(*value) int, unit float64) operation {
	n := 0
	for _, v := range slices.Concat(ins.in, ins.out) {
		n += size(v)
	}
	return operation{name: ins.title(), geometry: ins.geometry(), flops: flops(ins.op), bytes: unit * float64(n)}
}

// fused is what stands between an operator's name and those of what is fused to it.
const fused = " + "

// title is the operator's name with what is fused to it.
func (ins *instruction) title() string {
	residual, relu, sum := false, false, false
	switch o := ins.op.(type) {
	case conv:
		residual, relu = o.residual, o.relu
	case batchNorm:
		residual, relu = o.residual, o.relu
	case batchNormBackward:
		residual, relu, sum = o.residual, o.relu, o.toDX || o.toDY
	}
	title := ins.op.name()
	if residual {
		title += fused + "add"
	}
	if relu {
		title += fused + "relu"
	}
	if sum {
		title += fused + "sum"
	}
	return title
}

// geometry is what goes in and what comes out.
func (ins *instruction) geometry() string {
	switch o := ins.op.(type) {
	case conv:
		return window(o.g)
	case convBackwardData:
		return window(o.g)
	case convBackwardWeights:
		return window(o.g)
	}
	from, to := ins.in[0].shape, ins.out[0].shape
	if from == to {
		return from.String()
	}
	return fmt.Sprintf("%v to %v", from, to)
}

func window(g op.Conv) string {
	text := fmt.Sprintf("%v to %v, %dx%d", g.In, g.OutShape(), g.KernelH, g.KernelW)
	for _, x := range []struct {
		what  string
		value int
	}{{"stride", max(g.StrideH, g.StrideW)}, {"dilation", max(g.DilationH, g.DilationW)}, {"groups", g.Groups}} {
		if x.value != 1 {
			text += fmt.Sprintf(", %s %d", x.what, x.value)
		}
	}
	return text
}

// Peaks tells how many operations and bytes a second a device reaches, 0 where that is
// not known: so many cores of the CPU in float32, or a GPU in a precision.
type Peaks func(device, precision string, workers int) (flops, bandwidth float64)

// Write writes the profile of a trainer's steps as a table in Markdown, the longest
// first; of a GPU's also one of the kinds of operators.
//
// Bytes are those that an operator has to move: every operand and every result
// once. Where these stay in caches, they come faster than memory gives them.
// Operations are those of the convolution as it is defined; where Winograd's
// algorithm takes a quarter of the multiplications, and where the CPU multiplies
// bfloat16, the peak, there that of float32, may be passed.
func (p *Profile) Write(w io.Writer, peaks Peaks) error {
	flops, bandwidth := peaks(p.target.Device, p.target.Precision, p.workers)
	var b strings.Builder
	if p.target.onGPU() {
		fmt.Fprintf(&b, "%d steps of %.3f ms, one launch after another, %s; peaks: %s GFLOP/s of %s, %s GB/s.\n\n",
			p.steps, 1e3*p.perStep(p.whole), p.target.ISA, giga(flops), p.target.Precision, giga(bandwidth))
		p.writeKinds(&b, flops, bandwidth)
	} else {
		fmt.Fprintf(&b, "%d steps of %.3f ms, %d workers, %v; peaks of so many cores: %s GFLOP/s of float32, %s GB/s.\n\n",
			p.steps, 1e3*p.perStep(p.whole), p.workers, p.target.ISA, giga(flops), giga(bandwidth))
	}
	p.writeRows(&b, flops, bandwidth)
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *Profile) perStep(d time.Duration) float64 { return d.Seconds() / float64(max(p.steps, 1)) }

// writeRows writes what every operator of every geometry takes.
func (p *Profile) writeRows(b *strings.Builder, flops, bandwidth float64) {
	b.WriteString("| operator | geometry (N, C, H, W) | count | ms | share | GFLOP/s | of peak | GB/s | of peak |\n")
	b.WriteString("|---|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, row := range p.sorted() {
		seconds := p.perStep(row.took)
		f, m := ratio(row.flops, seconds), ratio(row.bytes, seconds)
		fmt.Fprintf(b, "| %s | %s | %d | %.3f | %s | %s | %s | %s | %s |\n", row.name, row.geometry, row.count,
			1e3*seconds, percent(seconds, p.perStep(p.whole)), giga(f), percent(f, flops), giga(m), percent(m, bandwidth))
	}
}

// kind is all operators of a name, whatever is fused to them.
type kind struct {
	name  string
	count int     // of instructions in a step
	took  float64 // seconds of a step
	// The seconds that they would take at the peaks: those of operators whose operations
	// take longer there, and of those whose bytes do.
	multiplying, moving float64
}

// writeKinds writes what the operators of every kind take, beside what they would take
// at the peaks.
func (p *Profile) writeKinds(b *strings.Builder, flops, bandwidth float64) {
	b.WriteString("| kind of operator | count | ms | share | ms at the peaks | of peak | bound by |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|---|\n")
	all := kind{name: "all"}
	write := func(k *kind) {
		least := k.multiplying + k.moving
		fmt.Fprintf(b, "| %s | %d | %.3f | %s | %s | %s | %s |\n", k.name, k.count, 1e3*k.took,
			percent(k.took, p.perStep(p.whole)), milliseconds(least), percent(least, k.took), k.bound())
	}
	for _, k := range p.kinds(flops, bandwidth) {
		write(k)
		all.add(k)
	}
	write(&all)
	b.WriteByte('\n')
}

func (k *kind) add(x *kind) {
	k.count += x.count
	k.took += x.took
	k.multiplying += x.multiplying
	k.moving += x.moving
}

// kinds are the operators by their names, the longest first.
func (p *Profile) kinds(flops, bandwidth float64) []*kind {
	var list []*kind
	for _, row := range p.sorted() {
		x := p.alone(row, flops, bandwidth)
		i := slices.IndexFunc(list, func(k *kind) bool { return k.name == x.name })
		if i < 0 {
			list = append(list, x)
		} else {
			list[i].add(x)
		}
	}
	slices.SortStableFunc(list, func(a, b *kind) int { return cmp.Compare(b.took, a.took) })
	return list
}

// alone is the kind of one row.
func (p *Profile) alone(row *operation, flops, bandwidth float64) *kind {
	name, _, _ := strings.Cut(row.name, fused)
	k := &kind{name: name, count: row.count, took: p.perStep(row.took)}
	if moving, multiplying := ratio(row.bytes, bandwidth), ratio(row.flops, flops); multiplying > moving {
		k.multiplying = multiplying
	} else {
		k.moving = moving
	}
	return k
}

// bound is what most of a kind's time at the peaks goes to.
func (k *kind) bound() string {
	switch {
	case k.multiplying+k.moving == 0:
		return "-"
	case k.multiplying > k.moving:
		return "multiplication"
	}
	return "memory"
}

// sorted are the rows by time, and one for what is between operators.
func (p *Profile) sorted() []*operation {
	rest := &operation{name: "between operators", geometry: "waiting for the batch, copying it", count: 1, took: p.whole}
	for _, row := range p.rows {
		rest.took -= row.took
	}
	rows := append(slices.Clone(p.rows), rest)
	slices.SortStableFunc(rows, func(a, b *operation) int { return cmp.Compare(b.took, a.took) })
	return rows
}

// ratio is 0 where it is not known.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// milliseconds are those of a time in seconds, a dash for none.
func milliseconds(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", 1e3*seconds)
}

// giga is a rate in thousand millions, a dash for none.
func giga(rate float64) string {
	if rate == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", rate/1e9)
}

// percent is a share of a whole, a dash for none.
func percent(part, whole float64) string {
	if part == 0 || whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*part/whole)
}
