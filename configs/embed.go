// Package configs holds the configurations and data sets that are built into
// the program, so that they work from any folder.
package configs

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/surrogaze/surrogaze/testdata"
)

// FS holds the configuration files, <name>.yaml, and their schema.
//
//go:embed *.yaml schema.json
var FS embed.FS

// Embedded begins a data.root that names a built-in data set:
// "embed:quickstart".
const Embedded = "embed:"

// Names are the built-in configurations, sorted.
func Names() []string {
	files, err := fs.Glob(FS, "*.yaml")
	if err != nil {
		panic(err) // the pattern is constant and valid
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(f, ".yaml")
	}
	return files
}

// DataSets are the built-in data sets, sorted.
func DataSets() []string { return []string{"quickstart"} }

// Root is the folder that a data.root stands for. A built-in data set is
// written below dir first, in a folder named after its content, unless it is
// there already; any other root is returned as it is.
func Root(root, dir string) (string, error) {
	name, ok := strings.CutPrefix(root, Embedded)
	if !ok {
		return root, nil
	}
	if name != "quickstart" {
		return "", fmt.Errorf("built-in data set %q: want one of %q", name, DataSets())
	}
	files, err := fs.Sub(testdata.Quickstart, name)
	if err != nil {
		return "", fmt.Errorf("built-in data set %q: %w", name, err)
	}
	target, err := extract(files, name, dir)
	if err != nil {
		return "", fmt.Errorf("write built-in data set %q: %w", name, err)
	}
	return target, nil
}

// extract copies the files into a folder that gets its name last, so that a
// folder of that name is whole.
func extract(files fs.FS, name, dir string) (string, error) {
	digest, err := fingerprint(files)
	if err != nil {
		return "", err
	}
	target := filepath.Join(dir, name+"-"+digest)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	draft, err := os.MkdirTemp(dir, name+".tmp-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(draft)
	whole := filepath.Join(draft, "files")
	if err := os.CopyFS(whole, files); err != nil {
		return "", err
	}
	if err := os.Rename(whole, target); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return target, nil
}

// fingerprint is a short hash of the files' names and content.
func fingerprint(files fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, p)
		fmt.Fprintf(h, "%s\x00%d\x00", path.Clean(p), len(data))
		h.Write(data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:6]), err
}
