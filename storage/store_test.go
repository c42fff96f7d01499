package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var recipe = Recipe{Kind: "model", Code: 1, Config: json.RawMessage(`{"b":1,"a":2}`), Seed: 7}

func keyOf(t testing.TB, r Recipe) string {
	t.Helper()
	key, err := r.Key()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func openTestStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openDraft(t testing.TB, s *Store) *Draft {
	t.Helper()
	d, err := s.Draft("model", keyOf(t, recipe))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// published makes the artefact of recipe with two files.
func published(t testing.TB, s *Store) *Artefact {
	t.Helper()
	d := openDraft(t, s)
	fillDraft(t, d)
	a, err := d.Publish(Manifest{Recipe: recipe})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func fillDraft(t testing.TB, d *Draft) {
	t.Helper()
	err := os.MkdirAll(d.Path("data"), 0o755)
	if err == nil {
		err = os.WriteFile(d.Path("data", "a"), []byte("first"), 0o644)
	}
	if err == nil {
		err = AtomicWriteFile(d.Path("b"), []byte("second"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// checkArtefact holds an artefact against what published makes.
func checkArtefact(t testing.TB, a *Artefact) {
	t.Helper()
	want := []ManifestFile{{"b", 6}, {"data/a", 5}}
	if diff := cmp.Diff(want, a.Manifest.Files); diff != "" {
		t.Error(diff)
	}
	for name, content := range map[string]string{"b": "second", "data/a": "first"} {
		got, err := os.ReadFile(a.Path(name))
		if err != nil || string(got) != content {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, content)
		}
	}
	entries, err := os.ReadDir(a.Dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("got %v, %v, want b, data and %s alone", entries, err, manifestName)
	}
}

func TestWhatIsPublishedIsFound(t *testing.T) {
	s := openTestStore(t, filepath.Join(t.TempDir(), "not", "yet", "there"))
	if _, err := s.Lookup("model", keyOf(t, recipe)); !errors.Is(err, ErrNotPublished) {
		t.Errorf("got error %v, want %v", err, ErrNotPublished)
	}
	a := published(t, s)
	checkArtefact(t, a)
	found, err := s.Lookup("model", keyOf(t, recipe))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.Manifest.Files, found.Manifest.Files); diff != "" || found.Dir != a.Dir || found.Manifest.Key != keyOf(t, recipe) {
		t.Errorf("got %v in %q: %s", found.Manifest, found.Dir, diff)
	}
	if _, err := s.Draft("model", keyOf(t, recipe)); !errors.Is(err, ErrPublished) {
		t.Errorf("got error %v, want %v", err, ErrPublished)
	}
	entries, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Entry{{Kind: "model", Key: keyOf(t, recipe), Dir: a.Dir}}, entries); diff != "" {
		t.Error(diff)
	}
}

// failingStore is failingDisk for all that a store does.
type failingStore struct{ failingDisk }

func (d *failingStore) RemoveAll(path string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.failingDisk.RemoveAll(path)
}

func (d *failingStore) SyncDir(path string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.failingDisk.SyncDir(path)
}

func (d *failingStore) Sync(path string) error {
	if err := d.step(); err != nil {
		return err
	}
	return osStoreDisk{}.Sync(path)
}

func (d *failingStore) Lock(path string) (io.Closer, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	return osStoreDisk{}.Lock(path)
}

func TestACrashInPublishLeavesTheDraftOrTheWholeArtefact(t *testing.T) {
	key := keyOf(t, recipe)
	drafts, wholes := 0, 0
	for n := 0; ; n++ {
		dir := t.TempDir()
		failing, err := openStore(dir, &failingStore{failingDisk{left: n}})
		if err != nil {
			t.Fatal(err)
		}
		done := false
		if d, err := failing.Draft("model", key); err == nil {
			fillDraft(t, d)
			_, err = d.Publish(Manifest{Recipe: recipe})
			done = err == nil
			if !done && !errors.Is(err, errFull) {
				t.Fatalf("call %d fails: got error %v, want %v", n, err, errFull)
			}
			d.Close() // as the end of the process would
		}
		s := openTestStore(t, dir)
		a, err := s.Lookup("model", key)
		switch {
		case err == nil:
			wholes++
		case errors.Is(err, ErrNotPublished) && !done:
			drafts++
			d := openDraft(t, s)
			fillDraft(t, d)
			if a, err = d.Publish(Manifest{Recipe: recipe}); err != nil {
				t.Fatalf("call %d fails: what is left cannot be published: %v", n, err)
			}
		default:
			t.Fatalf("call %d fails: got error %v", n, err)
		}
		checkArtefact(t, a)
		if done {
			break
		}
	}
	if drafts < 10 || wholes < 2 {
		t.Errorf("%d drafts and %d artefacts: the faults do not reach both sides of the renaming", drafts, wholes)
	}
}

func TestADraftBelongsToOneHandle(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	d := openDraft(t, s)
	_, err := s.Draft("model", keyOf(t, recipe))
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Fatalf("got error %v, want a LockedError with process %d", err, os.Getpid())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again := openDraft(t, s)
	if !again.Resumed {
		t.Error("the draft is not said to be resumed")
	}
	if err := again.Discard(); err != nil {
		t.Fatal(err)
	}
	if exists(again.Dir) {
		t.Errorf("%q is left", again.Dir)
	}
	if d := openDraft(t, s); d.Resumed {
		t.Error("a discarded draft is said to be resumed")
	} else if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// holdEnv names a store to this test binary, run as another process that holds a
// draft in it until it is killed.
const holdEnv = "SURROGAZE_TEST_HOLD"

func TestMain(m *testing.M) {
	dir := os.Getenv(holdEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := OpenStore(dir)
	if err == nil {
		key, _ := recipe.Key()
		_, err = s.Draft("model", key)
	}
	fmt.Println(err)
	select {}
}

func TestWhoWaitsForADraftIsToldOnceForWhom(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	d := openDraft(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var told []Holder
	_, err := s.AwaitDraft(ctx, "model", keyOf(t, recipe), func(l *LockedError) {
		told = append(told, l.Holder)
		time.AfterFunc(500*time.Millisecond, cancel) // after a few more tries
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got error %v, want %v", err, context.Canceled)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Holder{{os.Getpid(), host}}, told); diff != "" {
		t.Error(diff)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheMakerOfADraftIsKnownWhileItIsOpen(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	d := openDraft(t, s)
	if who, open, err := s.Maker("model", keyOf(t, recipe)); err != nil || !open || who.PID != os.Getpid() {
		t.Errorf("found %v, %v, %v, want process %d", who, open, err, os.Getpid())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if who, open, err := s.Maker("model", keyOf(t, recipe)); err != nil || open {
		t.Errorf("found %v, %v, %v, want nobody", who, open, err)
	}
}

// TestALockIsOfARegularFileOpenForWriting is what NFS wants to pass it on to its server.
func TestALockIsOfARegularFileOpenForWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := lockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		t.Errorf("found %v, %v, want a file that names its holder", info, err)
	}
	if err := lock.Close(); err != nil || exists(path) {
		t.Errorf("the file is left: %v", err)
	}
}

func TestAFolderIsWrittenByOneAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	lock, err := LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockFolder(dir)
	var locked *FolderLockedError
	if !errors.As(err, &locked) || locked.Dir != dir || locked.PID != os.Getpid() {
		t.Fatalf("got error %v, want a FolderLockedError with the folder and process %d", err, os.Getpid())
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Dir(dir)) {
		t.Error("folders that nothing was put into are left")
	}
	if lock, err = LockFolder(dir); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "x"), nil, 0o644), lock.Release()); err != nil {
		t.Fatal(err)
	}
	if names, err := FolderEntries(dir); err != nil || len(names) != 1 || exists(filepath.Join(dir, folderLockName)) {
		t.Errorf("found %q, %v, want the file alone", names, err)
	}
}

// TestLocksExcludeEachOtherWhileTheirFilesComeAndGo takes a lock again and again from many
// sides: its file is removed each time.
func TestLocksExcludeEachOtherWhileTheirFilesComeAndGo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	var holders, taken atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				lock, err := LockFolder(dir)
				if locked := (*FolderLockedError)(nil); errors.As(err, &locked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				taken.Add(1)
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d have the lock", n)
				}
				holders.Add(-1)
				if err := lock.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if taken.Load() == 0 {
		t.Error("nobody got the lock")
	}
}

func TestLeftoversOfOtherFilesAreNotSwept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	own, other, plain := TemporaryName(path), TemporaryName(path+".csv"), filepath.Join(filepath.Dir(path), ".x.tmp")
	for _, name := range []string{own, other, plain} {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(path); err != nil {
		t.Fatal(err)
	}
	if exists(own) || !exists(other) || !exists(plain) {
		t.Errorf("left: own %v, another's %v, of another name %v; want the last two alone", exists(own), exists(other), exists(plain))
	}
}

func TestWritersOfOneFileDoNotDisturbEachOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	err := AtomicWrite(path, func(w io.Writer) error {
		if err := AtomicWriteFile(path, []byte("of another")); err != nil {
			return err
		}
		_, err := io.WriteString(w, "own")
		return err
	})
	if text, readErr := os.ReadFile(path); err != nil || readErr != nil || string(text) != "own" {
		t.Errorf("found %q, %v, %v, want what the last one wrote", text, err, readErr)
	}
}

func TestAKilledProcessLeavesNoLock(t *testing.T) {
	dir := t.TempDir()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdEnv+"="+dir)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Wait()
	defer holder.Process.Kill()
	var said string
	if _, err := fmt.Fscanln(out, &said); err != nil || said != "<nil>" {
		t.Fatalf("the other process says %q, %v", said, err)
	}
	s := openTestStore(t, dir)
	_, err = s.Draft("model", keyOf(t, recipe))
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != holder.Process.Pid {
		t.Fatalf("got error %v, want a LockedError with process %d", err, holder.Process.Pid)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.AwaitDraft(ctx, "model", keyOf(t, recipe), func(*LockedError) {}); !errors.Is(err, context.Canceled) || !errors.As(err, &locked) {
		t.Errorf("got error %v, want %v and who has the draft", err, context.Canceled)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	limit, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	d, err := s.AwaitDraft(limit, "model", keyOf(t, recipe), func(*LockedError) {})
	if err != nil {
		t.Fatal(err)
	}
	if !d.Resumed {
		t.Error("the draft is not said to be resumed")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestAResumedDraftHasWhatWasFinishedAndNothingHalfWritten(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	d := openDraft(t, s)
	fillDraft(t, d)
	half := TemporaryName(d.Path("data", "c"))
	if err := os.WriteFile(half, []byte("ha"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openDraft(t, s)
	if exists(half) {
		t.Errorf("%q is left", half)
	}
	a, err := d.Publish(Manifest{Recipe: recipe})
	if err != nil {
		t.Fatal(err)
	}
	checkArtefact(t, a)
}

func TestPublishRefusesWhatIsNotTheDrafts(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	d := openDraft(t, s)
	other := recipe
	other.Seed++
	if _, err := d.Publish(Manifest{Recipe: other}); err == nil || !strings.Contains(err.Error(), "the manifest is of model") {
		t.Errorf("got error %v, want one about another manifest", err)
	}
	if err := os.Symlink("/", d.Path("link")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Publish(Manifest{Recipe: recipe}); err == nil || !strings.Contains(err.Error(), "want files and folders only") {
		t.Errorf("got error %v, want one about the link", err)
	}
	if err := os.Remove(d.Path("link")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Publish(Manifest{Recipe: recipe}); err != nil {
		t.Error(err)
	}
	if _, err := d.Publish(Manifest{Recipe: recipe}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("published twice: got error %v", err)
	}
}

func TestLookupNoticesWhatWasChangedAfterwards(t *testing.T) {
	for name, c := range map[string]struct {
		change func(a *Artefact) error
		want   string
	}{
		"file removed":     {func(a *Artefact) error { return os.Remove(a.Path("b")) }, "was changed after it was published"},
		"file longer":      {func(a *Artefact) error { return os.WriteFile(a.Path("b"), []byte("longer"+"!"), 0o644) }, `file "b" has 7 bytes, want 6`},
		"manifest removed": {func(a *Artefact) error { return os.Remove(a.Path(manifestName)) }, "so it is no artefact: move it away"},
		"manifest cut":     {func(a *Artefact) error { return os.Truncate(a.Path(manifestName), 20) }, "unexpected end of JSON"},
		"recipe edited": {func(a *Artefact) error {
			text, err := os.ReadFile(a.Path(manifestName))
			return errors.Join(err, os.WriteFile(a.Path(manifestName), bytes.Replace(text, []byte(`"seed": 7`), []byte(`"seed": 8`), 1), 0o644))
		}, "but what it was made from has key"},
		"folder a file": {func(a *Artefact) error { return errors.Join(os.RemoveAll(a.Dir), os.WriteFile(a.Dir, nil, 0o644)) }, "want a folder, found a file"},
		"another artefact": {func(a *Artefact) error {
			m := a.Manifest
			m.Seed++
			key, err := m.Recipe.Key()
			m.Key = key
			text, encoded := m.encode()
			return errors.Join(err, encoded, os.WriteFile(a.Path(manifestName), text, 0o644))
		}, "holds model"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openTestStore(t, t.TempDir())
			if err := c.change(published(t, s)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Lookup("model", keyOf(t, recipe)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestNamesThatAreNoneOfTheStoresAreRefused(t *testing.T) {
	dir := t.TempDir()
	s := openTestStore(t, dir)
	for _, c := range [][2]string{{"../model", keyOf(t, recipe)}, {"", keyOf(t, recipe)}, {"model", "../x"}, {"model", strings.Repeat("A", 64)}} {
		if _, err := s.Lookup(c[0], c[1]); err == nil || errors.Is(err, ErrNotPublished) {
			t.Errorf("look up %q: got error %v", c, err)
		}
		if _, err := s.Draft(c[0], c[1]); err == nil {
			t.Errorf("draft of %q: no error", c)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "model", "notes"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(); err == nil || !strings.Contains(err.Error(), "notes") {
		t.Errorf("got error %v, want one that names the folder", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(file); err == nil || !strings.Contains(err.Error(), "want a folder, found a file") {
		t.Errorf("got error %v, want one about a file", err)
	}
}

func TestAtomicWriteLeavesTheOldContentOrTheNew(t *testing.T) {
	for n := 0; ; n++ {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		err := writeFile(&failingStore{failingDisk{left: n}}, path, []byte("the new content"))
		got, readErr := os.ReadFile(path)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if string(got) != "the new content" && (err == nil || string(got) != "old") {
			t.Fatalf("call %d fails: got error %v and content %q", n, err, got)
		}
		// What a failed write leaves stands in nobody's way, and is swept.
		if err := errors.Join(AtomicWriteFile(path, []byte("again")), Sweep(path)); err != nil {
			t.Fatal(err)
		}
		entries, readErr := os.ReadDir(filepath.Dir(path))
		if readErr != nil || len(entries) != 1 {
			t.Fatalf("call %d fails: %v is left", n, entries)
		}
		if err == nil {
			break
		}
	}
	path := filepath.Join(t.TempDir(), "file")
	broken := errors.New("broken")
	if err := AtomicWrite(path, func(io.Writer) error { return broken }); !errors.Is(err, broken) || !strings.Contains(err.Error(), path) {
		t.Errorf("got error %v, want %v with the path", err, broken)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 0 {
		t.Errorf("found %v, %v, want nothing left of a write that failed", entries, err)
	}
}

func TestKeysDependOnWhatARecipeSaysAndNotOnHow(t *testing.T) {
	// sha256sum of {"code":1,"config":{"a":2,"b":1},"kind":"model","seed":7}. A change
	// here makes every run anew.
	const golden = "470fa6f12bb53365"
	if key := keyOf(t, recipe); !strings.HasPrefix(key, golden) {
		t.Errorf("got key %s, want %s...", key, golden)
	}
	same := recipe
	same.Config = json.RawMessage("{ \"a\": 2,\n\"b\": 1 }")
	if keyOf(t, same) != keyOf(t, recipe) {
		t.Error("the order of the fields and white space change the key")
	}
	for name, change := range map[string]func(*Recipe){
		"kind": func(r *Recipe) { r.Kind = "maps" }, "code": func(r *Recipe) { r.Code++ }, "seed": func(r *Recipe) { r.Seed++ },
		"config": func(r *Recipe) { r.Config = json.RawMessage(`{"a":2,"b":1.5}`) },
		"inputs": func(r *Recipe) { r.Inputs = map[string]string{"data": "x"} }, "data": func(r *Recipe) { r.Data = "x" },
	} {
		other := recipe
		change(&other)
		if keyOf(t, other) == keyOf(t, recipe) {
			t.Errorf("%s does not change the key", name)
		}
	}
}

func TestCanonicalJSONIsOneTextAValue(t *testing.T) {
	got, err := Canonical(struct {
		B int64
		A map[string]any
	}{math.MaxInt64, map[string]any{"y": 0.1, "x": []int{1}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"A":{"x":[1],"y":0.1},"B":9223372036854775807}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := Canonical(math.NaN()); err == nil {
		t.Error("NaN has a canonical form")
	}
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.MapOf(rapid.String(), rapid.Float64Range(-1e300, 1e300)).Draw(t, "m")
		once, err := Canonical(m)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := Canonical(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("got %s and then %s, %v", once, twice, err)
		}
	})
}

func TestHostileManifestsAreRefused(t *testing.T) {
	m := Manifest{Recipe: recipe, Key: keyOf(t, recipe)}
	for _, path := range []string{"../secret", "/etc/passwd", "a/../../b", ""} {
		m.Files = []ManifestFile{{Path: path}}
		text, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseManifest(text); err == nil || !strings.Contains(err.Error(), "want a path inside the artefact") {
			t.Errorf("%q: got error %v", path, err)
		}
	}
	for _, text := range []string{"", "{}", "[]", "null", `{"key":1}`, `{"config":` + strings.Repeat("[", 20000)} {
		if _, err := parseManifest([]byte(text)); err == nil {
			t.Errorf("%.20q is taken for a manifest", text)
		}
	}
	if _, err := parseManifest(make([]byte, maxManifest+1)); err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Errorf("got error %v, want one about the size", err)
	}
}

func FuzzManifest(f *testing.F) {
	key, err := recipe.Key()
	if err != nil {
		f.Fatal(err)
	}
	text, err := Manifest{Recipe: recipe, Key: key, Files: []ManifestFile{{"a", 1}}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"kind":"x","files":[{"path":"../x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(text)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseManifest(again); err != nil {
			t.Fatalf("what was written back is refused: %v", err)
		}
		for _, file := range m.Files {
			if !fs.ValidPath(filepath.ToSlash(filepath.Clean(file.Path))) {
				t.Fatalf("path %q", file.Path)
			}
		}
	})
}
