package pipeline

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/cyborg"
)

// twoArms are evaluations of none (AUC .5, .6, .7) and combined (.8, 1, .9).
func twoArms() ([]run, []evaluation) {
	var runs []run
	var found []evaluation
	for seed, auc := range [][2]Number{{.5, .8}, {.6, 1}, {.7, .9}} {
		for i, arm := range []cyborg.Arm{cyborg.None, cyborg.Combined} {
			runs = append(runs, run{arm: arm, seed: seed})
			found = append(found, evaluation{"test": {N: 10, AUC: auc[i], Accuracy: auc[i], CAM: cams{CC: Number(nan())}}})
		}
	}
	return runs, found
}

func TestDifferencesToNoneArePairedBySeed(t *testing.T) {
	runs, found := twoArms()
	row := newTable("test", runs, found).Arms[1]
	// Differences .3, .4, .2: mean .3, sd .1; t(.975, 2) = 4.302653, so the
	// interval's half is 4.302653 * .1 / sqrt(3) = .2484138. P is SciPy's ttest_rel's.
	for _, x := range []struct {
		name      string
		got, want float64
	}{
		{"mean", float64(row.AUC), .9}, {"sd", float64(row.SD), .1}, {"difference", float64(row.Difference), .3},
		{"P", float64(row.P), .0350987},
		{"low", float64(row.Low), .3 - .2484138}, {"high", float64(row.High), .3 + .2484138},
	} {
		if math.Abs(x.got-x.want) > 1e-6 {
			t.Errorf("%s is %v, want %v", x.name, x.got, x.want)
		}
	}
}

func TestTheTableShowsADashForWhatIsNotDefined(t *testing.T) {
	runs, found := twoArms()
	var b strings.Builder
	if err := newTable("test", runs, found).Write(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for _, want := range []string{"none", "3", "0.600", "0.100", "-"} {
		if !strings.Contains(lines[1], want) {
			t.Errorf("line %q lacks %q", lines[1], want)
		}
	}
	if strings.Contains(b.String(), "NaN") {
		t.Errorf("found NaN in\n%s", b.String())
	}
}

func TestArmsHaveMeanSpreadAndDifferenceOfEveryMeasure(t *testing.T) {
	runs, found := twoArms()
	p := &Pipeline{cfg: &Config{Out: t.TempDir()}}
	if err := p.writeArms(runs, found); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(p.outPath("arms.csv"))
	if err != nil {
		t.Fatal(err)
	}
	// As in TestDifferencesToNoneArePairedBySeed.
	for _, want := range []string{
		"arm,split,measure,runs,mean,sd,to_none,to_none_low,to_none_high,to_none_p\n",
		"\nnone,test,auc,3,0.6,0.1,,,,\n",
		"\ncombined,test,auc,3,0.9,0.1,0.3,0.05158",
		"\ncombined,test,cam_cc,3,,,,,,\n",
	} {
		if !strings.Contains("\n"+string(text), want) {
			t.Errorf("nothing is %q in:\n%s", want, text)
		}
	}
	for _, not := range []string{"threshold", "auc_low", ",val,"} {
		if strings.Contains(string(text), not) {
			t.Errorf("%q is there", not)
		}
	}
}
