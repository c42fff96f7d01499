package cyborg

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/surrogaze/surrogaze/storage"
)

// Arm is one way of training, to be compared with others.
type Arm string

// The arms. A human map is a sample's map that a person drew and training may
// use.
const (
	None       Arm = "none"        // no maps
	Human      Arm = "human"       // the human maps
	Predicted  Arm = "predicted"   // predicted maps: out of fold where there is a human one
	Combined   Arm = "combined"    // the human map where there is one, else the predicted
	Full       Arm = "full"        // every human map there is, with those kept as reference
	HumanSmall Arm = "human_small" // only the samples with a human map
	NoneSmall  Arm = "none_small"  // the same samples, without their maps
	Shuffled   Arm = "shuffled"    // the combined maps, permuted among the samples
	Mean       Arm = "mean"        // the mean of the combined maps, for every sample
	Inverted   Arm = "inverted"    // 1 - the combined map
)

// Arms are all arms.
func Arms() []Arm {
	return []Arm{None, Human, Predicted, Combined, Full, HumanSmall, NoneSmall, Shuffled, Mean, Inverted}
}

// ParseArm finds an arm by its name.
func ParseArm(name string) (Arm, error) {
	if a := Arm(name); slices.Contains(Arms(), a) {
		return a, nil
	}
	return "", fmt.Errorf("arm %q: want one of %q", name, Arms())
}

// small reports whether the arm trains on the samples with a human map alone.
func (a Arm) small() bool { return a == HumanSmall || a == NoneSmall }

// Guided reports whether the arm uses maps at all.
func (a Arm) Guided() bool { return a != None && a != NoneSmall }

// UsesPredicted reports whether the arm's maps may be a predictor's.
func (a Arm) UsesPredicted() bool {
	switch a {
	case Predicted, Combined, Shuffled, Mean, Inverted:
		return true
	}
	return false
}

// Splits that training uses.
const (
	trainSplit      = "train"
	validationSplit = "val"
)

// guide is where a map is: a column of a row.
type guide struct {
	column column
	row    int
}

// column is what of a row is decoded.
type column uint8

const (
	noMap column = iota
	saliency
	predicted
	reference
	meanMap // of no row: the mean over the training samples
	picture // the image
)

// plan says which rows an arm trains on and which maps guide it.
type plan struct {
	arm    Arm
	rows   []storage.Row
	groups []storage.RowGroup // those with rows of the split train
	n      int                // training samples
	mapped int                // those with a map
	drawn  int                // those whose map is a predictor's
	donors []int              // of shuffled: for every row the one whose map it gets, or -1
	guided bool               // whether maps are used at all, in the loss or on the images
}

// newPlan makes the plan of an arm. The seed, a run's, deals the maps of shuffled out.
func newPlan(arm Arm, set *storage.Dataset, seed uint64) *plan {
	p := &plan{arm: arm, rows: set.Rows(), guided: arm.Guided()}
	for _, g := range set.Groups() {
		if slices.ContainsFunc(p.rows[g.Start:g.Start+g.Len], func(r storage.Row) bool { return r.Split == trainSplit }) {
			p.groups = append(p.groups, g)
		}
	}
	if arm == Shuffled {
		p.donors = p.shuffle(seed)
	}
	for row := range p.rows {
		if !p.keep(row) {
			continue
		}
		p.n++
		if p.guide(row).column != noMap {
			p.mapped++
		}
		if p.isDrawn(row) {
			p.drawn++
		}
	}
	return p
}

// weights are how much the distance from a human map and that from a drawn one count, of
// which each counts trust times as much. They are such that the guidance of an average
// image is that of a map on every image, however few have one: without this, images
// without a map teach the network where to look. But a map never counts for more images
// than a batch has.
//
//	human = n / max(maps of people + trust * drawn maps, n / batch)
//	drawn = trust * n / max(maps, n / batch)
func (p *plan) weights(trust float64, batch int) (human, drawn float64) {
	n, least := float64(p.n), float64(p.n)/float64(batch)
	people := float64(p.mapped - p.drawn)
	return n / max(people+trust*float64(p.drawn), least), trust * n / max(float64(p.mapped), least)
}

