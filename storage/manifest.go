package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"
)

// Recipe is all that an artefact depends on. Equal recipes have equal keys.
type Recipe struct {
	// Kind is the stage's word for what it makes, such as "model".
	Kind string `json:"kind"`
	// Code is the version of the stage's code. It grows when the same inputs
	// begin to give another output.
	Code int `json:"code"`
	// Config is the part of the configuration that reaches the stage, as
	// Canonical writes it.
	Config json.RawMessage `json:"config,omitempty"`
	// Inputs are the keys of the artefacts that the stage reads, by what they
	// are to it.
	Inputs map[string]string `json:"inputs,omitempty"`
	// Data is the fingerprint of data from outside the store.
	Data string `json:"data,omitempty"`
	Seed int64  `json:"seed"`
}

// Key is the SHA-256 of the recipe in canonical form, 64 hexadecimal digits.
func (r Recipe) Key() (string, error) {
	text, err := Canonical(r)
	if err != nil {
		return "", fmt.Errorf("key of a %s: %w", r.Kind, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Canonical is v as JSON without white space, with the keys of objects sorted,
// so that equal values have equal bytes whatever the order of their fields.
// Values that JSON does not have, such as NaN, are an error.
func Canonical(v any) (json.RawMessage, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	// Decoding gives maps, which are encoded in the order of their keys.
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // keeps the digits of large integers
	var plain any
	if err := dec.Decode(&plain); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	text, err = json.Marshal(plain)
	if err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	return text, nil
}

// Manifest says what an artefact is and how it came to be. It is the file
// manifest.json of the artefact's folder.
type Manifest struct {
	Recipe
	Key string `json:"key"`
	// Ran lists the hardware and precision that were really used.
	Ran []Ran `json:"ran,omitempty"`
	// Program is the version of the program that published the artefact.
	Program string    `json:"program,omitempty"`
	Created time.Time `json:"created"`
	// Files are the artefact's files beside the manifest, sorted by path.
	Files []ManifestFile `json:"files"`
}

// Ran is where the steps from From up to but without To were computed.
type Ran struct {
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	Device    string `json:"device"`    // such as "cpu" or "cuda:0"
	Hardware  string `json:"hardware"`  // such as the processor's instruction sets
	Precision string `json:"precision"` // such as "f32"
}

// ManifestFile is one file of an artefact, its path with slashes.
type ManifestFile struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

const manifestName = "manifest.json"

// maxManifest is far above any manifest of ours.
const maxManifest = 64 << 20

func parseManifest(text []byte) (Manifest, error) {
	var m Manifest
	if len(text) > maxManifest {
		return m, fmt.Errorf("%d bytes, want at most %d", len(text), maxManifest)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, err
	}
	key, err := m.Recipe.Key()
	if err != nil {
		return m, err
	}
	if key != m.Key {
		return m, fmt.Errorf("key %.12s, but what it was made from has key %.12s", m.Key, key)
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return m, fmt.Errorf("file %q, want a path inside the artefact", f.Path)
		}
	}
	return m, nil
}

func (m Manifest) encode() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}
