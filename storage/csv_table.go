package storage

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// csvTable is what some columns of a CSV file with a header hold.
type csvTable struct {
	path string
	rows []csvRow
}

// csvRow is one line of a csvTable, its fields in the order of the columns asked for.
type csvRow struct {
	line   int // counted from 1
	fields []string
}

// readTable reads the columns of these names, which must be there.
func readTable(files fs.FS, path string, columns ...string) (*csvTable, error) {
	text, err := readList(files, path)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	t := &csvTable{path: path}
	if err := t.read(text, columns); err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	return t, nil
}

func (t *csvTable) read(text []byte, columns []string) error {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	r.FieldsPerRecord = -1 // headers of public sets differ from their lines
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the file is empty, want a header with the columns %s", strings.Join(columns, ", "))
	}
	if err != nil {
		return err
	}
	places, err := placesOf(columns, header)
	if err != nil {
		return fmt.Errorf("line 1: %w", err)
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		row := csvRow{line: line}
		for i, place := range places {
			if place >= len(record) {
				return fmt.Errorf("line %d: found %d fields, none for the column %q", line, len(record), columns[i])
			}
			row.fields = append(row.fields, strings.TrimSpace(record[place]))
		}
		t.rows = append(t.rows, row)
	}
	if len(t.rows) == 0 {
		return errors.New("no lines below the header")
	}
	return nil
}

// placesOf finds columns in a header.
func placesOf(columns, header []string) ([]int, error) {
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
	}
	var places []int
	for _, c := range columns {
		i := slices.Index(header, c)
		if i < 0 {
			return nil, fmt.Errorf("no column %q among %q%s", c, header, didYouMean(c, header))
		}
		places = append(places, i)
	}
	return places, nil
}

// numbers are the fields from the i-th on, read as numbers.
func (r csvRow) numbers(i int) ([]float64, error) {
	var list []float64
	for _, text := range r.fields[i:] {
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || x-x != 0 {
			return nil, fmt.Errorf("want a number, found %q", text)
		}
		list = append(list, x)
	}
	return list, nil
}
