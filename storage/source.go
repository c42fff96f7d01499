package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Source is a set of samples from outside, read as a stream. It is safe for
// concurrent use.
type Source interface {
	// Name is the path that messages call the source by.
	Name() string
	// Schema says what the samples hold: class names and extra columns.
	Schema() Schema
	// Rows is the number of rows, unusable ones included.
	Rows() int64
	// LeftOut names the columns that no sample holds, each with the reason.
	LeftOut() []string
	// Samples reads the rows from the given one on, in an order that does not
	// change. Each row is yielded exactly once, so that the n-th pair is of row
	// from+n: either a sample, or a *RowError after which the stream goes on. Any
	// other error ends it. Splits that a row does not give are "".
	Samples(ctx context.Context, from int64) iter.Seq2[Sample, error]
	// Fingerprint is a hash over the names, sizes and contents of all files that
	// the rows are read from, 64 hexadecimal digits. It reads them all.
	Fingerprint(ctx context.Context) (string, error)
}

// Reads reports whether a source, one of [OpenFiles] or [OpenImages], is read from the
// file of a path, by whatever name.
func Reads(s Source, path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	files, lists := s.(interface{ paths() []string })
	if err != nil || !lists {
		return false, err
	}
	for _, p := range files.paths() {
		if other, err := os.Stat(p); err == nil && os.SameFile(info, other) { // one that is not there is found out when it is read
			return true, nil
		}
	}
	return false, nil
}

// RowError says why a row of a source cannot be used, while others can.
type RowError struct {
	Source string // file that lists the row
	Row    int64  // in that file, counted from 0
	ID     string // "" if unknown
	Err    error
}

func (e *RowError) Error() string {
	if e.ID == "" {
		return fmt.Sprintf("%q: row %d: %v", e.Source, e.Row, e.Err)
	}
	return fmt.Sprintf("%q: row %d: %q: %v", e.Source, e.Row, e.ID, e.Err)
}

func (e *RowError) Unwrap() error { return e.Err }

// parseLabel reads a label given as text: a class name, an index, or nothing.
func parseLabel(text string, classes []string) (int64, error) {
	if text == "" {
		return NoLabel, nil
	}
	if i := slices.Index(classes, text); i >= 0 {
		return int64(i), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil && len(classes) == 0 {
		return 0, fmt.Errorf("label %q, want a whole number, as no class names are given", text)
	}
	if err != nil {
		return 0, fmt.Errorf("label %q is none of the classes %q%s", text, classes, didYouMean(text, classes))
	}
	return checkLabel(n, classes)
}

// checkLabel holds an index against the class names.
func checkLabel(n int64, classes []string) (int64, error) {
	switch {
	case n < 0 && len(classes) == 0:
		return 0, fmt.Errorf("label %d, want a class index of at least 0", n)
	case n < 0 || len(classes) > 0 && n >= int64(len(classes)):
		return 0, fmt.Errorf("label %d, want a class index from 0 to %d or one of %q", n, len(classes)-1, classes)
	}
	return n, nil
}

// splitWord gives the three common splits the names that they have here, and
// leaves other words alone.
func splitWord(word string) string {
	switch strings.ToLower(word) {
	case "train":
		return "train"
	case "val", "validation", "valid", "dev":
		return "val"
	case "test":
		return "test"
	}
	return word
}

func checkSplit(word string) error {
	if word != "" && !IsSplit(word) {
		return fmt.Errorf("split %q, want a word such as train", word)
	}
	return nil
}

// didYouMean suggests the nearest of the known names, or nothing if none is near.
func didYouMean(name string, known []string) string {
	best, least := "", len([]rune(name))/2+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// editDistance is Levenshtein's: insertions, deletions and substitutions.
func editDistance(a, b string) int {
	t := []rune(b)
	row := make([]int, len(t)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range []rune(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range t {
			d := diagonal
			if x != y {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(t)]
}

// inOrder yields work(0) to work(n-1) in order while up to workers of them are
// computed ahead. No call outlives the sequence.
func inOrder[T any](workers, n int, work func(i int) T) iter.Seq[T] {
	workers = max(workers, 1)
	return func(yield func(T) bool) {
		var wg sync.WaitGroup
		defer wg.Wait()
		ahead := make([]chan T, workers)
		next := 0
		for i := range n {
			for ; next < min(n, i+workers); next++ {
				at, c := next, make(chan T, 1)
				ahead[at%workers] = c
				wg.Go(func() { c <- work(at) })
			}
			if !yield(<-ahead[i%workers]) {
				return
			}
		}
	}
}

// samplesInOrder yields the rows from one up to n as read gives them, while up to
// workers of them are read ahead.
func samplesInOrder(ctx context.Context, workers int, from, n int64, read func(i int) (Sample, error)) iter.Seq2[Sample, error] {
	type result struct {
		sample Sample
		err    error
	}
	return func(yield func(Sample, error) bool) {
		start := int(min(max(from, 0), n))
		for r := range inOrder(workers, int(n)-start, func(i int) result {
			sample, err := read(start + i)
			return result{sample, err}
		}) {
			if err := ctx.Err(); err != nil {
				yield(Sample{}, err)
				return
			}
			if !yield(r.sample, r.err) {
				return
			}
		}
	}
}
