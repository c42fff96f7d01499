package raster

import (
	"math"
	"sync"

	"github.com/surrogaze/surrogaze/internal/op"
)

// Resize writes src as planar float32 (3, h, w) in [0, 1] into dst, which must
// hold 3*h*w values. The filter is Pillow's antialiased bilinear, which
// torchvision's Resize uses: a triangle as wide as the reduction, cut at the
// image's border. Pillow rounds to 8 bits twice, this does not at all; the
// difference stays below 1/255.
func Resize(dst []float32, h, w int, src *Image) { View{}.Image(dst, h, w, src) }

// ResizeMap writes src as (h, w) into dst, which must hold h*w values. Along an
// axis that shrinks, each result is the mean of the area that it covers; along
// one that grows, it is interpolated linearly. It does not rescale: see MinMax.
func ResizeMap(dst []float32, h, w int, src *Plane) { View{}.Map(dst, h, w, src) }

// taps resample one axis: output i is the sum over k of
// weight[i*width+k] * input[first[i]+k], for k below count[i].
type taps struct {
	width        int
	first, count []int
	same         bool // every output is the input of its place
	weight       []float32
	fixed        []uint64 // weight in units of 1/fixedOne; they add up to fixedOne
}

// fixedOne is the 1 of fixed-point weights. A sum of bytes so weighted stays
// below 1<<lane, so that three channels share one 64-bit accumulator.
const (
	fixedOne = 1 << 13
	lane     = 21
)

// filter is how an output position that covers step input pixels around centre
// weighs them: from and to bound the pixels, weight is the share of one.
type filter interface {
	support(step float64) float64
	weight(pixel int, centre, step float64) float64
}

// triangle is linear interpolation, widened where the image shrinks.
type triangle struct{}

func (triangle) support(step float64) float64 { return max(step, 1) }

func (t triangle) weight(pixel int, centre, step float64) float64 {
	return max(0, 1-math.Abs(float64(pixel)+0.5-centre)/t.support(step))
}

// area is the mean of what an output position covers, where that is at least a
// pixel; else it is the triangle.
type area struct{}

func (area) support(step float64) float64 {
	if step < 1 {
		return triangle{}.support(step)
	}
	return step/2 + 0.5
}

func (area) weight(pixel int, centre, step float64) float64 {
	if step < 1 {
		return triangle{}.weight(pixel, centre, step)
	}
	return max(0, min(float64(pixel+1), centre+step/2)-max(float64(pixel), centre-step/2))
}

// set computes the taps of `out` positions spread over the span of an axis of n
// pixels, in storage that is used again.
func (t *taps) set(f filter, s op.Span, n, out int) {
	step := s.Side / float64(out)
	t.same = out == n && s == op.Span{Centre: float64(n) / 2, Side: float64(n)}
	support := f.support(step)
	t.width = min(int(math.Ceil(2*support))+1, n)
	t.first, t.count = resized(t.first, out), resized(t.count, out)
	t.weight, t.fixed = resized(t.weight, out*t.width), resized(t.fixed, out*t.width)
	for i := range out {
		at := i
		if s.Backwards {
			at = out - 1 - i
		}
		centre := reflect(s.Centre+((float64(at)+0.5)/float64(out)-0.5)*s.Side, float64(n))
		low := max(int(centre-support+0.5), 0)
		high := min(int(centre+support+0.5), n, low+t.width)
		t.first[i], t.count[i] = low, high-low
		sum := 0.0
		for j := low; j < high; j++ {
			weight := f.weight(j, centre, step)
			t.weight[i*t.width+j-low] = float32(weight)
			sum += weight
		}
		t.normalise(i, sum)
	}
}

// normalise divides the weights of output i by their sum. The fixed ones are the
// steps of the rounded running sum, so that they add up to one exactly.
func (t *taps) normalise(i int, sum float64) {
	weights := t.weight[i*t.width:][:t.count[i]]
	fixed := t.fixed[i*t.width:][:t.count[i]]
	running, rounded := 0.0, uint64(0)
	for k, weight := range weights {
		running += float64(weight)
		weights[k] = float32(float64(weight) / sum)
		next := uint64(running/sum*fixedOne + 0.5)
		fixed[k], rounded = next-rounded, next
	}
}

// bounds is the range of inputs that any output needs.
func (t *taps) bounds() (low, high int) {
	low = t.first[0]
	for i, first := range t.first {
		low, high = min(low, first), max(high, first+t.count[i])
	}
	return low, high
}

