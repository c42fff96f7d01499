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

func TestARunWithoutAPartnerIsLeftOutOfTheDifference(t *testing.T) {
	runs, found := twoArms()
	// Without none's second run .8 - .5 and .9 - .7 are left, without combined's first
	// only the latter.
	runs, found = append(runs[:2:2], runs[3:]...), append(found[:2:2], found[3:]...)
	if row := newTable("test", runs, found).Arms[1]; row.Runs != 3 || math.Abs(float64(row.Difference)-.25) > 1e-12 {
		t.Errorf("found a difference of %v over %d runs, want .25 and 3", row.Difference, row.Runs)
	}
	runs, found = append(runs[:1:1], runs[2:]...), append(found[:1:1], found[2:]...)
	if row := newTable("test", runs, found).Arms[1]; row.Runs != 2 || math.Abs(float64(row.Difference)-.2) > 1e-12 {
		t.Errorf("found a difference of %v over %d runs, want .2 and 2", row.Difference, row.Runs)
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

func TestTheTableSaysOverWhichOfSeveralClassesTheAUCIs(t *testing.T) {
	for want, table := range map[string]Table{
		"\nAUC: mean over the 3 classes, each against the rest\n":                                               {Classes: []string{"a", "b", "c"}},
		"\nAUC: mean over 2 of the 3 classes, each against the rest; the test split has no sample of [\"b\"]\n": {Classes: []string{"a", "b", "c"}, Absent: []string{"b"}},
		"CAM CC\n": {Classes: []string{"a", "b"}},
	} {
		table.Split = "test"
		var b strings.Builder
		if err := table.Write(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(b.String(), want) {
			t.Errorf("found\n%s\nwant %q at its end", b.String(), want)
		}
	}
}

func TestArmsHaveMeanSpreadAndDifferenceOfEveryMeasure(t *testing.T) {
	runs, found := twoArms()
	p := &Pipeline{cfg: &Config{Out: t.TempDir()}}
	if err := p.writeArms(runs, found, nil); err != nil {
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
