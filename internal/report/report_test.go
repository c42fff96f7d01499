package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/surrogaze/surrogaze/internal/metric"
)

func written(t testing.TB, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// elements parses a page and fails if its tags do not match.
func elements(t testing.TB, page string) []xml.StartElement {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var found []xml.StartElement
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("parse the page: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok {
			found = append(found, e.Copy())
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

var sectionIDs = []string{"results", "curves", "predictor", "data", "examples", "making"}

func sectionsOf(all []xml.StartElement) []string {
	var ids []string
	for _, e := range all {
		if e.Name.Local == "section" {
			ids = append(ids, attribute(e, "id"))
		}
	}
	return ids
}

// part is a section of the page without its tags.
func part(page, id string) string {
	_, rest, _ := strings.Cut(page, `<section id="`+id+`">`)
	body, _, _ := strings.Cut(rest, "</section>")
	return html.UnescapeString(strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(body, " ")), " "))
}

func TestPageHasEverySectionAndLinksToIt(t *testing.T) {
	all := elements(t, written(t, filled(t)))
	if diff := cmp.Diff(sectionIDs, sectionsOf(all)); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
	var links []string
	for _, e := range all {
		if e.Name.Local == "a" {
			links = append(links, strings.TrimPrefix(attribute(e, "href"), "#"))
		}
	}
	if diff := cmp.Diff(sectionIDs, links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}

func TestPageHasAPlotForEveryMeasure(t *testing.T) {
	var labels []string
	for _, e := range elements(t, written(t, filled(t))) {
		if e.Name.Local == "svg" {
			labels = append(labels, attribute(e, "aria-label"))
		}
	}
	want := []string{
		"AUC of every run by arm",
		"difference of the AUC to the arm none with its 95 % interval",
		"ROC curves, mean over runs by arm",
		"ROC curves, mean over runs by arm, false positive rate on a logarithmic axis",
		"scores of none by class",
		"scores of combined by class",
		"training loss by epoch, mean over runs by arm",
		"validation loss by epoch, mean over runs by arm",
		"validation AUC by epoch, mean over runs by arm",
		"alpha by epoch, mean over runs by arm",
		"loss of the predictor by step",
		"CC of the predictor with the validation maps by step",
		"estimated quality against true CC of 80 images",
		"estimated quality of the predicted maps",
	}
	if diff := cmp.Diff(want, labels); diff != "" {
		t.Errorf("plots (-want +got):\n%s", diff)
	}
}

func TestAlphaIsDrawnOnlyWhereItHasACourse(t *testing.T) {
	r := filled(t)
	for _, run := range r.Runs {
		for e := range run.History {
			run.History[e].Alpha = nan
		}
	}
	if page := written(t, r); strings.Contains(page, "alpha by epoch") {
		t.Error("the page draws an alpha that no run has")
	}
}

func TestAFitThatNothingJudgedShowsItsTrainingAlone(t *testing.T) {
	r := filled(t)
	r.Predictor.Validation = 0
	for i := range r.Predictor.History {
		r.Predictor.History[i].Loss, r.Predictor.History[i].CC = nan, nan
	}
	page := written(t, r)
	if !strings.Contains(page, "loss of the predictor by step") {
		t.Error("the page lacks the loss of the fit")
	}
	for _, text := range []string{"validation maps by step", "orange: validation", "chose the checkpoint"} {
		if strings.Contains(page, text) {
			t.Errorf("the page says %q of a fit without validation", text)
		}
	}
}

// runsOf are runs of an arm with these AUCs and nothing else.
func runsOf(arm string, aucs ...float64) []Run {
	var runs []Run
	for i, v := range aucs {
		runs = append(runs, Run{Arm: arm, Index: i, Errors: allErrors(nan), CAM: allLook(nan)})
		runs[i].AUC.Mean = v
	}
	return runs
}

func allErrors(v float64) Errors {
	return Errors{metric.Interval{Mean: v, Low: v, High: v}, v, v, v, metric.PAD{APCER: v, BPCER: v, ACER: v}, v, v, v}
}

func allLook(v float64) Look { return Look{v, v, v, v, v, v, v} }

func TestResultsTableShowsMeansSpreadsAndPairedDifferences(t *testing.T) {
	none, combined := runsOf("none", 0.6, 0.7, 0.8), runsOf("combined", 0.9, 0.95, 1)
	for i := range combined {
		combined[i].Accuracy = 0.8 + 0.01*float64(i)
		combined[i].EER, combined[i].ECE = 0.125, 0.05
		combined[i].PAD = metric.PAD{APCER: 0.1 * float64(i), BPCER: 0.3, ACER: 0.15 + 0.05*float64(i)}
		combined[i].ToNone = []float64{0.00099, 0.001, 0.5}[i]
		combined[i].CAM.CC = []float64{0.5, 0.6, 0.7}[i]
		combined[i].CAM.Consistency = 0.875
		combined[i].ROC = []metric.ROCPoint{{FPR: 0, TPR: 0}, {FPR: 0.01, TPR: 0.375}, {FPR: 0.5, TPR: 0.9}, {FPR: 1, TPR: 1}}
	}
	page := part(written(t, &Report{Split: "test", Runs: append(none, combined...)}), "results")
	for _, want := range []string{
		"none 3 0.700 ± 0.100 – –",
		// Differences 0.3, 0.25, 0.2: mean 0.25, sd 0.05; t(0.975, 2) = 4.3027,
		// so 4.3027 * 0.05 / sqrt(3) = 0.1242 to either side. P is SciPy's ttest_rel's.
		"combined 3 0.950 ± 0.050 +0.250 [0.126, 0.374] 0.013 0.810 ± 0.010 0.600 ± 0.100",
		"combined 0.125 ± 0.000 0.375 ± 0.000 0.100 ± 0.100 0.300 ± 0.000 0.200 ± 0.050 0.050 ± 0.000",
		"combined – – – – – 0.875 ± 0.000",
		"combined 0 0.900 < 0.001 0.800 0.125 0.150 0.500 –",
		"combined 1 0.950 0.001 0.810 0.125 0.200 0.600 –",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("results lack %q:\n%s", want, page)
		}
	}
}

func TestOneRunHasTheIntervalOfItsAUC(t *testing.T) {
	run := runsOf("human", 0.9)
	run[0].AUC = metric.Interval{Mean: 0.9, Low: 0.85, High: 0.95}
	page := written(t, &Report{Split: "test", Runs: run})
	if want := "human 1 0.900 [0.850, 0.950]"; !strings.Contains(part(page, "results"), want) {
		t.Errorf("results lack %q:\n%s", want, part(page, "results"))
	}
	if want := "human: test AUC 0.900 [0.850, 0.950] over 1 seed."; !strings.Contains(page, want) {
		t.Errorf("the page lacks %q", want)
	}
}

func TestEveryNumberOfAFilledReportIsShown(t *testing.T) {
	r := filled(t)
	page := written(t, r)
	text := map[string]string{}
	for _, id := range sectionIDs {
		text[id] = part(page, id)
	}
	for _, run := range r.Runs {
		want := fmt.Sprintf("%s %d %.3f [%.3f, %.3f] %s %.3f %.3f %.3f %.3f %d", run.Arm, run.Index, run.AUC.Mean, run.AUC.Low, run.AUC.High,
			probability(run.ToNone), run.Accuracy, run.EER, run.PAD.ACER, run.CAM.CC, run.Best)
		if !strings.Contains(text["results"], want) {
			t.Errorf("results lack the run %q", want)
		}
	}
	for _, want := range []string{"predictor 0.871 0.792 0.214 0.018 0.981", "mean map 0.152 0.231 1.812 0.094 0.612", "centre 0.121 0.208 1.934 0.131 0.584"} {
		if strings.Count(text["predictor"], want) != 2 {
			t.Errorf("predictor does not show %q for both checks", want)
		}
	}
	for _, want := range []string{"train vertical 22 171 0 193", "train unlabelled 0 12 0 12", "test horizontal 0 184 19 203", "undecodable image 2"} {
		if !strings.Contains(text["data"], want) {
			t.Errorf("data lack %q:\n%s", want, text["data"])
		}
	}
	for _, e := range r.Examples {
		if !strings.Contains(text["examples"], e.ID+" "+e.Label) || !strings.Contains(text["examples"], fmt.Sprintf("estimated %.2f", e.Quality)) {
			t.Errorf("examples lack %s", e.ID)
		}
		for _, c := range e.CAMs {
			if !strings.Contains(text["examples"], fmt.Sprintf("%s %.2f CC %.2f", c.Class, c.Score, c.CC)) {
				t.Errorf("example %s lacks the CAM of %s", e.ID, c.Arm)
			}
		}
	}
	for _, want := range []string{"surrogaze run quickstart", "annotate 1.9 s reused 0c77b1f2e8a9", "train 1 min 52 s", "human_maps: 40", "processor 2 cores"} {
		if !strings.Contains(text["making"], want) {
			t.Errorf("making lacks %q", want)
		}
	}
}

// threeClasses are two runs of an arm that never finds the third class, of which only
// the second run has images.
func threeClasses(arm string) []Run {
	runs := runsOf(arm, 0.75, 0.85)
	for i, confusion := range [][][]int{{{3, 1, 0}, {0, 4, 0}, {0, 0, 0}}, {{4, 0, 0}, {2, 2, 0}, {1, 1, 0}}} {
		runs[i].Confusion, runs[i].ClassAUC = confusion, []float64{0.75, 0.875, []float64{nan, 0.625}[i]}
		runs[i].BalancedAccuracy, runs[i].F1, runs[i].EER = 0.5, 0.375, 0.25
		runs[i].ROC = []metric.ROCPoint{{FPR: 0, TPR: 0}, {FPR: 1, TPR: 1}}
		for k := range ScoreBins {
			runs[i].Scores.Add(float64(k)/ScoreBins, k > 12)
		}
	}
	return runs
}

func TestSeveralClassesAreShownEachAndWithoutErrorsOfAttackDetection(t *testing.T) {
	r := &Report{Split: "test", Classes: []string{"rust", "healthy", "<miner>"}, Runs: append(threeClasses("none"), threeClasses("human")...)}
	page := written(t, r)
	results := part(page, "results")
	for _, want := range []string{
		"The AUC is the mean over the classes that occur, each against the rest",
		"arm EER TPR at FPR 1 % balanced accuracy F1 ECE none 0.250 ± 0.000 0.000 ± 0.000 0.500 ± 0.000 0.375 ± 0.000 –",
		"AUC of each class against the rest arm rust healthy <miner> none 0.750 ± 0.000 0.875 ± 0.000 0.625",
		"human rust healthy <miner> rust 0.88 0.12 0.00 healthy 0.25 0.75 0.00 <miner> 0.50 0.50 0.00",
	} {
		if !strings.Contains(results, want) {
			t.Errorf("results lack %q:\n%s", want, results)
		}
	}
	if regexp.MustCompile("APCER|BPCER|ACER").MatchString(results) {
		t.Errorf("results of three classes show errors of attack detection:\n%s", results)
	}
	if want := `<td style="--shade:45%" class="right">0.75</td>`; !strings.Contains(page, want) {
		t.Errorf("the page lacks %s", want)
	}
	if curves := part(page, "curves"); !strings.Contains(curves, "Mean over the classes, each against the rest, and over the runs") || !strings.Contains(curves, "Probability of a class, over all classes") {
		t.Errorf("the curves do not say what they are of:\n%s", curves)
	}
	checkLoadsNothing(t, page)
}

func TestManyClassesAreNotShownEach(t *testing.T) {
	r := &Report{Runs: threeClasses("none")}
	for i := range mostShown + 1 {
		r.Classes = append(r.Classes, fmt.Sprintf("class-%d", i))
	}
	results := part(written(t, r), "results")
	if !strings.Contains(results, "too many classes to show each") || strings.Contains(results, "class-0") {
		t.Errorf("found\n%s", results)
	}
}

func TestPageLoadsNothing(t *testing.T) {
	page := written(t, filled(t))
	checkLoadsNothing(t, page)
	if n := strings.Count(page, "data:image/png;base64,"); n < 3*7 {
		t.Errorf("%d pictures, want at least seven for each of three examples", n)
	}
}

func checkLoadsNothing(t *testing.T, page string) {
	t.Helper()
	if regexp.MustCompile(`url\(|@import`).MatchString(style) {
		t.Error("the style sheet refers to something")
	}
	for _, e := range elements(t, page) {
		name := strings.ToLower(e.Name.Local)
		if slices.Contains([]string{"script", "link", "iframe", "object", "embed", "base", "form", "use"}, name) {
			t.Errorf("the page has a <%s>", name)
		}
		for _, a := range e.Attr {
			key := strings.ToLower(a.Name.Local)
			if strings.HasPrefix(key, "on") {
				t.Errorf("<%s> has the attribute %s", name, key)
			}
			if slices.Contains([]string{"src", "href", "srcset", "action", "data", "poster"}, key) &&
				!strings.HasPrefix(a.Value, "#") && !strings.HasPrefix(a.Value, "data:image/") {
				t.Errorf("<%s> refers to %q", name, a.Value)
			}
		}
	}
}

// overwrite replaces every string that v holds.
func overwrite(v reflect.Value, with string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(with)
	case reflect.Pointer:
		overwrite(v.Elem(), with)
	case reflect.Struct:
		for i := range v.NumField() {
			overwrite(v.Field(i), with)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			overwrite(v.Index(i), with)
		}
	}
}

