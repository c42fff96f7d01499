package report

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Sizes of a plot in its own units, which are CSS pixels where the page has
// room. They are chosen so that text stays readable on a phone.
const (
	narrow, wide = 360, 440 // widths, three and two plots a row
	lowest       = 264      // height
	rowHeight    = 28       // least, of plots with one row an arm
	textSize     = 11.5
)

type lineKind int

const (
	solid lineKind = iota
	dashed
	dotted
)

// String is the style sheet's class of the line.
func (k lineKind) String() string { return [...]string{"solid", "dashed", "dotted"}[k] }

var dashes = map[lineKind][]vg.Length{dashed: {6, 3}, dotted: {1.5, 2.5}}

// The page has a light and a dark look, so a plot must not hold colours. It is
// drawn in stand-ins, which svg replaces by the style sheet's variables.
func standIn(role, index uint8) color.Color { return color.RGBA{R: role, G: index, B: 0xfe, A: 0xff} }

func hex(role, index int) string { return fmt.Sprintf("#%02X%02XFE", role, index) }

const (
	inkRole, mutedRole, gridRole, armRole, bandRole = 1, 2, 3, 4, 5
)

var (
	ink   = standIn(inkRole, 0)
	muted = standIn(mutedRole, 0)
	grid  = standIn(gridRole, 0)
)

func armColour(i int) color.Color  { return standIn(armRole, uint8(i)) }
func bandColour(i int) color.Color { return standIn(bandRole, uint8(i)) }

var variables = func() *strings.Replacer {
	pairs := []string{hex(inkRole, 0), "var(--ink)", hex(mutedRole, 0), "var(--muted)", hex(gridRole, 0), "var(--grid)"}
	for i := range len(known) + spare {
		pairs = append(pairs, hex(armRole, i), fmt.Sprintf("var(--c%d)", i))
		pairs = append(pairs, hex(bandRole, i), fmt.Sprintf("var(--c%d);fill-opacity:.18", i))
	}
	return strings.NewReplacer(pairs...)
}()

// axis is a plot's axis: its label with the unit, its range, and its ticks if
// they are not to be chosen for the range.
type axis struct {
	label    string
	min, max float64
	ticks    []plot.Tick
	log      bool
	rows     int // of a plot that has one row an arm
}

// drawing draws data; x and y turn values into positions.
type drawing func(c draw.Canvas, x, y func(float64) vg.Length)

// Plot makes a drawing a plot.Plotter.
func (d drawing) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	d(c, x, y)
}

// chart draws a plot with a grid as an SVG element that says in words what it
// shows.
func chart(width int, description string, x, y axis, drawings ...drawing) template.HTML {
	p := plot.New()
	p.BackgroundColor = nil
	setAxis(&p.X, x)
	setAxis(&p.Y, y)
	p.Add(gridLines(p))
	for _, d := range drawings {
		p.Add(d)
	}
	height := max(lowest, rowHeight*(y.rows+1))
	canvas := vgsvg.New(vg.Length(width), vg.Length(height))
	p.Draw(draw.Crop(draw.New(canvas), 0, -8, 2, -6))
	return inline(canvas, width, height, description)
}

func setAxis(to *plot.Axis, from axis) {
	sans := font.Font{Typeface: "Liberation", Variant: "Sans", Size: textSize}
	to.Label.Text = from.label
	to.Label.TextStyle.Font, to.Tick.Label.Font = sans, sans
	to.Label.TextStyle.Color, to.Tick.Label.Color = muted, muted
	to.Label.Padding = 4
	to.Min, to.Max = from.min, from.max
	to.LineStyle.Color, to.LineStyle.Width = grid, 1
	to.Tick.Length = 5
	to.Tick.LineStyle.Color, to.Tick.LineStyle.Width = grid, 1
	to.Padding = 0
	if from.ticks == nil {
		from.ticks = ticks(from.min, from.max)
	}
	to.Tick.Marker = plot.ConstantTicks(from.ticks)
	if from.log {
		to.Scale = plot.LogScale{}
	}
}

