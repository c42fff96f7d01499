package storage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func openQuarantine(t *testing.T, path string) *Quarantine {
	t.Helper()
	q, err := OpenQuarantine(path)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func add(t *testing.T, q *Quarantine, row int64, reason string) {
	t.Helper()
	if err := q.Add(&RowError{Source: "a.parquet", Row: row, ID: "<x>", Err: errors.New(reason)}); err != nil {
		t.Fatal(err)
	}
}

func TestQuarantineGoesOnWhereACrashLeftIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "quarantine.jsonl")
	q := openQuarantine(t, path)
	add(t, q, 3, "torn")
	add(t, q, 5, "blank")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	const want = `{"source":"a.parquet","row":3,"id":"<x>","reason":"torn"}
{"source":"a.parquet","row":5,"id":"<x>","reason":"blank"}
`
	// A crash may cut the last line anywhere; a row that comes again is listed once.
	for cut := len(want)/2 + 1; cut <= len(want); cut++ {
		if err := os.WriteFile(path, []byte(want[:cut]), 0o644); err != nil {
			t.Fatal(err)
		}
		q := openQuarantine(t, path)
		add(t, q, 3, "torn")
		add(t, q, 5, "blank")
		if q.Len() != 2 {
			t.Fatalf("cut at %d: %d rows, want 2", cut, q.Len())
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != want {
			t.Fatalf("cut at %d: got %s, want %s", cut, got, want)
		}
	}
}

func TestAForeignFileIsNoQuarantine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	for content, want := range map[string]string{"{}\nmy notes\n": "line 2", "my notes": `found "my notes" at the end`} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenQuarantine(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
		if text, _ := os.ReadFile(path); string(text) != content {
			t.Errorf("the file was changed to %q", text)
		}
	}
}

func TestTooManyBadRowsAreAnErrorWithTheFirstReasons(t *testing.T) {
	q := openQuarantine(t, filepath.Join(t.TempDir(), "quarantine.jsonl"))
	defer q.Close()
	for i, reason := range []string{"first", "second", "third", "fourth"} {
		add(t, q, int64(i), reason)
	}
	if err := q.Check(400, 0.01, true, "out/list"); err != nil {
		t.Errorf("4 of 400 rows: got error %v, want none at 1 %%", err)
	}
	err := q.Check(399, 0.01, true, "out/list")
	for _, want := range []string{`4 of 399 rows (1 %) cannot be used, want at most 1 % (all are in "out/list"), the first: `, `"a.parquet": row 0: "<x>": first`, "third"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
	if err == nil || strings.Contains(err.Error(), "fourth") {
		t.Errorf("got error %v, want the first %d reasons", err, shownReasons)
	}
}

func TestTooManyBadRowsOfSomeAreAtLeastSoMany(t *testing.T) {
	q := openQuarantine(t, filepath.Join(t.TempDir(), "quarantine.jsonl"))
	defer q.Close()
	add(t, q, 7, "torn")
	err := q.Check(50, 0.01, false, "out/list")
	const want = `at least 1 of 50 rows (2 %) cannot be used, want at most 1 % (stopped there; those found are in "out/list"), the first: `
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %v, want %q", err, want)
	}
}

func TestAListThatIsReadIsThatWhichWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "quarantine.jsonl")
	q := openQuarantine(t, path)
	add(t, q, 3, "torn")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	read, err := ReadQuarantine(path)
	if err != nil {
		t.Fatal(err)
	}
	if read.Len() != 1 || !read.Has("a.parquet", 3) {
		t.Errorf("found %d rows, want row 3 alone", read.Len())
	}
}