func TestStringsAreTextWhateverTheyHold(t *testing.T) {
	for _, hostile := range []string{
		`</style><script>alert(1)</script>`,
		`"><img src=http://example.org/x onerror=alert(1)>`,
		`'><svg/onload=alert(1)>`,
		`</title></text></svg><script>alert(1)</script>`,
		`javascript:alert(1)`,
		`{{.Name}}<!--`,
		"\u65e5\u672c\u8a9e \u202e\xff\x00\n",
		`]]>&lt;`,
		`url(http://example.org)`,
	} {
		r := filled(t)
		r.Classes = slices.Clone(r.Classes)
		r.Warnings = []string{""}
		overwrite(reflect.ValueOf(r), hostile)
		r.Runs = append(r.Runs, filled(t).Runs...)
		page := strings.ReplaceAll(strings.ToValidUTF8(written(t, r), "?"), "\x00", "?") // XML has no NUL
		checkLoadsNothing(t, page)
		if got := sectionsOf(elements(t, page)); !slices.Equal(got, sectionIDs) {
			t.Errorf("%q changes the sections to %q", hostile, got)
		}
		if !strings.Contains(html.UnescapeString(page), strings.Split(strings.ToValidUTF8(hostile, "?"), "\x00")[0]) {
			t.Errorf("%q is not shown as it is", hostile)
		}
	}
}

