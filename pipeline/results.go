package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/surrogaze/surrogaze/internal/config"
	"github.com/surrogaze/surrogaze/storage"
)

// results is the folder of the results while a command writes there: locked, and with a
// record of the files in it that are ours. What the record does not name belongs to
// somebody else, and is neither replaced nor removed.
type results struct {
	dir   string
	lock  *storage.FolderLock
	parts []part // of the present configuration
	mutex sync.Mutex
	ours  map[string]string // files by their path in the folder, with slashes: keys of their parts
	begun bool              // whether parts are being laid out
}

// part is a file or folder that is laid out, with slashes in its name.
type part struct {
	name   string
	key    string // of what it is laid out from; another one is of another configuration
	folder bool
}

func (x part) holds(file string) bool {
	return file == x.name || x.folder && strings.HasPrefix(file, x.name+"/")
}

// laidOutName is the file of the record.
const laidOutName = ".laid-out.json"

// Folders of the results.
const (
	dataName   = "data"
	modelsName = "models"
	exportName = "export"
)

// openResults takes a folder of results, new or with what earlier commands left.
func openResults(dir string) (*results, error) {
	lock, err := storage.LockFolder(dir)
	if err != nil {
		return nil, err
	}
	r := &results{dir: dir, lock: lock, ours: map[string]string{}}
	if err := r.read(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// close gives the folder to others. What was to come and did not is ours no more.
func (r *results) close() error { return errors.Join(r.forget(), r.lock.Release()) }

func (r *results) forget() error {
	if !r.begun {
		return nil
	}
	changed := false
	for file := range r.ours {
		if _, err := os.Lstat(r.path(file)); errors.Is(err, fs.ErrNotExist) {
			delete(r.ours, file)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return r.save()
}

// path is where a file or folder of the results is.
func (r *results) path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

func (r *results) read() error {
	err := readJSON(r.path(laidOutName), &r.ours)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for file := range r.ours {
		if !filepath.IsLocal(filepath.FromSlash(file)) {
			return fmt.Errorf("read %q: file %q, want a path inside the folder", r.path(laidOutName), file)
		}
	}
	return err
}

func (r *results) save() error { return writeJSON(r.path(laidOutName), r.ours) }

// key is that of the part of a name.
func (r *results) key(name string) string {
	for _, x := range r.parts {
		if x.name == name {
			return x.key
		}
	}
	return ""
}

// check refuses parts in whose place lies something that is not ours. Of what lies in
// one folder the first is named.
func (r *results) check(parts ...part) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var problems []config.Problem
	named := map[string]bool{}
	for _, x := range parts {
		top, _, _ := strings.Cut(x.name, "/")
		if named[top] {
			continue
		}
		foreign, err := r.foreign(x)
		if err != nil {
			return fmt.Errorf("lay out %q: %w", r.path(x.name), err)
		}
		if foreign != "" {
			named[top] = true
			problems = append(problems, config.Problem{Path: "out", Text: fmt.Sprintf(
				"%q is in the place of results and was not laid out by an earlier run: choose another folder (--out), or move it away", foreign)})
		}
	}
	if len(problems) > 0 {
		return &ConfigError{Problems: problems}
	}
	return nil
}

// foreign is the first file in a part's place that is not ours, "" if there is none.
func (r *results) foreign(x part) (string, error) {
	root := r.path(x.name)
	if above := path.Dir(x.name); above != "." {
		if info, err := os.Stat(r.path(above)); err == nil && !info.IsDir() {
			return r.path(above), nil
		}
	}
	if info, err := os.Lstat(root); err == nil && info.IsDir() != x.folder {
		return root, nil
	}
	foreign := ""
	err := filepath.WalkDir(root, func(found string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(r.dir, found)
		if err != nil {
			return err
		}
		if _, ok := r.ours[filepath.ToSlash(rel)]; !ok {
			foreign = found
			return filepath.SkipAll
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return foreign, err
}

// begin removes what is ours and not of the present configuration, and records the
// files that are to come. Those of a folder are recorded by own.
func (r *results) begin() error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.begun = true
	changed := false
	for file, key := range r.ours {
		if r.present(file, key) {
			continue
		}
		if err := r.remove(file); err != nil {
			return fmt.Errorf("remove %q, which is of an earlier configuration: %w", r.path(file), err)
		}
		delete(r.ours, file)
		changed = true
	}
	for _, x := range r.parts {
		if _, ok := r.ours[x.name]; !ok && !x.folder {
			r.ours[x.name], changed = x.key, true
		}
	}
	if !changed {
		return nil
	}
	return r.save()
}

// note records a file that is about to be written although the results of the present
// configuration have not begun.
func (r *results) note(name string) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	key := r.key(name)
	if was, ok := r.ours[name]; ok && was == key {
		return nil
	}
	r.ours[name] = key
	return r.save()
}

// present reports whether a file with a key is of the present configuration.
func (r *results) present(file, key string) bool {
	for _, x := range r.parts {
		if x.holds(file) {
			return key == x.key
		}
	}
	return false
}

// remove removes a file, and the folders that it leaves empty.
func (r *results) remove(file string) error {
	if err := os.Remove(r.path(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := path.Dir(file)
	for dir != "." && os.Remove(r.path(dir)) == nil { // until one is not empty
		dir = path.Dir(dir)
	}
	return nil
}

// own records the files that are about to be laid out in a folder.
func (r *results) own(name string, files map[string]fs.FileInfo) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	changed, key := false, r.key(name)
	for rel := range files {
		file := path.Join(name, filepath.ToSlash(rel))
		if found, ok := r.ours[file]; !ok || found != key {
			r.ours[file], changed = key, true
		}
	}
	if !changed {
		return nil
	}
	return r.save()
}

// openOut takes the folder of the results, if it does not lie over the data.
func (p *Pipeline) openOut() error {
	if err := p.checkOverlap(); err != nil {
		return err
	}
	r, err := openResults(p.Out())
	p.results = r
	return err
}

func (p *Pipeline) closeOut() error { return p.results.close() }

// claimOut says what will be laid out, and clears away what interrupted writes have left.
// Something of others in the place of a part is an error.
func (p *Pipeline) claimOut(parts []part) error {
	p.results.parts = parts
	if err := p.results.check(parts...); err != nil {
		return err
	}
	for _, x := range append([]part{{name: laidOutName}}, parts...) {
		if err := storage.Sweep(p.results.path(x.name)); err != nil {
			return err
		}
	}
	return nil
}

// parts are what a run lays out.
func (p *Pipeline) parts(r *recipes) ([]part, error) {
	list, err := p.configParts(r)
	if err != nil {
		return nil, err
	}
	all, err := p.configKey(r)
	if err != nil {
		return nil, err
	}
	list = append(list,
		part{name: dataName, key: r.annotate.key, folder: true},
		part{name: "results.csv", key: r.evaluationsKey()}, part{name: "confusion.csv", key: r.evaluationsKey()}, part{name: "arms.csv", key: r.evaluationsKey()},
		part{name: "summary.json", key: all}, part{name: "report.html", key: all},
	)
	for _, name := range p.annotatorNames() {
		list = append(list, part{name: path.Join(modelsName, name), key: r.fit.key})
	}
	for _, x := range r.runs {
		list = append(list, part{name: path.Join(modelsName, classifierName(x)), key: x.classifier.key},
			part{name: path.Join(modelsName, divergedName(x)), key: x.classifier.key})
	}
	for _, x := range r.exports {
		list = append(list, part{name: path.Join(exportName, x.to), key: x.recipe.key, folder: true})
	}
	return list, nil
}

// annotatorNames are the files of what draws the maps.
func (p *Pipeline) annotatorNames() []string {
	if !p.cfg.Annotate.Teaches() {
		return []string{"predictor.safetensors"}
	}
	var names []string
	for member := range p.cfg.Annotate.Ensemble {
		names = append(names, teacherName(member))
	}
	return names
}

// configParts are the parts that every command leaves. They are written anew each time.
func (p *Pipeline) configParts(r *recipes) ([]part, error) {
	text, err := p.cfg.YAML()
	if err != nil {
		return nil, err
	}
	return []part{{name: configName, key: hashOf(string(text))}, {name: quarantineName, key: r.ingest.key}}, nil
}

// curveParts are what an annotation curve lays out beside the runs that it makes.
func (p *Pipeline) curveParts(r *recipes) ([]part, error) {
	list, err := p.configParts(r)
	if err != nil {
		return nil, err
	}
	all, err := p.configKey(r)
	return append(list, part{name: "curve.csv", key: all}, part{name: "curve.html", key: all}), err
}

// configKey is of all that results depend on: keys, and the configuration but for what
// changes nothing in them.
func (p *Pipeline) configKey(r *recipes) (string, error) {
	cfg := *p.cfg
	cfg.Out, cfg.Store, cfg.Device, cfg.Workers, cfg.Jobs = "", "", "", 0, 0
	text, err := cfg.YAML()
	keys := []string{string(text)}
	for _, x := range r.all() {
		keys = append(keys, x.recipe.key)
	}
	return hashOf(keys...), err
}

// evaluationsKey is that of the tables of all runs.
func (r *recipes) evaluationsKey() string {
	var keys []string
	for _, x := range r.runs {
		keys = append(keys, x.evaluation.key)
	}
	return hashOf(keys...)
}

func hashOf(texts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\n")))
	return hex.EncodeToString(sum[:])
}
