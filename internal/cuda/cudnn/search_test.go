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

func TestFoldersAreNamedByTheCallerAndThenByTheEnvironment(t *testing.T) {
	clean(t)
	t.Setenv(Folders, "/b::/c")
	named, found := folders(t.TempDir(), []string{"/a"})
	if want := []string{"/a", "/b", "/c"}; !slices.Equal(named, want) || !slices.Equal(found, []string{""}) {
		t.Errorf("named %q and found %q, want %q and the loader's own", named, found, want)
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
	if _, got := folders(root, nil); !slices.Equal(got, want) {
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
	if _, got := folders(t.TempDir(), nil); !slices.Equal(got, want) {
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
	if _, got := folders(t.TempDir(), nil); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// wheel is the library's folder as pip makes it, with the header of version 9 of a minor.
func wheel(t *testing.T, python, minor string) string {
	t.Helper()
	dir := folder(t, python, "lib/python3.12/site-packages/nvidia/cudnn/lib")
	header := "#define CUDNN_VERSION_H_\n\n#define CUDNN_MAJOR 9\n#define CUDNN_MINOR " + minor + "\n#define CUDNN_PATCHLEVEL 2\n"
	if err := os.WriteFile(filepath.Join(folder(t, dir, "..", "include"), "cudnn_version.h"), []byte(header), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheVersionOfAFileIsThatOfItsLinkOrItsHeader(t *testing.T) {
	dir, pip := t.TempDir(), wheel(t, t.TempDir(), "19")
	system := filepath.Join(dir, "libcudnn.so.9")
	if err := os.Symlink("libcudnn.so.9.14.0", system); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "libcudnn.so.9.14.0"))
	bare := filepath.Join(folder(t, dir, "bare"), "libcudnn.so.9")
	for file, want := range map[string][]int{
		system:                              {9, 14, 0},
		filepath.Join(pip, "libcudnn.so.9"): {9, 19, 2},
		filepath.Join(pip, "libcudnn.so.8"): {8}, // the header is another's
		bare:                                {9},
	} {
		if got := versionOf(file); !slices.Equal(got, want) {
			t.Errorf("%s is of version %v, want %v", file, got, want)
		}
	}
	files := []string{bare, system, filepath.Join(pip, "libcudnn.so.9")}
	want := []string{files[2], files[1], files[0]}
	if newest(files); !slices.Equal(files, want) {
		t.Errorf("sorted %q, want %q", files, want)
	}
}