func TestEqualReportsGiveEqualBytes(t *testing.T) {
	if a, b := written(t, filled(t)), written(t, filled(t)); a != b {
		t.Error("two pages of equal reports differ")
	}
}

func TestMissingPartsBecomeASentence(t *testing.T) {
	page := written(t, &Report{})
	if got := sectionsOf(elements(t, page)); !slices.Equal(got, sectionIDs) {
		t.Errorf("sections %q, want %q", got, sectionIDs)
	}
	for id, want := range map[string]string{
		"results":   "There are no training runs.",
		"curves":    "There are no ROC curves",
		"predictor": "No predictor was fitted.",
		"data":      "No samples were counted. No rows were left out.",
		"examples":  "No examples were chosen.",
	} {
		if got := part(page, id); !strings.Contains(got, want) {
			t.Errorf("section %s is %q, want %q in it", id, got, want)
		}
	}
	if strings.Contains(page, "<svg") || strings.Contains(page, "<aside") {
		t.Error("an empty report has plots or warnings")
	}
	page = written(t, &Report{Predictor: &Predictor{Train: 40}})
	if want := "No human maps were held out"; !strings.Contains(part(page, "predictor"), want) {
		t.Errorf("predictor lacks %q", want)
	}
}

func TestUnknownNumbersAreDashes(t *testing.T) {
	r := &Report{Runs: runsOf("none", nan, nan), Predictor: &Predictor{Annotator: "predictor", Checks: []Check{{HeldOut: "out of fold", N: 3,
		Predictor: Scores{nan, nan, nan, nan, nan}, MeanMap: Scores{nan, nan, nan, nan, nan}, Centre: Scores{math.Inf(1), math.Inf(-1), nan, nan, nan}}}}}
	page := written(t, r)
	for id, want := range map[string]string{"results": "none 2 – – – – –", "predictor": "centre – – – – –"} {
		if got := part(page, id); !strings.Contains(got, want) {
			t.Errorf("section %s lacks %q:\n%s", id, want, got)
		}
	}
	if regexp.MustCompile(`\bNaN\b|\bInf\b`).MatchString(page) {
		t.Error("the page has a NaN or Inf")
	}
}

