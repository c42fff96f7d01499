package report

import (
	"slices"
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	none := runsOf("none", 0.6, 0.7, 0.8)
	for _, c := range []struct {
		name string
		runs []Run
		want string
	}{
		{"no runs", nil, "No classifier was trained."},
		{"no AUC", runsOf("none", nan), "There is no AUC to compare: it needs evaluated images of at least two classes."},
		// The interval is that of TestResultsTableShowsMeansSpreadsAndPairedDifferences.
		{"combined is better", append(runsOf("combined", 0.9, 0.95, 1), none...), "combined: test AUC 0.950 ± 0.050 over 3 seeds, +0.250 [0.126, 0.374] above none."},
		{"combined is worse", append(runsOf("combined", 0.3, 0.45, 0.5), none...), "combined: test AUC 0.417 ± 0.104 over 3 seeds, −0.283 [−0.355, −0.212] below none."},
		{"the interval includes 0", append(runsOf("combined", 0.7, 0.6, 0.9), none...), "combined: test AUC 0.733 ± 0.153 over 3 seeds, not clearly different from none (+0.033 [−0.254, 0.320])."},
		{"one seed", append(runsOf("combined", 0.9), none...), "combined: test AUC 0.900 over 1 seed, +0.300 against none in one pair of runs."},
		{"without none", runsOf("combined", 0.9, 0.9), "combined: test AUC 0.900 ± 0.000 over 2 seeds."},
		{"without combined the best arm that is no control", slices.Concat(none, runsOf("human", 0.8, 0.85, 0.9), runsOf("inverted", 1, 1, 1)), "human: test AUC 0.850 ± 0.050 over 3 seeds, +0.150 [0.026, 0.274] above none."},
		{"none alone", none, "none: test AUC 0.700 ± 0.100 over 3 seeds."},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := verdict(summarise(c.runs), "test"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	good := slices.Concat(runsOf("none", 0.6, 0.7, 0.8), runsOf("combined", 0.9, 0.95, 1))
	for _, c := range []struct {
		name   string
		report Report
		want   []string // beginnings, all there are
	}{
		{"a good run", Report{Runs: good}, nil},
		{"few seeds", Report{Runs: runsOf("combined", 0.9, 0.9)}, []string{"combined has only 2 runs"}},
		{"the interval includes 0", Report{Runs: append(runsOf("combined", 0.7, 0.6, 0.9), good[:3]...)}, []string{"The 95 % interval of the difference between combined and none includes 0"}},
		{"a control that does as well", Report{Runs: append(runsOf("shuffled", 0.9, 0.96, 1), good...)}, []string{"The control shuffled does as well as combined (combined is −0.003 [−0.018, 0.011] above it)"}},
		{"a control that may do as well", Report{Runs: append(runsOf("mean", 0.7, 0.96, 1), good...)}, []string{"The control mean is not clearly worse than combined (combined is +0.063 "}},
		{"a control that does worse", Report{Runs: append(runsOf("mean", 0.6, 0.65, 0.7), good...)}, nil},
		{"a predictor no better than the mean map", Report{Runs: good, Predictor: &Predictor{Annotator: "predictor", Checks: []Check{{HeldOut: "out of fold", N: 8, Predictor: Scores{CC: 0.4}, MeanMap: Scores{CC: 0.5}}}}},
			[]string{"The predictor does not clearly beat the mean map (out of fold: CC 0.400 against 0.500)"}},
		{"a predictor of which the caller doubts", Report{Predictor: &Predictor{Checks: []Check{{N: 8, Doubt: "its maps count little"}}}}, []string{"Its maps count little."}},
		{"a good predictor", Report{Predictor: &Predictor{Checks: []Check{{N: 8, BeatsMean: true, Doubt: "none"}}}}, nil},
		{"rows left out", Report{Data: Data{Excluded: []Excluded{{"undecodable", 1200}, {"too large", 34}, {"blank", 0}}}}, []string{"1\u202f234 rows left out (undecodable: 1\u202f200; too large: 34)."}},
		{"unlabelled rows", Report{Data: Data{Counts: []Count{{N: 1, Split: "train"}, {N: 5, Class: "a"}}}}, []string{"1 row without a label"}},
		{"what the caller says", Report{Warnings: []string{"beware"}}, []string{"beware"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := warnings(&c.report, summarise(c.report.Runs))
			if len(got) != len(c.want) {
				t.Fatalf("warnings %q, want %q", got, c.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], c.want[i]) {
					t.Errorf("warning %q, want %q", got[i], c.want[i])
				}
			}
		})
	}
}

func TestArmsKeepTheirColoursInAnyReport(t *testing.T) {
	few := summarise(slices.Concat(runsOf("combined", 1), runsOf("mine", 1), runsOf("none", 1), runsOf("yours", 1)))
	for i, want := range []int{3, len(known), 0, len(known) + 1} {
		if few[i].colour != want {
			t.Errorf("arm %s has colour %d, want %d", few[i].name, few[i].colour, want)
		}
	}
}

func TestNumbersAreWrittenWithAMinusSignAndNoNegativeZero(t *testing.T) {
	for _, c := range []struct {
		value float64
		want  string
	}{{0.1234, "0.123"}, {-0.1234, "−0.123"}, {-0.0001, "0.000"}, {nan, dash}, {1e300, dash}} {
		if got := three(c.value); got != c.want {
			t.Errorf("%v is %q, want %q", c.value, got, c.want)
		}
	}
	if got := count(1234567); got != "1\u202f234\u202f567" {
		t.Errorf("1234567 is %q", got)
	}
}
