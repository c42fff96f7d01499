package storage

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// labelRow is one line of a Folder's CSV file.
type labelRow struct {
	line               int // counted from 1
	file, split, group string
	label              int64
	text               string // the label as written
}

// columns of a Folder's CSV file; -1 for one that is not there.
type csvColumns struct{ file, label, split, group int }

// readLabels reads a Folder's CSV file. The class names returned are those given,
// or if there are none, those found.
func readLabels(text []byte, classes []string) ([]labelRow, []string, error) {
	if err := (Schema{Classes: classes}).validate(); err != nil {
		return nil, nil, err
	}
	rows, err := readCSV(text)
	if err != nil {
		return nil, nil, err
	}
	if len(classes) == 0 {
		classes = classesOf(rows)
	}
	for i := range rows {
		if rows[i].label, err = parseLabel(rows[i].text, classes); err != nil {
			return nil, nil, fmt.Errorf("line %d: %q: %w", rows[i].line, rows[i].file, err)
		}
	}
	return rows, classes, nil
}

func readCSV(text []byte) ([]labelRow, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	r.ReuseRecord = true
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty, want a header with the columns file, label")
	}
	if err != nil {
		return nil, err
	}
	columns, err := findColumns(header)
	if err != nil {
		return nil, err
	}
	var rows []labelRow
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		line, _ := r.FieldPos(0)
		row, err := columns.row(record, line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil, errors.New("no lines below the header, want one an image")
	}
	return rows, nil
}

func findColumns(header []string) (csvColumns, error) {
	at := map[string]int{}
	var names []string
	for i, h := range header {
		name := strings.TrimSpace(h)
		if _, twice := at[name]; twice {
			return csvColumns{}, fmt.Errorf("line 1: column %q is there twice", name)
		}
		at[name] = i
		names = append(names, name)
	}
	find := func(name string) int {
		if i, ok := at[name]; ok {
			return i
		}
		return -1
	}
	c := csvColumns{file: find("file"), label: find("label"), split: find("split"), group: find("group")}
	for _, name := range []string{"file", "label"} {
		if find(name) < 0 {
			return c, fmt.Errorf("line 1: no column %q among %q, want a header with the columns file, label and perhaps split, group, separated by commas%s",
				name, names, didYouMean(name, names))
		}
	}
	return c, nil
}

func (c csvColumns) row(record []string, line int) (labelRow, error) {
	field := func(i int) string {
		if i < 0 {
			return ""
		}
		return strings.Clone(strings.TrimSpace(record[i]))
	}
	row := labelRow{line: line, file: field(c.file), text: field(c.label), split: splitWord(field(c.split)), group: field(c.group)}
	if err := checkFile(row.file); err != nil {
		return row, err
	}
	if !utf8.ValidString(row.split + row.group) {
		return row, fmt.Errorf("file %q: the line is not UTF-8", row.file)
	}
	if err := checkSplit(row.split); err != nil {
		return row, fmt.Errorf("file %q: %w", row.file, err)
	}
	return row, nil
}

// checkFile tells what is wrong with a file name of a list.
func checkFile(name string) error {
	switch {
	case name == "":
		return errors.New("no file name")
	case !filepath.IsLocal(filepath.FromSlash(name)):
		return fmt.Errorf("file %q, want a path inside the folder of the images", name)
	case !utf8.ValidString(name):
		return fmt.Errorf("file %q: the line is not UTF-8", name)
	}
	return nil
}

// classesOf are the labels found, sorted, or nil if all are whole numbers.
func classesOf(rows []labelRow) []string {
	var words []string
	numbers := true
	for _, r := range rows {
		if r.text == "" {
			continue
		}
		_, err := strconv.ParseInt(r.text, 10, 64)
		numbers = numbers && err == nil
		words = append(words, r.text)
	}
	if numbers {
		return nil
	}
	slices.Sort(words)
	return slices.Compact(words)
}
