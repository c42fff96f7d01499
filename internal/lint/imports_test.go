package lint

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/surrogaze/surrogaze"
	root   = "../.."
	house  = "docs/architecture.md" // holds the import table
	cgo    = "C"                    // imported by what calls C
)

// table is the import table: for every folder, with those below it that have no row
// of their own, the folders and modules that it may import.
type table map[string][]string

var code = regexp.MustCompile("`([^`]+)`")

// words are the words of a cell that are set as code.
func words(cell string) []string {
	var list []string
	for _, m := range code.FindAllStringSubmatch(cell, -1) {
		list = append(list, m[1])
	}
	return list
}

// readTable reads the table with a column "may import". Its columns are folder,
// job, may import, libraries.
func readTable(t *testing.T) table {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, house))
	if err != nil {
		t.Fatal(err)
	}
	_, rows, ok := strings.Cut(string(text), "| may import |")
	if !ok {
		t.Fatalf("%s: found no table with a column %q", house, "may import")
	}
	rows, _, _ = strings.Cut(rows, "\n\n")
	folders := table{}
	for _, line := range strings.Split(rows, "\n")[2:] { // behind the head and the rule under it
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 4 {
			t.Fatalf("%s: row %q has %d cells, want 4", house, line, len(cells))
		}
		for _, name := range words(cells[0]) {
			folders[name] = append(words(cells[2]), words(cells[3])...)
		}
	}
	return folders
}

// rowOf is the folder whose row is about a package: the package's own or the
// nearest above it; "" is none.
func (folders table) rowOf(pkg string) string {
	for ; pkg != "."; pkg = path.Dir(pkg) {
		if _, ok := folders[pkg]; ok {
			return pkg
		}
	}
	return ""
}

// allows reports whether the packages of a row may import a package.
func (folders table) allows(row, imported string) bool {
	target := folders.rowOf(imported)
	if target == "" { // a library
		return slices.ContainsFunc(folders[row], func(may string) bool { return within(imported, may) })
	}
	return target == row || slices.Contains(folders[row], target)
}

// within reports whether a path is dir or below it.
func within(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// isLibrary reports whether an import comes from another module.
func isLibrary(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return strings.Contains(first, ".")
}

// source is a Go file of the module.
type source struct {
	pkg, file string // paths from the root
	test      bool
	imports   []string // ours from the root, and those of other modules; "C" is cgo
}

// sources parses the imports of the module's files, whatever their build tags.
func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		switch rel = filepath.ToSlash(rel); {
		case e.IsDir() && skipped(file, rel):
			return fs.SkipDir
		case e.IsDir() || path.Ext(rel) != ".go":
			return nil
		}
		s, err := parse(file, rel)
		list = append(list, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// skipped reports whether a folder holds no packages of the module: it is hidden,
// holds a package's test data, or is a module of its own.
func skipped(dir, rel string) bool {
	if rel == "." || rel == "testdata" {
		return false
	}
	name := path.Base(rel)
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return strings.HasPrefix(name, ".") || name == "testdata" || !errors.Is(err, fs.ErrNotExist)
}

func parse(file, rel string) (source, error) {
	s := source{pkg: path.Dir(rel), file: rel, test: strings.HasSuffix(rel, "_test.go")}
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return s, err
	}
	for _, spec := range f.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return s, fmt.Errorf("%s: %w", rel, err)
		}
		ours, isOurs := strings.CutPrefix(name, module+"/")
		if isOurs || isLibrary(name) || name == cgo {
			s.imports = append(s.imports, ours)
		}
	}
	return s, nil
}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	folders := readTable(t)
	for _, s := range sources(t) {
		row := folders.rowOf(s.pkg)
		if row == "" {
			t.Errorf("%s: %q has no row in the import table of %s", s.file, s.pkg, house)
			continue
		}
		for _, imported := range s.imports {
			if !s.test && !folders.allows(row, imported) {
				t.Errorf("%s: %s imports %s, but may import only %s", s.file, row, imported, strings.Join(folders[row], ", "))
			}
		}
	}
}

func TestTheTableIsAboutFoldersThatExist(t *testing.T) {
	folders := readTable(t)
	used := map[string]bool{}
	for _, s := range sources(t) {
		used[folders.rowOf(s.pkg)] = true
	}
	for name, may := range folders {
		if !used[name] {
			t.Errorf("%s: the import table has a row for %s, which holds no Go file", house, name)
		}
		for _, m := range may {
			if _, ok := folders[m]; !ok && !isLibrary(m) && m != cgo {
				t.Errorf("%s: %s may import %s, which has no row", house, name, m)
			}
		}
	}
}

// Their tests may not either: what both need belongs below them.
func TestPredictorAndCyborgDoNotImportEachOther(t *testing.T) {
	other := map[string]string{"predictor": "cyborg", "cyborg": "predictor"}
	for _, s := range sources(t) {
		for _, imported := range s.imports {
			if pkg, _, _ := strings.Cut(s.pkg, "/"); other[pkg] != "" && within(imported, other[pkg]) {
				t.Errorf("%s: %s imports %s, but may not", s.file, pkg, imported)
			}
		}
	}
}
