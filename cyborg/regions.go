package cyborg

import (
	"context"
	"fmt"
	"slices"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// Regions says how large what people marked is beside the cells of the class activation
// map, which cannot show more than in which cell to look.
type Regions struct {
	Maps  int     // human maps that were looked at
	Cells float64 // median of their regions' areas, in cells; 0 without maps
	Grid  int     // cells along a side of the class activation map
}

// mostRegions is how many maps tell the median.
const mostRegions = 64

// Regions measures human maps of the split train, at most 64, taken evenly from all of
// them. The region of a map is where it has at least half, scaled to [0, 1] in the
// network's square. Blank maps have none and are left out.
func (d *Data) Regions(ctx context.Context, cfg Config) (Regions, error) {
	net, err := cfg.network()
	if err != nil {
		return Regions{}, err
	}
	found := Regions{Grid: net.Grid(cfg.Size)}
	var sources []source
	for s, err := range d.read(ctx, evenly(d.humanMaps(), mostRegions)) {
		if err != nil {
			return Regions{}, fmt.Errorf("regions of the human maps: %w", err)
		}
		sources = append(sources, s)
	}
	maps, err := d.squares(ctx, sources, cfg.Workers)
	if err != nil {
		return Regions{}, fmt.Errorf("regions of the human maps: %w", err)
	}
	var shares []float64 // of the square
	for _, m := range maps {
		if raster.MinMax(m) {
			shares = append(shares, markedShare(m))
		}
	}
	if found.Maps = len(shares); found.Maps > 0 {
		found.Cells = median(shares) * float64(found.Grid*found.Grid)
	}
	return found, nil
}

// humanMaps are the human maps of the split train.
func (d *Data) humanMaps() []item {
	var items []item
	for row, r := range d.set.Rows() {
		if r.Split == trainSplit && hasHuman(&r) {
			items = append(items, item{-1, guide{saliency, row}})
		}
	}
	return items
}

// evenly takes at most n of a list.
func evenly(list []item, n int) []item {
	if len(list) <= n {
		return list
	}
	taken := make([]item, n)
	for i := range taken {
		taken[i] = list[i*len(list)/n]
	}
	return taken
}

// markedShare is how much of a map in [0, 1] is marked.
func markedShare(m []float32) float64 {
	n := 0
	for _, v := range m {
		if v >= marked {
			n++
		}
	}
	return float64(n) / float64(len(m))
}

func median(x []float64) float64 {
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
