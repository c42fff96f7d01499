package lint

import (
	"bytes"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// clients are the packages that other programs may use.
var clients = []string{"pipeline", "predictor", "cyborg", "storage"}

// engine are the packages of ours whose types clients keep to themselves.
var engine = []string{"internal/backbone", "internal/cuda", "internal/kernel", "internal/modelfile", "internal/nn", "internal/onnx", "internal/op", "internal/raster", "internal/weights"}

// load type-checks the clients as the compiler left them.
func load(t *testing.T) []*types.Package {
	t.Helper()
	args := []string{"list", "-deps", "-export", "-f", "{{.ImportPath}}\t{{.Export}}"}
	for _, name := range clients {
		args = append(args, module+"/"+name)
	}
	var stderr bytes.Buffer
	cmd := exec.Command("go", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		files[name] = file
	}
	compiled := importer.ForCompiler(token.NewFileSet(), "gc", func(name string) (io.ReadCloser, error) { return os.Open(files[name]) })
	var pkgs []*types.Package
	for _, name := range clients {
		pkg, err := compiled.Import(module + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, pkg)
	}
	return pkgs
}

// api walks what a user of a package can reach from its exported names.
type api struct {
	pkg    *types.Package
	seen   map[types.Type]bool
	report func(*types.TypeName)
}

func (a *api) object(obj types.Object) {
	if name, ok := obj.(*types.TypeName); ok {
		a.named(name, obj.Type())
		return
	}
	a.walk(obj.Type())
}

// named looks at a type's name, and into it where it is the package's own.
func (a *api) named(name *types.TypeName, t types.Type) {
	if name.Pkg() != a.pkg {
		a.report(name)
		return
	}
	if a.seen[t] {
		return
	}
	a.seen[t] = true
	switch t := t.(type) {
	case *types.Alias:
		a.walk(t.Rhs())
	case *types.Named:
		a.walk(t.Underlying())
		for m := range t.Methods() {
			if m.Exported() {
				a.walk(m.Type())
			}
		}
	}
}

func (a *api) walk(t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		a.named(t.Obj(), t)
		a.list(t.TypeArgs())
	case *types.Named:
		a.named(t.Obj(), t)
		a.list(t.TypeArgs())
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() {
				a.walk(f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			if m.Exported() {
				a.walk(m.Type())
			}
		}
	case *types.Signature:
		a.walk(t.Params())
		a.walk(t.Results())
	case *types.Tuple:
		for v := range t.Variables() {
			a.walk(v.Type())
		}
	case *types.Map:
		a.walk(t.Key())
		a.walk(t.Elem())
	case interface{ Elem() types.Type }: // arrays, channels, pointers, slices
		a.walk(t.Elem())
	}
}

func (a *api) list(args *types.TypeList) {
	for t := range args.Types() {
		a.walk(t)
	}
}

// isHidden reports whether clients keep the types of a package to themselves: those
// of the engine, and of every other module.
func isHidden(pkg *types.Package) bool {
	if pkg == nil { // of the language
		return false
	}
	ours, isOurs := strings.CutPrefix(pkg.Path(), module+"/")
	if !isOurs {
		return isLibrary(pkg.Path())
	}
	for _, dir := range engine {
		if within(ours, dir) {
			return true
		}
	}
	return false
}

func TestExportedNamesCarryNoTypesOfTheEngineOrOfLibraries(t *testing.T) {
	for _, pkg := range load(t) {
		for _, name := range pkg.Scope().Names() {
			obj := pkg.Scope().Lookup(name)
			if !obj.Exported() {
				continue
			}
			a := api{pkg: pkg, seen: map[types.Type]bool{}, report: func(found *types.TypeName) {
				if isHidden(found.Pkg()) {
					t.Errorf("%s.%s shows %s.%s, but exported names may not show types of the engine or of libraries",
						pkg.Path(), name, found.Pkg().Path(), found.Name())
				}
			}}
			a.object(obj)
		}
	}
}
