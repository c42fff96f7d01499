package report

import (
	"bytes"
	"cmp"
	_ "embed" // the page's template and style
	"fmt"
	"html/template"
	"io"
	"slices"
)

//go:embed page.html
var pageHTML string

//go:embed style.css
var style string

var tmpl = template.Must(template.New("page").Funcs(template.FuncMap{
	"three": three, "signed": signed, "count": count, "counted": counted, "meanSD": meanSD, "interval": interval, "probability": probability, "took": took, "sentence": sentence,
	"style": func() template.CSS { return template.CSS(style) },
}).Parse(pageHTML))

// page is what the template shows.
type page struct {
	*Report
	Verdict  string
	Warnings []string
	Several  bool // more than two classes
	Hidden   bool // too many classes to show each
	Arms     []arm
	Errors   []column // heads of arm.Errors
	ClassAUC []column // heads of arm.ClassAUC; nil with two classes
	Look     []column // heads of arm.Look
	Results  []figure
	ROC      []figure
	Scores   []figure
	Curves   []figure
	Fit      []figure
	Quality  []figure
	Tallies  []tally
	Sources  []string // heads of the columns of numbers
	Examples []example
	Glossary []Fact // arms

	Confusions []confusion
	Measures   []Fact
}

// arm is a row of the results table and an entry of the legends.
type arm struct {
	Name           string
	Colour         int
	Line           string // class of the legend's stroke
	Subject        bool
	Runs           []Run
	AUC, Interval  string
	Accuracy, CAM  string
	Difference     string
	DifferenceWith string
	P              string
	Errors, Look   []string // cells
	ClassAUC       []string
}

// figure is a plot and what it shows.
type figure struct {
	Title, Caption string
	SVG            template.HTML
}

// tally is a row of the table of samples, its numbers in the order of the
// page's Sources.
type tally struct {
	Split, Class string
	N            []int
	Total        int
}

