package predictor

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/internal/weights"
)

func TestAModelComesBackAsItWasSaved(t *testing.T) {
	m := model(t)
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.Summary(), loaded.Summary()); diff != "" {
		t.Errorf("another summary (-saved +loaded):\n%s", diff)
	}
	want := m.Config()
	want.CheckpointEvery = 0 // where and how fast is not kept
	if diff := cmp.Diff(want, loaded.Config()); diff != "" {
		t.Errorf("another configuration (-saved +loaded):\n%s", diff)
	}
	if !bytes.Equal(saved(t, loaded), saved(t, m)) {
		t.Error("saved again, the file differs")
	}
	found := annotated(t, loaded, samples(t, 5), Options{})
	for i, p := range annotated(t, m, samples(t, 5), Options{}) {
		if !bytes.Equal(found[i].Map.Bytes, p.Map.Bytes) || found[i].Quality != p.Quality {
			t.Errorf("%s: the loaded model draws another map", p.Sample.ID)
		}
	}
}

func TestAModelSaysNothingOfWhereAndWhenItWasMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := model(t).Save(path); err != nil {
		t.Fatal(err)
	}
	meta, _, err := weights.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if keys := slices.Sorted(maps.Keys(meta)); !slices.Equal(keys, []string{"format", "model", "version"}) {
		t.Errorf("found metadata %v", keys)
	}
	for _, word := range []string{"workers", "device", "precision", "checkpoint_every", os.TempDir()} {
		if strings.Contains(strings.ToLower(meta["model"]), word) {
			t.Errorf("found %q in the metadata", word)
		}
	}
}

func TestSavingWantsAFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "model.safetensors")
	if err := model(t).Save(path); err == nil || !strings.HasPrefix(err.Error(), "save the predictor: ") {
		t.Errorf("found error %v, want one of saving", err)
	}
}

// forged writes a model's file as change leaves its parts.
func forged(t testing.TB, change func(f *forgery)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := model(t).Save(path); err != nil {
		t.Fatal(err)
	}
	var f forgery
	var err error
	if f.meta, f.tensors, err = weights.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(f.meta[descriptorKey]), &f.model); err != nil {
		t.Fatal(err)
	}
	change(&f)
	if f.model != nil {
		text, err := json.Marshal(f.model)
		if err != nil {
			t.Fatal(err)
		}
		f.meta[descriptorKey] = string(text)
	}
	var b bytes.Buffer
	if err := weights.Write(&b, f.meta, f.tensors); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

type forgery struct {
	meta    map[string]string
	model   map[string]any // of meta; nil leaves meta as it is
	tensors []weights.Tensor
}

func (f *forgery) config(key string, value any) { f.model["config"].(map[string]any)[key] = value }

// poison puts a NaN into a tensor.
func (f *forgery) poison(name string) {
	i := slices.IndexFunc(f.tensors, func(t weights.Tensor) bool { return t.Name == name })
	f.tensors[i].Data[3] = float32(math.NaN())
}

func TestAForeignFileIsRefused(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(f *forgery)
	}{
		{`found format "", want surrogaze-predictor`, func(f *forgery) { f.model, f.meta = nil, nil }},
		{`found format "pt", want surrogaze-predictor`, func(f *forgery) { f.meta[formatKey] = "pt" }},
		{`found version "2", want 1`, func(f *forgery) { f.meta[versionKey] = "2" }},
		{`metadata "model"`, func(f *forgery) { f.model, f.meta[descriptorKey] = nil, "{" }},
		{`metadata "model"`, func(f *forgery) { f.config("size", "large") }},
		{"found preprocessing", func(f *forgery) { delete(f.model, "preprocessing") }},
		{`network "vit"`, func(f *forgery) { f.config("network", "vit") }},
		{"want at least one", func(f *forgery) { f.config("widths", []int{}) }},
		{"width -4", func(f *forgery) { f.config("widths", []int{-4, 8}) }},
		// Claims that would take more memory than there is.
		{"values, want at least", func(f *forgery) { f.config("widths", []int{1 << 40, 1 << 40}) }},
		{"values, want at least", func(f *forgery) { f.config("size", 1<<40) }},
		{"values, want at least", func(f *forgery) { f.config("stem_kernel", 1<<40+1) }},
		{"want at most 10 and 16", func(f *forgery) { f.config("stem_stride", 1<<62) }},
		{"want at most 10 and 16", func(f *forgery) { f.config("widths", slices.Repeat([]int{1}, 1000)) }},
		// Parts of other networks.
		{"baseline.mean_map", func(f *forgery) { f.config("size", 12) }},
		{`"down.0.0.weight"`, func(f *forgery) { f.config("widths", []int{5, 8}) }},
		{`tensor "baseline.mean_map": found NaN at index 3`, func(f *forgery) { f.poison("baseline.mean_map") }},
		{`tensor "down.0.0.weight": found NaN at index 3`, func(f *forgery) { f.poison("down.0.0.weight") }},
		{"missing", func(f *forgery) { f.tensors = f.tensors[:len(f.tensors)-1] }},
		{`"extra"`, func(f *forgery) { f.tensors = append(f.tensors, weights.Float32("extra", []int{1}, []float32{1})) }},
	} {
		path := forged(t, c.change)
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("found error %v, want the path and %q in it", err, c.want)
		}
	}
}

func TestAFileThatIsNoModelIsRefused(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string][]byte{"empty": nil, "junk": []byte("junk, and more of it"), "cut": saved(t, model(t))[:2000]} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "load predictor") {
			t.Errorf("%s: found error %v, want one of loading", name, err)
		}
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("found error %v, want that there is no such file", err)
	}
}

func FuzzLoadingNeverPanics(f *testing.F) {
	f.Add([]byte(`{"config":{"network":"unet","widths":[4,8],"size":16,"stem_kernel":3,"stem_stride":2}}`))
	f.Add([]byte(`{"config":{"widths":[1e9]}}`))
	f.Fuzz(func(t *testing.T, descriptor []byte) {
		path := forged(t, func(f *forgery) { f.model, f.meta[descriptorKey] = nil, strings.ToValidUTF8(string(descriptor), "") })
		if m, err := Load(path); err == nil {
			annotated(t, m, samples(t, 1), Options{})
		}
	})
}
