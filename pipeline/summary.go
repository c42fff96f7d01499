package pipeline

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/surrogaze/surrogaze/internal/report"
	"github.com/surrogaze/surrogaze/storage"
)

// Result is what a run has found, as far as it has come.
type Result struct {
	Out       string // folder of the results
	Data      Summary
	Predictor *PredictorScores // nil before fit
	Trust     *Trust           // likewise
	Table     *Table           // nil before evaluate
}

// Summary says what a data set holds.
type Summary struct {
	Counts   []Count    `json:"counts"`
	Excluded []Excluded `json:"excluded,omitempty"`
	// Human, Predicted and Reference are the numbers of samples with such maps;
	// reference maps are human ones that training may not see.
	Human     int `json:"human"`
	Predicted int `json:"predicted"`
	Reference int `json:"reference"`
	// Blank human maps are left out, and not among Human.
	Blank      int `json:"blank,omitempty"`
	Unlabelled int `json:"unlabelled"`
	Samples    int `json:"samples"`
	quality    report.Histogram
}

// Count is a number of samples alike.
type Count struct {
	Split  string `json:"split"`
	Class  string `json:"class"`  // "" = unlabelled
	Source string `json:"source"` // of the map; "" = none
	N      int    `json:"n"`
}

// Excluded are rows that take no part, by reason.
type Excluded struct {
	Reason string `json:"reason"`
	N      int    `json:"n"`
}

// joinExcluded adds up what was excluded for the same reason.
func joinExcluded(lists ...[]Excluded) []Excluded {
	var joint []Excluded
	for _, e := range slices.Concat(lists...) {
		i := slices.IndexFunc(joint, func(other Excluded) bool { return other.Reason == e.Reason })
		if i < 0 {
			joint = append(joint, e)
		} else {
			joint[i].N += e.N
		}
	}
	return joint
}

// summarise counts the samples of a data set.
func summarise(set *storage.Dataset) Summary {
	s := Summary{Samples: len(set.Rows())}
	counts := map[Count]int{}
	for _, r := range set.Rows() {
		c := Count{Split: r.Split, Class: className(set.Classes(), r.Label), Source: r.SaliencySource}
		counts[c]++
		switch {
		case r.SaliencySource == storage.SourceHuman:
			s.Human++
		case r.HasMap:
			s.Predicted++
			s.quality.Add(float64(r.SaliencyQuality))
		}
		if r.HasReference {
			s.Reference++
		}
		if r.Label == storage.NoLabel {
			s.Unlabelled++
		}
	}
	for c, n := range counts {
		c.N = n
		s.Counts = append(s.Counts, c)
	}
	slices.SortFunc(s.Counts, func(a, b Count) int {
		return strings.Compare(a.Split+"\x00"+a.Class+"\x00"+a.Source, b.Split+"\x00"+b.Class+"\x00"+b.Source)
	})
	return s
}

// className is a label for people; "" is none.
func className(classes []string, label int64) string {
	switch {
	case label == storage.NoLabel:
		return ""
	case label < int64(len(classes)):
		return classes[label]
	}
	return fmt.Sprint(label)
}

func (s Summary) String() string {
	text := fmt.Sprintf("%d samples, %d with a human map, %d with a predicted one", s.Samples, s.Human, s.Predicted)
	if s.Unlabelled > 0 {
		text += fmt.Sprintf(", %d unlabelled", s.Unlabelled)
	}
	for _, e := range s.Excluded {
		text += fmt.Sprintf(", %d excluded: %s", e.N, e.Reason)
	}
	return text
}

// configName is the file of the configuration as resolved.
const configName = "config.yaml"

// writeConfig leaves the configuration as resolved, and of what lies beside it only what
// is of it.
func (p *Pipeline) writeConfig() error {
	text, err := p.cfg.YAML()
	if err == nil {
		err = p.results.begin()
	}
	if err != nil {
		return err
	}
	return p.writeOut(configName, text)
}

// writeOut writes a file into the folder of the results.
func (p *Pipeline) writeOut(name string, text []byte) error {
	if err := os.MkdirAll(p.Out(), 0o755); err != nil {
		return err
	}
	return storage.AtomicWriteFile(p.outPath(name), text)
}

// summaryFile is summary.json: what a run found, and on what machine.
type summaryFile struct {
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Go        string            `json:"go"`
	Hardware  string            `json:"hardware"`
	Device    string            `json:"device"` // that this process computed on
	Precision string            `json:"precision"`
	Created   time.Time         `json:"created"`
	Seconds   map[Stage]float64 `json:"seconds"` // of making each stage's artefacts, added up
	Table     *Table            `json:"table"`
	Predictor *PredictorScores  `json:"predictor"`
	Trust     Trust             `json:"trust"`
	Data      Summary           `json:"data"`
	Diverged  []string          `json:"diverged,omitempty"` // trainings that are not in the table, and why
}

// nan is the value of a measure that is not defined.
func nan() float64 { return math.NaN() }