// Write writes the report as an HTML file. A picture that is neither PNG nor JPEG
// is an error.
func Write(w io.Writer, r *Report) error {
	p, err := newPage(r)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	var b bytes.Buffer
	if err := tmpl.Execute(&b, p); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func newPage(r *Report) (*page, error) {
	arms := summarise(r.Runs)
	p := &page{Report: r, Verdict: verdict(arms, r.Split), Warnings: warnings(r, arms), Measures: measures, Several: len(r.Classes) > 2, Look: lookColumns}
	p.Errors = errorColumns(p.Several)
	main := subject(arms)
	for i := range arms {
		p.Arms = append(p.Arms, newArm(&arms[i], &arms[i] == main, p.Errors))
	}
	p.addClasses()
	for _, a := range arms {
		if a.meaning != "" {
			p.Glossary = append(p.Glossary, Fact{a.name, a.meaning})
		}
	}
	p.Tallies, p.Sources = tallies(r)
	p.draw(arms)
	shown := columnsOf(r.Examples, arms)
	for _, e := range r.Examples {
		x, err := newExample(e, shown)
		if err != nil {
			return nil, err
		}
		p.Examples = append(p.Examples, x)
	}
	return p, nil
}

func newArm(s *summary, main bool, errors []column) arm {
	a := arm{
		Name: s.name, Colour: s.colour, Line: s.line.String(), Subject: main, Runs: s.runs,
		AUC: meanSD(s.auc), Interval: s.interval(), Accuracy: meanSD(s.accuracy), CAM: meanSD(s.cam),
		Difference: dash, P: dash, Errors: cells(s.runs, errors), Look: cells(s.runs, lookColumns),
	}
	if s.pairs > 0 {
		a.Difference = signed(s.difference.Mean)
	}
	if s.pairs > 1 {
		a.DifferenceWith, a.P = bounds(s.difference.Interval), probability(s.difference.P)
	}
	return a
}

// draw makes the plots that there is data for.
func (p *page) draw(arms []summary) {
	if subject(arms) != nil {
		p.Results = append(p.Results, figure{"Every run", "Each dot is a run, from the first seed at the top of a row to the last; the bar is the mean.", runsChart(arms, p.Split)})
	}
	if slices.ContainsFunc(arms, func(s summary) bool { return s.pairs > 0 }) {
		p.Results = append(p.Results, figure{"Difference to none", "Runs are paired by seed: the same images, initial weights and order. An interval that leaves out 0 is more than chance.", differenceChart(arms)})
	}
	if hasROC(arms) {
		caption := "Mean over the runs of each arm; the dotted diagonal is chance."
		if p.Several {
			caption = "Mean over the classes, each against the rest, and over the runs of each arm; the dotted diagonal is chance."
		}
		p.ROC = []figure{
			{"ROC", caption, rocChart(arms, false)},
			{"ROC, log scale", "The same with the false positive rate in decades, where an attack detector is set to work.", rocChart(arms, true)},
		}
	}
	p.Scores = scoreFigures(arms, p.Classes)
	p.Curves = histories(arms)
	if p.Predictor != nil {
		p.drawPredictor()
	}
	if p.Data.Quality != (Histogram{}) {
		p.Quality = []figure{{"Estimated quality of predicted maps", "Correlation (CC) with what a human would have drawn, as estimated for each predicted map.", histogramChart(p.Data.Quality)}}
	}
}

func histories(arms []summary) []figure {
	if !slices.ContainsFunc(arms, func(s summary) bool {
		return slices.ContainsFunc(s.runs, func(r Run) bool { return len(r.History) > 0 })
	}) {
		return nil
	}
	figures := []figure{
		{"Training loss", "What is minimised: with guidance it has a second term, so compare heights within an arm only.", historyChart(arms, "training loss", func(e Epoch) float64 { return e.TrainLoss })},
		{"Validation loss", "Cross-entropy alone, comparable across arms.", historyChart(arms, "validation loss", func(e Epoch) float64 { return e.ValLoss })},
		{"Validation AUC", "How well the epoch ranks the classes. On few images it jumps; it chooses the epoch only where train.select is auc.", historyChart(arms, "validation AUC", func(e Epoch) float64 { return e.ValAUC })},
	}
	if hasAlpha(arms) {
		figures = append(figures, figure{"Alpha", "Mean weight of the cross-entropy of the images that a map guides; guidance has the rest to 1.",
			historyChart(arms, "alpha", func(e Epoch) float64 { return e.Alpha })})
	}
	return figures
}

// hasAlpha reports whether alpha has a course in any run.
func hasAlpha(arms []summary) bool {
	return slices.ContainsFunc(arms, func(s summary) bool {
		return slices.ContainsFunc(s.runs, func(r Run) bool {
			return slices.ContainsFunc(r.History, func(e Epoch) bool { return finite(e.Alpha) })
		})
	})
}

func (p *page) drawPredictor() {
	if len(p.Predictor.History) > 0 {
		loss, agreement := fitCharts(p.Predictor)
		kept := "The dashed line marks the checkpoint kept."
		if p.Predictor.Validation == 0 {
			p.Fit = append(p.Fit, figure{"Loss of the fit", kept, loss})
		} else {
			p.Fit = append(p.Fit,
				figure{"Loss of the fit", "Grey: training; orange: validation. " + kept, loss},
				figure{"Agreement during the fit", "CC with the validation maps.", agreement})
		}
	}
	if estimated, found := qualityPairs(p.Predictor.Checks); len(found) > 0 {
		caption := fmt.Sprintf("Each dot is a held-out image; rank correlation %s over %s. On the dotted line the estimate is exact.",
			number(spearman(estimated, found), 2), counted(len(found), "image"))
		p.Fit = append(p.Fit, figure{"Estimated against true quality", caption, qualityChart(estimated, found)})
	}
}

// sources are the known sources of maps in the order of their columns.
var sources = []Fact{{"human", "human"}, {"predictor", "predicted"}, {"reference", "predicted, human kept as reference"}, {"", "no map"}}

// tallies adds up the counts by split and class; heads are the columns, one a
// source that occurs.
func tallies(r *Report) (found []tally, heads []string) {
	var order, columns []string
	for _, s := range sources {
		order = append(order, s.Name)
	}
	for _, c := range r.Data.Counts {
		if !slices.Contains(columns, c.Source) {
			columns = append(columns, c.Source)
		}
	}
	slices.SortStableFunc(columns, func(a, b string) int { return cmp.Compare(rank(order, a), rank(order, b)) })
	for _, name := range columns {
		head := name
		if i := slices.Index(order, name); i >= 0 {
			head = sources[i].Value
		}
		heads = append(heads, head)
	}
	for _, c := range r.Data.Counts {
		i := slices.IndexFunc(found, func(t tally) bool { return t.Split == c.Split && t.Class == c.Class })
		if i < 0 {
			i = len(found)
			found = append(found, tally{Split: c.Split, Class: c.Class, N: make([]int, len(columns))})
		}
		found[i].N[slices.Index(columns, c.Source)] += c.N
		found[i].Total += c.N
	}
	classes := append(slices.Clone(r.Classes), "")
	slices.SortStableFunc(found, func(a, b tally) int {
		return cmp.Or(
			cmp.Compare(rank(splits, a.Split), rank(splits, b.Split)),
			cmp.Compare(a.Split, b.Split),
			cmp.Compare(rank(classes, a.Class), rank(classes, b.Class)),
			cmp.Compare(a.Class, b.Class),
		)
	})
	return found, heads
}

var splits = []string{"train", "val", "test"}

// rank is the place of a name in an order; names that are not in it come last.
func rank(order []string, name string) int {
	if i := slices.Index(order, name); i >= 0 {
		return i
	}
	return len(order)
}
