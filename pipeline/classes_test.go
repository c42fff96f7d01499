package pipeline_test

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/testset"
	"github.com/surrogaze/surrogaze/pipeline"
)

// newThreeClasses is a project with three classes; its images of the test split that
// drop names by their label are without one.
func newThreeClasses(t *testing.T, drop string) project {
	t.Helper()
	p := project{t, t.TempDir()}
	if err := testset.Write(p.path("set"), testset.Three); err != nil {
		t.Fatal(err)
	}
	labels, err := os.ReadFile(p.path("set", "labels.csv"))
	if err != nil {
		t.Fatal(err)
	}
	labels = regexp.MustCompile("(?m)^(test-.*),"+drop+",test,").ReplaceAll(labels, []byte("$1,,test,"))
	config := strings.Replace(small, "[vertical, horizontal]", "[vertical, horizontal, diagonal]", 1)
	for path, text := range map[string][]byte{filepath.Join("set", "labels.csv"): labels, "small.yaml": []byte(config)} {
		if err := os.WriteFile(p.path(path), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// table reads a CSV file of the results, each row by the names of its columns.
func (p project) table(name ...string) []map[string]string {
	p.t.Helper()
	f, err := os.Open(p.path(name...))
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		p.t.Fatal(err)
	}
	var table []map[string]string
	for _, row := range rows[1:] {
		named := map[string]string{}
		for i, value := range row {
			named[rows[0][i]] = value
		}
		table = append(table, named)
	}
	return table
}

// value is the number in a column, NaN if the field is empty.
func value(t *testing.T, row map[string]string, column string) float64 {
	t.Helper()
	text, ok := row[column]
	if ok && text == "" {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("column %q: %v", column, err)
	}
	return v
}

func TestResultsOfThreeClassesAreMeansOverThemAndSayEach(t *testing.T) {
	p := newThreeClasses(t, "none")
	r := p.run("out", nil, "train.arms=[none, combined]", "train.seeds=1", "export=[]")
	right, counted := map[string]float64{}, map[string]float64{}
	for _, row := range p.table("out", "confusion.csv") {
		run, n := row["arm"]+row["seed"]+row["split"], value(t, row, "n")
		counted[run] += n
		if row["label"] == row["predicted"] {
			right[run] += n
		}
	}
	rows := p.table("out", "results.csv")
	if len(rows) != 4 {
		t.Fatalf("found %d rows, want those of two arms and splits", len(rows))
	}
	for _, row := range rows {
		run := row["arm"] + row["seed"] + row["split"]
		if n := value(t, row, "n"); counted[run] != n || math.Abs(right[run]/n-value(t, row, "accuracy")) > 1e-7 {
			t.Errorf("%s: %v of %v images are right in confusion.csv, %s of %v in results.csv", run, right[run], counted[run], row["accuracy"], n)
		}
		auc, recall := 0.0, 0.0
		for _, class := range []string{"vertical", "horizontal", "diagonal"} {
			auc += value(t, row, "auc_of_"+class) / 3
			recall += value(t, row, "recall_of_"+class) / 3
		}
		if math.Abs(auc-value(t, row, "auc")) > 1e-7 || math.Abs(recall-value(t, row, "balanced_accuracy")) > 1e-7 {
			t.Errorf("%s: the classes have a mean AUC of %v and recall of %v, want %s and %s", run, auc, recall, row["auc"], row["balanced_accuracy"])
		}
		for _, column := range []string{"threshold", "apcer", "bpcer", "acer"} {
			if row[column] != "" {
				t.Errorf("%s: %s is %s, want none of three classes", run, column, row[column])
			}
		}
	}
	if len(r.Table.Classes) != 3 || len(r.Table.Absent) != 0 {
		t.Errorf("the table is of the classes %q without %q", r.Table.Classes, r.Table.Absent)
	}
}

func TestAClassWithoutTestImagesIsLeftOutAndSaid(t *testing.T) {
	p := newThreeClasses(t, "2")
	var events []pipeline.Event
	r := p.run("out", &events, "train.arms=[none]", "train.seeds=1", "export=[]")
	const want = `the test split has no sample of ["diagonal"]`
	said := false
	for _, e := range events {
		said = said || e.Kind == pipeline.Warning && e.Text == want
	}
	if !said {
		t.Errorf("found no warning that %s among %+v", want, events)
	}
	var table strings.Builder
	if err := r.Table.Write(&table); err != nil || !strings.Contains(table.String(), "mean over 2 of the 3 classes") {
		t.Errorf("found the table (error %v)\n%s", err, table.String())
	}
	row := p.table("out", "results.csv")[1]
	mean := (value(t, row, "auc_of_vertical") + value(t, row, "auc_of_horizontal")) / 2
	if row["split"] != "test" || math.Abs(mean-value(t, row, "auc")) > 1e-7 || row["auc_of_diagonal"] != "" || row["recall_of_diagonal"] != "" {
		t.Errorf("found %v, want an AUC of %v and nothing of diagonal", row, mean)
	}
	page, err := os.ReadFile(p.path("out", "report.html"))
	if err != nil || !strings.Contains(string(page), "In this data set the test split has no sample of [&#34;diagonal&#34;].") {
		t.Errorf("the report does not say so (error %v)", err)
	}
}
