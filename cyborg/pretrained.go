package cyborg

import (
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/pretrained"
	"github.com/surrogaze/surrogaze/storage"
)

// Pretrained is where a network's first weights came from.
type Pretrained = pretrained.Weights

// MismatchError says how the tensors of a weights file differ from the parameters of
// a network.
type MismatchError = pretrained.MismatchError

// ReadPretrained reads the weights that a training of so many classes would start
// from and says what it would take of them; nil if the configuration names none.
// Errors are of the data.
func ReadPretrained(cfg Config, classes int) (*Pretrained, error) {
	if cfg.Pretrained == "" {
		return nil, nil
	}
	params := nn.NewParams(cfg.Seed)
	if _, err := evaluationGraph(cfg, params, classes, 1, false); err != nil {
		return nil, err
	}
	return loadPretrained(cfg, params)
}

// loadPretrained sets the parameters of a configuration's network from its weights
// file; nil without one. Errors are of the data.
func loadPretrained(cfg Config, params *nn.Params) (*Pretrained, error) {
	if cfg.Pretrained == "" {
		return nil, nil
	}
	net, err := cfg.network()
	if err != nil {
		return nil, err
	}
	p, err := pretrained.Load(cfg.Pretrained, params, net.Published(), cfg.AllowMissing)
	if err != nil {
		return nil, storage.Unusable("pretrained weights: %w", err)
	}
	return p, nil
}