// keep reports whether the arm trains on a row.
func (p *plan) keep(row int) bool {
	r := &p.rows[row]
	if r.Split != trainSplit || r.Label == storage.NoLabel {
		return false
	}
	return !p.arm.small() || r.SaliencySource == storage.SourceHuman
}

// guide is the map of a training row.
func (p *plan) guide(row int) guide {
	r := &p.rows[row]
	own := func(there bool, c column) guide {
		if !there {
			return guide{}
		}
		return guide{c, row}
	}
	human := hasHuman(r)
	switch p.arm {
	case Human, HumanSmall:
		return own(human, saliency)
	case Predicted:
		if r.SaliencySource == storage.SourceHuman {
			return own(r.HasPredicted, predicted)
		}
		return own(r.HasMap, saliency)
	case Combined, Inverted:
		return own(r.HasMap, saliency)
	case Full:
		if human {
			return guide{saliency, row}
		}
		return own(r.HasReference, reference)
	case Shuffled:
		if p.donors[row] >= 0 {
			return guide{saliency, p.donors[row]}
		}
	case Mean:
		return guide{column: meanMap}
	}
	return guide{}
}

// isDrawn reports whether the map that guides a training row is a predictor's. The mean
// map counts as the row's own would in the arm combined, so that all of a control's
// maps together weigh what those of combined do.
func (p *plan) isDrawn(row int) bool {
	switch g := p.guide(row); g.column {
	case predicted:
		return true
	case saliency:
		return !hasHuman(&p.rows[g.row])
	case meanMap:
		return !hasHuman(&p.rows[row])
	}
	return false
}

// hasHuman reports whether a row has a human map that training may use.
func hasHuman(r *storage.Row) bool { return r.HasMap && r.SaliencySource == storage.SourceHuman }

// shuffle permutes the maps among the training rows that have one, in one cycle,
// so that no image keeps its own. Maps move within a row group, so that reading
// an image and its map touches one; groups with fewer than two maps join their
// neighbour.
func (p *plan) shuffle(seed uint64) []int {
	donors := slices.Repeat([]int{-1}, len(p.rows))
	var parts [][]int
	for _, g := range p.groups {
		if n := len(parts); n == 0 || len(parts[n-1]) > 1 {
			parts = append(parts, nil)
		}
		part := &parts[len(parts)-1]
		for row := g.Start; row < g.Start+g.Len; row++ {
			if p.keep(row) && p.rows[row].HasMap {
				*part = append(*part, row)
			}
		}
	}
	if n := len(parts); n > 1 && len(parts[n-1]) < 2 {
		parts[n-2] = append(parts[n-2], parts[n-1]...)
		parts = parts[:n-1]
	}
	rng := rand.New(rand.NewPCG(seed, streamDeal))
	for _, part := range parts {
		from := slices.Clone(part)
		for i := len(from) - 1; i > 0; i-- { // Sattolo's algorithm
			j := rng.IntN(i)
			from[i], from[j] = from[j], from[i]
		}
		for i, row := range part {
			donors[row] = from[i]
		}
	}
	return donors
}

// random is the generator that draws the view of a row in an epoch of a run.
func random(runSeed uint64, epoch, row int) *rand.Rand {
	return rand.New(rand.NewPCG(runSeed, uint64(epoch)<<40|uint64(row)))
}

// runSeed is the seed of a run, the same in every arm.
func runSeed(seed uint64, run int) uint64 {
	return rand.NewPCG(seed, streamRun+uint64(run)).Uint64()
}

// Streams of random numbers: of Config.Seed from streamRun on those of the runs' seeds;
// of a run's seed those of its epochs and rows, and one that deals maps out.
const (
	streamRun  = 1
	streamDeal = math.MaxUint64
)