func TestUnreadablePictureIsAnErrorThatNamesTheExample(t *testing.T) {
	err := Write(io.Discard, &Report{Examples: []Example{{ID: "leaf-7", Image: []byte("GIF89a")}}})
	if err == nil || !strings.Contains(err.Error(), `example "leaf-7", image`) {
		t.Errorf("error %v, want one about leaf-7", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestErrorOfTheWriterIsReturned(t *testing.T) {
	full := errors.New("no space left")
	if err := Write(brokenWriter{full}, &Report{}); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
}

func TestPlotsTakeTheirColoursAndFontsFromThePage(t *testing.T) {
	page := written(t, filled(t))
	plots := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	for _, p := range plots {
		if m := regexp.MustCompile(`#[0-9A-Fa-f]{6}|font-family|NaN|Inf`).FindString(p); m != "" {
			t.Errorf("a plot holds %q", m)
		}
	}
	for _, s := range summarise(filled(t).Runs) {
		if !strings.Contains(plots[0], fmt.Sprintf("var(--c%d)", s.colour)) {
			t.Errorf("the runs of %s lack their colour", s.name)
		}
	}
	for i := range len(known) + spare {
		if n := strings.Count(style, fmt.Sprintf("--c%d:", i)); n != 2 {
			t.Errorf("colour %d is defined %d times, want for light and dark", i, n)
		}
	}
}

func TestPlotsCopeWithAnyNumbers(t *testing.T) {
	values := rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 1), rapid.SampledFrom([]float64{nan, math.Inf(1), 0, 1, -1e300, 1e29}))
	rapid.Check(t, func(t *rapid.T) {
		value := func() float64 { return values.Draw(t, "value") }
		r := &Report{Predictor: &Predictor{History: []Point{{1, value(), value(), value()}, {2, value(), value(), value()}},
			Checks: []Check{{N: 2, Images: []ImageScore{{value(), value()}, {value(), value()}}}}}}
		for i, arm := range []string{"none", "combined", "none", "combined", "another"} {
			r.Runs = append(r.Runs, Run{Arm: arm, Index: i / 2, Errors: allErrors(value()), CAM: allLook(value()),
				ROC: []metric.ROCPoint{{FPR: 0, TPR: value()}, {FPR: value(), TPR: value()}}, History: []Epoch{{value(), value(), value(), value()}, {value(), value(), value(), value()}}})
		}
		r.Data.Quality.Add(value())
		var b bytes.Buffer
		if err := Write(&b, r); err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`(?s)<path d="[^"]*(NaN|Inf)`).FindString(b.String()); m != "" {
			t.Fatalf("a plot has a point nowhere: %s", m)
		}
	})
}

func TestHistogramCountsValuesWithinItsRange(t *testing.T) {
	var h Histogram
	for _, v := range []float64{-1, -2, -0.951, 0, 0.049, 0.999, 1, 3, nan} {
		h.Add(v)
	}
	want := Histogram{0: 3, 20: 2, 39: 3}
	if h != want {
		t.Errorf("bins %v, want %v", h, want)
	}
}
