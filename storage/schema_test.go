package storage

import (
	"strings"
	"testing"
)

func TestASetWithoutMapsHasNoColumnsForThem(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, Schema{Unmapped: true}, DefaultLayout, numbered(3, 10, "train"))
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !d.Schema().Unmapped || d.Rows()[0].HasMap {
		t.Errorf("found schema %+v and row %+v, want no maps", d.Schema(), d.Rows()[0])
	}
	if i := d.files[0].meta.Schema.ColumnIndexByName(columnSaliency + ".bytes"); i >= 0 {
		t.Errorf("column %q is there", columnSaliency)
	}
	if s := readAll(t, d); len(s) != 3 || s[2].ID != numbered(3, 10, "train")[2].ID {
		t.Errorf("found %d samples, want 3", len(s))
	}
}

func TestASetWithoutMapsRefusesOne(t *testing.T) {
	w, err := Create(t.TempDir(), Schema{Unmapped: true})
	if err != nil {
		t.Fatal(err)
	}
	s := numbered(1, 10, "train")[0]
	s.Saliency = Encoded{Bytes: []byte("map")}
	if err := w.Append(s); err == nil || !strings.Contains(err.Error(), "no column saliency") {
		t.Errorf("found %v, want an error that names the column", err)
	}
}
