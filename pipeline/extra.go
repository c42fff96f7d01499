package pipeline

import (
	"fmt"
	"slices"

	"github.com/surrogaze/surrogaze/storage"
)

// joinExtra are the extra columns of all sources, in the order of their first
// appearance.
func joinExtra(sources []storage.Source) ([]storage.Column, error) {
	var joint []storage.Column
	for _, s := range sources {
		for _, c := range s.Schema().Extra {
			i := slices.IndexFunc(joint, func(other storage.Column) bool { return other.Name == c.Name })
			switch {
			case i < 0:
				joint = append(joint, c)
			case joint[i].Kind != c.Kind:
				return nil, fmt.Errorf("%q: column %q holds %v, in another set %v: want the same", s.Name(), c.Name, c.Kind, joint[i].Kind)
			}
		}
	}
	return joint, nil
}

// extraPlaces says where each of a source's extra columns is among the joint ones.
func extraPlaces(own, joint []storage.Column) []int {
	places := make([]int, len(own))
	for i, c := range own {
		places[i] = slices.Index(joint, c)
	}
	return places
}

// arrange puts the values of a source's extra columns at their places among n.
func arrange(values []any, places []int, n int) []any {
	if values == nil {
		return nil
	}
	arranged := make([]any, n)
	for i, v := range values {
		arranged[places[i]] = v
	}
	return arranged
}
