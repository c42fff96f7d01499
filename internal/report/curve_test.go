package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/internal/metric"
)

func writtenCurve(t *testing.T, c *Curve) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteCurve(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// inventedCurve has none, and human and combined with 4, 16 and 40 maps.
func inventedCurve() *Curve {
	unknown := metric.Interval{Mean: nan, Low: nan, High: nan}
	c := &Curve{
		Name: "leaves <new>", Split: "test", Verdict: "16 of 40 human maps are enough.", All: 40, Margin: 0.02,
		Points: []CurvePoint{{Arm: "none", Runs: 5, AUC: metric.Interval{Mean: 0.7, Low: 0.66, High: 0.74}, SD: 0.03, Difference: unknown, P: nan, CC: nan, MeanMap: nan, Weight: nan}},
		Making: Making{Command: "surrogaze curve leaves.yaml", Config: "seed: 1", Facts: []Fact{{"Go", "go1"}}},
	}
	for i, maps := range []int{4, 16, 40} {
		human, combined := 0.72+0.1*float64(i), 0.9+0.03*float64(i)
		c.Points = append(c.Points,
			CurvePoint{Maps: maps, Arm: "human", Runs: 5, AUC: metric.Interval{Mean: human, Low: human - 0.02, High: human + 0.02}, SD: 0.01, Difference: metric.Interval{Mean: human - 0.92, Low: nan, High: nan}, P: nan, CC: nan, MeanMap: nan, Weight: nan},
			CurvePoint{Maps: maps, Arm: "combined", Runs: 5, AUC: metric.Interval{Mean: combined, Low: combined - 0.01, High: combined + 0.01}, SD: 0.01, Difference: metric.Interval{Mean: combined - 0.92, Low: combined - 0.93, High: combined - 0.91}, P: 0.04, Enough: maps == 16, CC: 0.8, MeanMap: 0.1, Weight: 1})
	}
	return c
}

func TestCurveShowsChartsAndEveryPoint(t *testing.T) {
	page := writtenCurve(t, inventedCurve())
	var labels []string
	rows := 0
	for _, e := range elements(t, page) {
		switch e.Name.Local {
		case "svg":
			labels = append(labels, attribute(e, "aria-label"))
		case "tr":
			rows++
		}
	}
	want := []string{"AUC by the number of human maps and arm", "CC of the predicted and of the mean map by the number of human maps"}
	if d := cmp.Diff(want, labels); d != "" {
		t.Errorf("plots (-want +got):\n%s", d)
	}
	if rows != 1+7+1 {
		t.Errorf("found %d rows of tables, want a head, 7 points and a fact", rows)
	}
	text := part(page, "curve")
	for _, want := range []string{
		"none 0 5 0.700 ± 0.030 [0.660, 0.740] – – – – –",
		"combined 16 5 0.930 ± 0.010 [0.920, 0.940] +0.010 [0.000, 0.020] 0.040 0.800 0.100 1.000",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing says %q in:\n%s", want, text)
		}
	}
	for _, want := range []string{"16 of 40 human maps are enough.", "leaves &lt;new&gt;", "surrogaze curve leaves.yaml"} {
		if !strings.Contains(page, want) {
			t.Errorf("nothing says %q", want)
		}
	}
}

func TestACurveOfOneNumberOrOfNothingIsWritten(t *testing.T) {
	one := inventedCurve()
	one.Points = one.Points[:3]
	for name, c := range map[string]*Curve{"one number": one, "nothing": {}} {
		if page := writtenCurve(t, c); !strings.Contains(page, "</html>") || strings.Contains(page, "NaN") {
			t.Errorf("%s: the page is not whole, or has NaN", name)
		}
	}
}
