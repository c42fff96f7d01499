package pipeline

import (
	"fmt"
	"math"
	"path/filepath"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/metric"
)

// compareToNone tests the AUC of every run against that of the run of arm none
// with the same seed, on the same samples.
func compareToNone(runs []run, evaluations []evaluation) {
	none := map[int]evaluation{}
	for i, r := range runs {
		if r.arm == cyborg.None {
			none[r.seed] = evaluations[i]
		}
	}
	for i, r := range runs {
		for split, j := range evaluations[i] {
			j.ToNone = Number(nan())
			if other := none[r.seed][split]; other != nil && r.arm != cyborg.None {
				scores, labels := j.columns()
				theirs, _ := other.columns()
				j.ToNone = Number(metric.DeLongTest(scores, theirs, labels).P)
			}
		}
	}
}

// camsName is the file of an evaluation's artefact with the CAMs of a split.
func camsName(split string) string { return "cams-" + split + ".json" }

// storedCAM is the CAM of a sample, H rows of W grey values over the image.
type storedCAM struct {
	W   int    `json:"w"`
	H   int    `json:"h"`
	Pix []byte `json:"pix"` // 255 is 1; in JSON as base64
}

// storedCAMs are the CAMs of an evaluation in the order of its samples.
func storedCAMs(e *cyborg.Evaluation) []storedCAM {
	list := make([]storedCAM, len(e.Samples))
	for i, s := range e.Samples {
		list[i] = storedCAM{s.CAM.W, s.CAM.H, make([]byte, len(s.CAM.Pix))}
		for k, v := range s.CAM.Pix {
			list[i].Pix[k] = byte(math.Round(float64(v) * 255))
		}
	}
	return list
}

// compareCAMs finds how consistent the CAMs of each arm's runs are. dirs are the
// artefacts of the runs. The CAMs of one arm and split at a time are in memory.
func compareCAMs(runs []run, evaluations []evaluation, dirs []string) error {
	byArm := map[cyborg.Arm][]int{}
	for i, r := range runs {
		byArm[r.arm] = append(byArm[r.arm], i)
	}
	for _, members := range byArm {
		for _, split := range judgedSplits {
			if evaluations[members[0]][split] == nil {
				continue
			}
			seen := make([][][]float32, len(members))
			for k, i := range members {
				var err error
				if seen[k], err = readCAMs(filepath.Join(dirs[i], camsName(split))); err != nil {
					return fmt.Errorf("arm %s, seed %d: %w", runs[i].arm, runs[i].seed, err)
				}
			}
			for k, cc := range consistencies(seen) {
				evaluations[members[k]][split].CAM.Consistency = Number(cc)
			}
		}
	}
	return nil
}

func readCAMs(path string) ([][]float32, error) {
	var stored []storedCAM
	if err := readJSON(path, &stored); err != nil {
		return nil, err
	}
	maps := make([][]float32, len(stored))
	for i, c := range stored {
		maps[i] = make([]float32, len(c.Pix))
		for k, v := range c.Pix {
			maps[i][k] = float32(v)
		}
	}
	return maps, nil
}

// consistencies are, for each run, the mean correlation of its maps with those
// that the other runs have of the same images; NaN of one run.
func consistencies(runs [][][]float32) []float64 {
	sums := make([]float64, len(runs))
	for i, a := range runs {
		for j, b := range runs[:i] {
			cc := meanCC(a, b)
			sums[i] += cc
			sums[j] += cc
		}
	}
	for i := range sums {
		sums[i] /= float64(len(runs) - 1)
	}
	return sums
}

// meanCC is the mean correlation of two runs' maps of the same images; a constant
// map has one of 0.
func meanCC(a, b [][]float32) float64 {
	found := make([]float64, len(a))
	for i := range a {
		if cc := metric.CC(a[i], b[i]); !math.IsNaN(cc) {
			found[i] = cc
		}
	}
	return metric.Mean(found)
}