// reflect folds a coordinate into [0, n] as if mirrors stood at both ends.
func reflect(x, n float64) float64 {
	x = math.Mod(math.Abs(x), 2*n)
	if x > n {
		return 2*n - x
	}
	return x
}

// resized is a slice of n elements in s's storage if that is large enough.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// resampler works in two passes: along the rows of the source into tmp (rows,
// channels, columns out), then down the columns of tmp.
type resampler struct {
	cols, rows taps // over the source's x and y
	low, high  int  // the source's rows that are needed
	tmp, line  []float32
	packed     []uint64 // one row of the source
}

// Resizing is called for every image of every step: buffers outlive the call.
var resamplers = sync.Pool{New: func() any { return new(resampler) }}

// plan sets the taps for an output of the given columns and rows, in the
// source's axes.
func (r *resampler) plan(f filter, x, y op.Span, width, height, columns, rows, channels int) {
	r.cols.set(f, x, width, columns)
	r.rows.set(f, y, height, rows)
	r.low, r.high = r.rows.bounds()
	r.tmp = resized(r.tmp, (r.high-r.low)*channels*columns)
	r.line = resized(r.line, columns)
}

// imageRows is the first pass over interleaved bytes, all three channels of a
// pixel in one multiplication.
func (r *resampler) imageRows(src *Image) {
	n := len(r.cols.first)
	r.packed = resized(r.packed, src.W)
	for y := r.low; y < r.high; y++ {
		pack(r.packed, src.Pix[3*y*src.W:][:3*src.W])
		out := r.tmp[(y-r.low)*3*n:][:3*n]
		red, green, blue := out[:n], out[n:2*n], out[2*n:3*n]
		for i, first := range r.cols.first {
			weights := r.cols.fixed[i*r.cols.width:][:r.cols.count[i]]
			var sum uint64
			for k, v := range r.packed[first:][:len(weights)] {
				sum += weights[k] * v
			}
			const mask, scale = 1<<lane - 1, 1.0 / (255 * fixedOne)
			red[i] = float32(int64(sum&mask)) * scale
			green[i] = float32(int64(sum>>lane&mask)) * scale
			blue[i] = float32(int64(sum>>(2*lane))) * scale
		}
	}
}

// pack puts the three bytes of each pixel into the lanes of one number.
func pack(dst []uint64, pix []uint8) {
	for i := range dst {
		p := pix[3*i : 3*i+3 : 3*i+3]
		dst[i] = uint64(p[0]) | uint64(p[1])<<lane | uint64(p[2])<<(2*lane)
	}
}

// planeRows is the first pass over one channel of float32.
func (r *resampler) planeRows(src *Plane) {
	n := len(r.cols.first)
	for y := r.low; y < r.high; y++ {
		row := src.Pix[y*src.W:][:src.W]
		out := r.tmp[(y-r.low)*n:][:n]
		if r.cols.same {
			copy(out, row)
			continue
		}
		for i, first := range r.cols.first {
			weights := r.cols.weight[i*r.cols.width:][:r.cols.count[i]]
			var sum float32
			for k, v := range row[first:][:len(weights)] {
				sum += weights[k] * v
			}
			out[i] = sum
		}
	}
}

// columns is the second pass: one channel of tmp into dst, whose rows and columns
// change places where transposed.
func (r *resampler) columns(dst []float32, channel, channels int, transposed bool) {
	n, rows := len(r.cols.first), len(r.rows.first)
	stride := channels * n
	for y, first := range r.rows.first {
		line := r.line[:n]
		if !transposed {
			line = dst[y*n:][:n]
		}
		weights := r.rows.weight[y*r.rows.width:][:r.rows.count[y]]
		blend(line, r.tmp[(first-r.low)*stride+channel*n:], stride, weights)
		if transposed {
			for x, v := range line {
				dst[x*rows+y] = v
			}
		}
	}
}

// blend sets dst to the weighted sum of rows that lie stride apart, four in one
// pass over dst.
func blend(dst, rows []float32, stride int, weights []float32) {
	n := len(dst)
	clear(dst)
	for ; len(weights) >= 4; weights = weights[4:] {
		a, b, c, d := rows[:n], rows[stride:][:n], rows[2*stride:][:n], rows[3*stride:][:n]
		wa, wb, wc, wd := weights[0], weights[1], weights[2], weights[3]
		for i := range dst {
			dst[i] += (wa*a[i] + wb*b[i]) + (wc*c[i] + wd*d[i])
		}
		if len(weights) == 4 {
			return
		}
		rows = rows[4*stride:]
	}
	for k, w := range weights {
		for i, v := range rows[k*stride:][:n] {
			dst[i] += w * v
		}
	}
}
