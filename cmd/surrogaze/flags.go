package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/surrogaze/surrogaze/storage"
)

// formats are what --format of a command that runs a model may be; "" is none given.
type formats []string

func (f formats) check(format string) error {
	if format == "" || slices.Contains(f, format) {
		return nil
	}
	return misuse{fmt.Errorf("--format %q: want %s", format, f)}
}

func (f formats) String() string { return listed(f) }

// listed are words as a sentence has them.
func listed(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// Formats of data sets, and those that predict reads.
var (
	setFormats  = formats{"parquet", "arrow", "huggingface"}
	dataFormats = append(formats{"images"}, setFormats...)
)

// checkRun wants the flags of a command that runs a model to be in their ranges.
func checkRun(maxBad float64, workers, batch int) error {
	switch {
	case !(maxBad >= 0 && maxBad <= 1):
		return misuse{fmt.Errorf("--max-bad %v: want a share from 0 to 1", maxBad)}
	case workers < 0:
		return misuse{fmt.Errorf("--workers %d: want a number of cores, or 0 for all", workers)}
	case batch < 1:
		return misuse{fmt.Errorf("--batch %d: want at least 1", batch)}
	}
	return nil
}

func checkSplit(word string) error {
	if !storage.IsSplit(word) {
		return misuse{fmt.Errorf("--split %q: want a word such as train", word)}
	}
	return nil
}

// parseColumns reads the values of --column.
func parseColumns(flags []string) (map[string]string, error) {
	columns := map[string]string{}
	for _, c := range flags {
		ours, theirs, ok := strings.Cut(c, "=")
		if !ok {
			return nil, misuse{fmt.Errorf("--column %q: want ours=theirs, such as image=img", c)}
		}
		if roles := storage.Roles(); !slices.Contains(roles, ours) {
			return nil, misuse{fmt.Errorf("--column %q: want %s before the =", c, listed(roles))}
		}
		columns[ours] = theirs
	}
	return columns, nil
}
