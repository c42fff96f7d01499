package cudnn

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// clean is an environment that names nothing.
func clean(t *testing.T) {
	t.Helper()
	for _, name := range []string{Folders, "VIRTUAL_ENV", "CONDA_PREFIX"} {
		t.Setenv(name, "")
	}
	t.Setenv("PATH", t.TempDir())
	t.Setenv("HOME", t.TempDir())
}

// folder makes one.
func folder(t *testing.T, elements ...string) string {
	t.Helper()
	dir := filepath.Join(elements...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestFoldersThatWereAskedForComeFirst(t *testing.T) {
	clean(t)
	t.Setenv(Folders, "/b:/c")
	if got, want := folders(t.TempDir(), []string{"/a"}), []string{"/a", "/b", "/c", ""}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestTheSystemsFoldersComeLast(t *testing.T) {
	clean(t)
	root := t.TempDir()
	want := []string{"",
		folder(t, root, "usr/local/lib/python3.12/dist-packages/nvidia/cudnn/lib"),
		folder(t, root, "usr/local/cuda/lib64"),
		folder(t, root, "usr/lib/x86_64-linux-gnu"),
	}
	if got := folders(root, nil); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// Its python3 is a link to that of another installation, as in every such environment.
func TestTheEnvironmentWhosePythonIsOnThePathIsFound(t *testing.T) {
	clean(t)
	root := t.TempDir()
	want := []string{"",
		folder(t, root, "venv/lib/python3.12/site-packages/nvidia/cudnn/lib"),
		folder(t, root, "venv/lib/python3.12/site-packages/nvidia/cu13/lib"),
		folder(t, root, "python/lib/python3.12/site-packages/nvidia/cudnn/lib"),
	}
	bin := folder(t, root, "venv/bin")
	write(t, filepath.Join(folder(t, root, "python/bin"), "python3"))
	if err := os.Symlink(filepath.Join(root, "python/bin/python3"), filepath.Join(bin, "python3")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	if got := folders(t.TempDir(), nil); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestActiveEnvironmentsAreFoundWithoutAPythonOnThePath(t *testing.T) {
	clean(t)
	venv, conda := t.TempDir(), t.TempDir()
	want := []string{"",
		folder(t, venv, "lib/python3.11/site-packages/nvidia/cudnn/lib"),
		folder(t, conda, "lib/python3.10/site-packages/nvidia/cudnn/lib"),
		folder(t, conda, "lib"),
	}
	t.Setenv("VIRTUAL_ENV", venv)
	t.Setenv("CONDA_PREFIX", conda)
	if got := folders(t.TempDir(), nil); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
