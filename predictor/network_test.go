package predictor

import (
	"bytes"
	"image"
	"image/png"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/storage"
)

func TestNetworksAreWhatTheirNamesSay(t *testing.T) {
	cfg := DefaultConfig()
	for name, want := range map[string]backbone.SaliencyNetwork{
		"unet":                  backbone.UNet{Widths: cfg.Widths, StemKernel: cfg.StemKernel, StemStride: cfg.StemStride},
		"unet-resnet18":         backbone.UNetOf(backbone.ResNet18()),
		"unet-resnet50":         backbone.UNetOf(backbone.ResNet50()),
		"unet-densenet121":      backbone.UNetOf(backbone.DenseNet121()),
		"unetplusplus-resnet50": backbone.UNetPlusPlusOf(backbone.ResNet50()),
	} {
		cfg.Network = name
		got, err := cfg.network()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: found %+v, want %+v", name, got, want)
		}
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// encoded is a fit of two steps of a U-Net around ResNet-18, which has no widths and
// no stem of its own.
func encoded() Config {
	c := tiny()
	c.Network, c.Widths, c.StemKernel, c.StemStride = "unet-resnet18", nil, 0, 0
	c.Size, c.Steps, c.Batch, c.ValidateEvery, c.CheckpointEvery = 32, 2, 2, 2, 2
	return c
}

func TestAnEncoderOfAClassifierIsFittedSavedLoadedAndUsedLikeAUNet(t *testing.T) {
	if testing.Short() {
		t.Skip("a network of 14 million parameters")
	}
	cfg := encoded()
	cfg.Resize = "pad"
	m := fit(t, cfg, examples(t, "train", 6), nil)
	if h := m.Summary().History; len(h) != 1 || !(h[0].TrainLoss > 0) {
		t.Errorf("found validations %+v, want one after step 2", h)
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := loaded.Config().Network; got != cfg.Network {
		t.Errorf("found the network %q, want %q", got, cfg.Network)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 100, 50))); err != nil {
		t.Fatal(err)
	}
	list := append(samples(t, 2), storage.Sample{ID: "wide", Image: storage.Encoded{Bytes: b.Bytes()}})
	found := annotated(t, loaded, list, Options{})
	for i, p := range annotated(t, m, list, Options{}) {
		if !bytes.Equal(found[i].Map.Bytes, p.Map.Bytes) {
			t.Errorf("%s: the loaded model draws another map", p.Sample.ID)
		}
	}
	size, err := png.DecodeConfig(bytes.NewReader(found[2].Map.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	if size.Width != 32 || size.Height != 16 {
		t.Errorf("found a map of %d x %d for a wide image, want 32 x 16", size.Width, size.Height)
	}
}

func TestAnEncoderWantsASideOf32PixelsOrMultiples(t *testing.T) {
	cfg := encoded()
	for _, size := range []int{0, 16, 48} {
		cfg.Size = size
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), `want a multiple of 32 for network "unet-resnet18"`) {
			t.Errorf("size %d: found error %v, want one of the size", size, err)
		}
	}
}