// ticks are at most seven round numbers in a range.
func ticks(low, high float64) []plot.Tick {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/2)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*factor) <= 6 {
			step *= factor
			break
		}
	}
	decimals := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	var found []plot.Tick
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		found = append(found, plot.Tick{Value: i * step, Label: number(i*step, decimals)})
	}
	return found
}

func gridLines(p *plot.Plot) drawing {
	style := draw.LineStyle{Color: grid, Width: 1}
	return func(c draw.Canvas, x, y func(float64) vg.Length) {
		for _, t := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
			c.StrokeLine2(style, x(t.Value), c.Min.Y, x(t.Value), c.Max.Y)
		}
		for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
			c.StrokeLine2(style, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
		}
	}
}

// inline is the canvas as an SVG element within HTML: without the prologue of a
// file of its own, in the page's fonts and colours.
func inline(canvas *vgsvg.Canvas, width, height int, description string) template.HTML {
	var file bytes.Buffer
	_, _ = canvas.WriteTo(&file) // a Buffer takes everything
	_, body, _ := strings.Cut(file.String(), "<g ")
	body = variables.Replace(strings.ReplaceAll(body, svgFont, ""))
	return template.HTML(fmt.Sprintf(`<svg viewBox="0 0 %d %d" role="img" aria-label="%s"><g %s`,
		width, height, html.EscapeString(description), body))
}

// svgFont is what the style sheet says better.
const svgFont = "font-family:Liberation Sans;font-variant:normal;font-weight:normal;font-style:normal;"

type point struct{ x, y float64 }

// curve draws a line through the finite points; it is broken where there is
// none.
func curve(points []point, c color.Color, kind lineKind) drawing {
	style := draw.LineStyle{Color: c, Width: 2, Dashes: dashes[kind]}
	return func(canvas draw.Canvas, x, y func(float64) vg.Length) {
		var part []vg.Point
		flush := func() {
			if len(part) > 1 {
				canvas.StrokeLines(style, canvas.ClipLinesXY(part)...)
			} else if len(part) == 1 {
				dot(canvas, part[0], 2.5, c)
			}
			part = nil
		}
		for _, p := range points {
			if !finite(p.y) {
				flush()
				continue
			}
			part = append(part, vg.Point{X: x(p.x), Y: y(p.y)})
		}
		flush()
	}
}

// band fills the area between two curves of the same x.
func band(low, high []point, c color.Color) drawing {
	return func(canvas draw.Canvas, x, y func(float64) vg.Length) {
		var outline []vg.Point
		for i := range low {
			if finite(low[i].y) && finite(high[i].y) {
				outline = append(outline, vg.Point{X: x(low[i].x), Y: y(low[i].y)})
			}
		}
		for i := len(high) - 1; i >= 0; i-- {
			if finite(low[i].y) && finite(high[i].y) {
				outline = append(outline, vg.Point{X: x(high[i].x), Y: y(high[i].y)})
			}
		}
		if len(outline) > 2 {
			canvas.FillPolygon(c, canvas.ClipPolygonXY(outline))
		}
	}
}

func dots(points []point, radius vg.Length, c color.Color) drawing {
	return func(canvas draw.Canvas, x, y func(float64) vg.Length) {
		for _, p := range points {
			dot(canvas, vg.Point{X: x(p.x), Y: y(p.y)}, radius, c)
		}
	}
}

func dot(canvas draw.Canvas, at vg.Point, radius vg.Length, c color.Color) {
	canvas.SetColor(c)
	var path vg.Path
	path.Move(vg.Point{X: at.X + radius, Y: at.Y})
	path.Arc(at, radius, 0, 2*math.Pi)
	path.Close()
	canvas.Fill(path)
}

func segment(from, to point, width vg.Length, c color.Color, kind lineKind) drawing {
	style := draw.LineStyle{Color: c, Width: width, Dashes: dashes[kind]}
	return func(canvas draw.Canvas, x, y func(float64) vg.Length) {
		canvas.StrokeLine2(style, x(from.x), y(from.y), x(to.x), y(to.y))
	}
}

// span is the smallest range that holds the finite values and is padded by a
// twentieth at each end.
func span(values ...float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if finite(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		return 0, 1
	}
	pad := max((high-low)/20, math.Abs(high)/1e3, 1e-3)
	return low - pad, high + pad
}
