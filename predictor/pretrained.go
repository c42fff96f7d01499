package predictor

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/pretrained"
	"github.com/surrogaze/surrogaze/storage"
)

// Pretrained is where an encoder's first weights came from.
type Pretrained = pretrained.Weights

// MismatchError says how the tensors of a weights file differ from the parameters of
// an encoder.
type MismatchError = pretrained.MismatchError

// ReadPretrained reads the weights that a fit would start from and says what it would
// take of them; nil if the configuration names none. Errors are of the data.
func ReadPretrained(cfg Config) (*Pretrained, error) {
	if cfg.Pretrained == "" {
		return nil, nil
	}
	params := nn.NewParams(cfg.Seed)
	if _, err := evaluationGraph(cfg, params, 1, false); err != nil {
		return nil, err
	}
	return loadPretrained(cfg, params)
}

// loadPretrained sets the parameters of a configuration's encoder from its weights
// file; nil without one. Errors are of the data.
func loadPretrained(cfg Config, params *nn.Params) (*Pretrained, error) {
	if cfg.Pretrained == "" {
		return nil, nil
	}
	published, err := cfg.published()
	if err != nil {
		return nil, err
	}
	p, err := pretrained.Load(cfg.Pretrained, params, published, cfg.AllowMissing)
	if err != nil {
		return nil, storage.Unusable("pretrained weights: %w", err)
	}
	return p, nil
}

// published tells of the weights that the network's encoder may start from.
func (c Config) published() (backbone.Published, error) {
	net, err := c.network()
	if err != nil {
		return backbone.Published{}, err
	}
	encoded, ok := net.(interface{ Published() backbone.Published })
	if !ok {
		return backbone.Published{}, fmt.Errorf("pretrained weights for network %q: want one with a classifier as its encoder", c.Network)
	}
	return encoded.Published(), nil
}
