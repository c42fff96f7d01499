package testset

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"

	"github.com/surrogaze/surrogaze/internal/synthetic"
)

// tree are files to be written, and the first error on the way.
type tree struct {
	files []synthetic.File
	err   error
}

func (t *tree) text(path, text string) {
	t.files = append(t.files, synthetic.File{Path: path, Data: []byte(text)})
}

func (t *tree) image(path string, m image.Image) {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil && t.err == nil {
		t.err = err
	}
	t.files = append(t.files, synthetic.File{Path: path, Data: b.Bytes()})
}

func (t *tree) write(dir string) error {
	if t.err != nil {
		return t.err
	}
	return writeFiles(dir, t.files)
}

// writeFiles writes files below dir.
func writeFiles(dir string, files []synthetic.File) error {
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
