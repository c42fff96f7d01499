package synthetic_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/surrogaze/surrogaze/internal/synthetic"
	"github.com/surrogaze/surrogaze/storage"
)

const committed = "../../testdata/quickstart/unannotated/train-00000-of-00001.parquet"

// unannotated is the data set that the quickstart has no maps for.
func unannotated(t *testing.T) []storage.Sample {
	t.Helper()
	var samples []storage.Sample
	for _, x := range synthetic.Quickstart.Unannotated() {
		data, err := x.PNG()
		if err != nil {
			t.Fatal(err)
		}
		samples = append(samples, storage.Sample{
			ID: x.ID, Image: storage.Encoded{Bytes: data, Path: x.ID + ".png"}, Label: int64(x.Label),
			Split: x.Split, Group: x.Group, SaliencyQuality: storage.NoQuality(),
		})
	}
	return samples
}

func TestTheCommittedParquetSetIsWhatTheGeneratorDraws(t *testing.T) {
	want := unannotated(t)
	if flag.Lookup("update").Value.String() == "true" {
		writeParquet(t, want)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o777); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", filepath.Base(committed)), text, 0o666); err != nil {
		t.Fatal(err)
	}
	set, err := storage.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(set.Classes(), synthetic.Classes) {
		t.Errorf("found classes %q, want %q", set.Classes(), synthetic.Classes)
	}
	i := 0
	for s, err := range set.All(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		// Compressed bytes may change with the Go release; what they stand for is
		// tested with the folder.
		if i >= len(want) || s.ID != want[i].ID || s.Label != want[i].Label || s.Split != want[i].Split || s.Group != want[i].Group {
			t.Fatalf("row %d is %q; go test ./internal/synthetic -update writes it anew", i, s.ID)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("found %d rows, want %d", i, len(want))
	}
}

func writeParquet(t *testing.T, samples []storage.Sample) {
	t.Helper()
	dir := t.TempDir()
	w, err := storage.Create(dir, storage.Schema{Classes: synthetic.Classes, Unmapped: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		if err := w.Append(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "data", filepath.Base(committed)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(committed), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(committed, text, 0o666); err != nil {
		t.Fatal(err)
	}
}
