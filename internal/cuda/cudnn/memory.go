package cudnn

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
)

// site is what a choice is good for: a model of device, its driver and the library.
type site struct {
	Device          string `json:"device"`
	Multiprocessors int    `json:"multiprocessors"`
	Driver          int    `json:"driver"`
	Library         int    `json:"cudnn"`
}

func siteOf(p driver.Properties, library int) site {
	return site{p.Name, p.Multiprocessors, p.Driver, library}
}

// memory is the choices made at a site: the names of plans by their convolutions. It is
// a convenience: what cannot be read is chosen anew, and what cannot be written too.
type memory struct {
	file string // "" is none
	contents
}

// contents is what the file holds.
type contents struct {
	Site  site              `json:"site"`
	Plans map[string]string `json:"plans"`
}

// recall reads the choices of a site.
func recall(s site) *memory {
	m := &memory{contents: contents{Site: s, Plans: map[string]string{}}}
	if dir, err := os.UserCacheDir(); err == nil {
		m.file = filepath.Join(dir, "surrogaze", "cuda", fileName(s))
		m.merge()
	}
	return m
}

// fileName tells sites apart. Two that it does not tell apart overwrite each other's
// choices.
func fileName(s site) string {
	plain := func(r rune) rune {
		if strings.ContainsRune(" /\\:", r) {
			return '-'
		}
		return r
	}
	return strings.Map(plain, fmt.Sprintf("%s %d driver %d cudnn %d", s.Device, s.Multiprocessors, s.Driver, s.Library)) + ".json"
}

// merge adds the choices of the file, other processes' perhaps, to those made here.
func (m *memory) merge() {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return
	}
	var found contents
	if json.Unmarshal(text, &found) != nil || found.Site != m.Site {
		return
	}
	made := m.Plans
	m.Plans = map[string]string{}
	maps.Copy(m.Plans, found.Plans)
	maps.Copy(m.Plans, made)
}

// keep remembers a choice.
func (m *memory) keep(convolution, plan string) {
	m.Plans[convolution] = plan
	if m.file == "" {
		return
	}
	m.merge()
	_ = m.write() // it will be chosen anew
}

// write replaces the file as a whole.
func (m *memory) write() error {
	text, err := json.MarshalIndent(m.contents, "", "\t")
	if err != nil {
		return err
	}
	dir := filepath.Dir(m.file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	draft, err := os.CreateTemp(dir, ".draft-*")
	if err != nil {
		return err
	}
	_, err = draft.Write(append(text, '\n'))
	err = errors.Join(err, draft.Close())
	if err == nil {
		err = os.Rename(draft.Name(), m.file)
	}
	if err != nil {
		_ = os.Remove(draft.Name())
	}
	return err
}
