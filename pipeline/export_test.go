package pipeline

import (
	"context"
	"errors"

	"github.com/surrogaze/surrogaze/storage"
)

// StageArtefact is an artefact of a run with the version of the code that made it.
type StageArtefact struct {
	Stage Stage
	Name  string
	Code  int
	Dir   string
}

// Artefacts are those that a run has made.
func (p *Pipeline) Artefacts(ctx context.Context) ([]StageArtefact, error) {
	r, err := p.recipes(ctx)
	if err != nil {
		return nil, err
	}
	var list []StageArtefact
	for _, x := range r.all() {
		a, err := p.store.Lookup(x.recipe.Kind, x.recipe.key)
		if errors.Is(err, storage.ErrNotPublished) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, StageArtefact{x.stage, x.name, x.recipe.Code, a.Dir})
	}
	return list, nil
}
