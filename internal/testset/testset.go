// Package testset has generated samples and writes data sets of them to disk, for tests
// and benchmarks.
package testset

import (
	"fmt"
	"path/filepath"

	"github.com/surrogaze/surrogaze/internal/synthetic"
	"github.com/surrogaze/surrogaze/storage"
)

// Small has a few images of each kind, enough to run every stage in seconds.
var Small = synthetic.Spec{Seed: 3, Annotated: 36, Train: 56, Val: 12, Test: 16, References: 6}

// Three is such a set of three classes.
var Three = synthetic.Spec{Seed: 3, Annotated: 36, Train: 56, Val: 18, Test: 24, References: 6, Three: true}

// Write writes the two parts of a data set into dir: the annotated folder (images,
// maps and labels.csv) and the Parquet set in unannotated/data.
func Write(dir string, spec synthetic.Spec) error {
	files, err := spec.Folder()
	if err != nil {
		return err
	}
	if err := writeFiles(dir, files); err != nil {
		return err
	}
	return writeUnannotated(filepath.Join(dir, "unannotated"), spec)
}

func writeUnannotated(dir string, spec synthetic.Spec) error {
	w, err := storage.Create(dir, storage.Schema{Classes: spec.Classes(), Unmapped: true})
	if err != nil {
		return err
	}
	for _, x := range spec.Unannotated() {
		data, err := x.PNG()
		if err != nil {
			return err
		}
		err = w.Append(storage.Sample{
			ID: x.ID, Image: storage.Encoded{Bytes: data, Path: x.ID + ".png"}, Label: int64(x.Label),
			Split: x.Split, Group: x.Group, SaliencyQuality: storage.NoQuality(),
		})
		if err != nil {
			return fmt.Errorf("sample %q: %w", x.ID, err)
		}
	}
	return w.Close()
}

// Drawn are n generated images with their maps, half of them for training and half for
// validation.
func Drawn(n int) ([]storage.Sample, error) {
	samples := make([]storage.Sample, n)
	for i := range samples {
		x := synthetic.Draw(1, "train", i)
		image, err := x.PNG()
		if err != nil {
			return nil, err
		}
		human, err := x.MapPNG()
		if err != nil {
			return nil, err
		}
		samples[i] = storage.Sample{
			ID: x.ID, Image: storage.Encoded{Bytes: image}, Label: int64(x.Label), Split: []string{"train", "val"}[i%2], Group: x.Group,
			Saliency: storage.Encoded{Bytes: human}, SaliencySource: storage.SourceHuman, SaliencyQuality: storage.NoQuality(),
		}
	}
	return samples, nil
}
