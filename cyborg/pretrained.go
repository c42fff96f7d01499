package cyborg

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// Pretrained is where a network's first weights came from.
type Pretrained struct {
	SHA256 string `json:"sha256"` // of the file
	// HeadReplaced says that the file's last layer was of other classes, or was
	// missing, and the network's own was initialised at random.
	HeadReplaced bool `json:"head_replaced"`
}

// loadPretrained sets the parameters from a safetensors file with the names of
// torchvision, or of timm for Xception, nil without a file. Only the last layer may
// differ or be missing.
func loadPretrained(path string, params *nn.Params) (*Pretrained, error) {
	if path == "" {
		return nil, nil
	}
	hash, err := hashFile(path)
	if err != nil {
		return nil, fmt.Errorf("pretrained weights: %w", err)
	}
	_, found, err := weights.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("pretrained weights: %w", err)
	}
	found = slices.DeleteFunc(found, func(t weights.Tensor) bool { return strings.HasSuffix(t.Name, ".num_batches_tracked") })
	p := &Pretrained{SHA256: hash, HeadReplaced: !hasHead(found, params)}
	if p.HeadReplaced {
		found = slices.DeleteFunc(found, isHead)
		found = append(found, slices.DeleteFunc(params.Tensors(), func(t weights.Tensor) bool { return !isHead(t) })...)
	}
	if err := params.Load(found); err != nil {
		return nil, fmt.Errorf("pretrained weights %q: %w", path, err)
	}
	return p, nil
}

// isHead reports whether a tensor is the last layer's, in any of the networks.
func isHead(t weights.Tensor) bool {
	switch t.Name {
	case "fc.weight", "fc.bias", "classifier.weight", "classifier.bias":
		return true
	}
	return false
}

// hasHead reports whether the last layer is among tensors, in the right shape.
func hasHead(tensors []weights.Tensor, params *nn.Params) bool {
	fitting := 0
	for _, t := range tensors {
		if isHead(t) && slices.Equal(t.Shape, params.Get(t.Name).Shape) {
			fitting++
		}
	}
	return fitting == 2
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
