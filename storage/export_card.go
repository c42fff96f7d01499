package storage

import (
	"fmt"
	"slices"
	"strings"
)

// cardColumn is a column as a card explains it.
type cardColumn struct{ name, typ, meaning string }

// groupMeaning says how far groups keep to one split.
func (x *export) groupMeaning() string {
	if n := len(x.set.TornGroups()); n > 0 {
		return fmt.Sprintf("subject, session or the like; %d groups have samples in more than one split", n)
	}
	return "samples of one group are in one split"
}

// parquetColumns explains the columns of the data set.
func (x *export) parquetColumns() []cardColumn {
	meanings := map[string]string{
		columnID:         "unique and stable",
		columnImage:      "as it came, never re-encoded",
		columnLabel:      "class; null where there is none",
		columnSaliency:   "where a human, or a model in their place, looks to decide: a grey map over the image as displayed (EXIF applied), of any size; null where there is none",
		columnSource:     "who made the map",
		columnModel:      "key of the model that made the map",
		columnQuality:    "estimated correlation of the map with a human's",
		columnSplit:      "train, val, test or another word",
		columnGroup:      x.groupMeaning(),
		columnReference:  "human map that training did not see",
		columnPrediction: "prediction beside a human map, by a model that did not see that map",
	}
	var columns []cardColumn
	for _, l := range x.set.schema.leaves() {
		columns = append(columns, cardColumn{l.column, l.feature.String(), meanings[l.column]})
	}
	return columns
}

func (f feature) String() string {
	if f.DType != "" {
		return f.DType
	}
	return f.Type
}

// writeCard writes README.md, the header of which tells Hugging Face datasets
// where the files of each split are.
func (x *export) writeCard(files func(split string) string, columns []cardColumn) error {
	var b strings.Builder
	b.WriteString("---\nconfigs:\n- config_name: default\n  data_files:\n")
	for _, split := range x.set.Splits() {
		fmt.Fprintf(&b, "  - split: %s\n    path: %q\n", split, files(split))
	}
	b.WriteString("---\n\n# Images with saliency maps\n\nWritten by surrogaze.\n\n## Samples\n\n")
	x.writeCounts(&b)
	b.WriteString("\n## Columns\n\n| column | type | meaning |\n|---|---|---|\n")
	for _, c := range columns {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(c.name), c.typ, c.meaning)
	}
	if classes := x.set.Classes(); len(classes) > 0 {
		b.WriteString("\n## Classes\n\n")
		for i, c := range classes {
			fmt.Fprintf(&b, "%d. %s (%d)\n", i+1, cell(c), i)
		}
	}
	if len(x.summary.Notes) > 0 {
		b.WriteString("\n## Notes\n\n")
		for _, n := range x.summary.Notes {
			fmt.Fprintf(&b, "- %d %s\n", n.Count, n.What)
		}
	}
	return x.createBytes("README.md", []byte(b.String()))
}

// writeCounts writes a table of the samples by split.
func (x *export) writeCounts(b *strings.Builder) {
	type counts struct {
		rows, unlabelled int
		sources          map[string]int
	}
	bySplit := map[string]*counts{}
	var sources []string
	for _, r := range x.set.Rows() {
		c := bySplit[r.Split]
		if c == nil {
			c = &counts{sources: map[string]int{}}
			bySplit[r.Split] = c
		}
		c.rows++
		if r.Label == NoLabel {
			c.unlabelled++
		}
		if r.HasMap {
			c.sources[r.SaliencySource]++
			if !slices.Contains(sources, r.SaliencySource) {
				sources = append(sources, r.SaliencySource)
			}
		}
	}
	slices.Sort(sources)
	b.WriteString("| split | samples | without label |")
	for _, s := range sources {
		fmt.Fprintf(b, " maps of source %s |", cell(s))
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(sources)) + "\n")
	for _, split := range x.set.Splits() {
		c := bySplit[split]
		fmt.Fprintf(b, "| %s | %d | %d |", split, c.rows, c.unlabelled)
		for _, s := range sources {
			fmt.Fprintf(b, " %d |", c.sources[s])
		}
		b.WriteString("\n")
	}
}

// cell makes a text fit for a cell of a Markdown table.
func cell(s string) string {
	return strings.NewReplacer("\\", "\\\\", "|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", "*", "\\*", "_", "\\_", "`", "\\`").Replace(s)
}
