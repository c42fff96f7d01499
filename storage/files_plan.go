package storage

import (
	"errors"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// Roles are the columns of a foreign set that have a meaning here.
func Roles() []string { return slices.Clone(roles) }

var roles = []string{columnID, columnImage, columnLabel, columnSplit, columnGroup}

// plan says which columns of a file are read and what they become. All indices
// are into pick, -1 for what the file does not have.
type plan struct {
	pick        []int // columns of the table
	bytes, path int
	id, label   int
	split       int
	group       int
	extra       []int    // of each extra column of the schema
	names       []string // of the classes in the file
	classes     []int64  // the index here of each of them, NoLabel for one that is not known here
}

// column is the file's name for a role: the one given, or else the role's own,
// unless that was given for another role.
func (f Files) column(role string) string {
	if name, given := f.Columns[role]; given {
		return name
	}
	for _, name := range f.Columns {
		if name == role {
			return ""
		}
	}
	return role
}

// makePlans decides on the schema and how each file fills it.
func (s *filesSource) makePlans() error {
	if err := s.findClasses(); err != nil {
		return err
	}
	s.findExtra()
	for i := range s.parts {
		if err := s.makePlan(&s.parts[i]); err != nil {
			return fmt.Errorf("%q: %w", s.parts[i].path, err)
		}
	}
	return s.schema.validate()
}

// findClasses takes the class names from the first file that gives any, unless the
// user did.
func (s *filesSource) findClasses() error {
	s.schema.Classes = s.files.Classes
	for i := range s.parts {
		if len(s.schema.Classes) == 0 {
			s.schema.Classes = s.parts[i].table.classNames(s.files.column(columnLabel))
		}
	}
	return s.schema.validate()
}

// findExtra collects the columns that have no role, in the order in which they
// first appear, and says of those that cannot be kept why.
func (s *filesSource) findExtra() {
	type found struct {
		tableColumn
		in     string // file that decided on the kind
		reason string
	}
	byName := map[string]*found{}
	var order []string
	for i := range s.parts {
		for _, c := range s.parts[i].table.columns() {
			if s.hasRole(c.name) {
				continue
			}
			f := byName[c.name]
			if f == nil {
				f = &found{tableColumn: c, in: s.parts[i].path, reason: whyLeftOut(c)}
				byName[c.name] = f
				order = append(order, c.name)
			}
			switch {
			case f.reason != "" || c.empty:
			case whyLeftOut(c) != "":
				f.reason = whyLeftOut(c)
			case f.empty:
				f.tableColumn, f.in = c, s.parts[i].path
			case f.kind != c.kind:
				f.reason = fmt.Sprintf("%s in %q, %s in %q", f.typ, f.in, c.typ, s.parts[i].path)
			}
		}
	}
	for _, name := range order {
		switch f := byName[name]; {
		case f.reason != "":
			s.left = append(s.left, fmt.Sprintf("column %q: %s", name, f.reason))
		case f.empty:
			s.left = append(s.left, fmt.Sprintf("column %q: null in all rows", name))
		default:
			s.schema.Extra = append(s.schema.Extra, Column{Name: name, Kind: f.kind})
		}
	}
}

func (s *filesSource) hasRole(name string) bool {
	return slices.ContainsFunc(roles, func(role string) bool { return s.files.column(role) == name })
}

// whyLeftOut says why a column cannot be an extra column, "" if it can.
func whyLeftOut(c tableColumn) string {
	switch {
	case slices.Contains(reserved, c.name):
		return "the name has another meaning here"
	case c.name == "" || strings.Contains(c.name, "."):
		return "want a name without dots"
	case c.field != "" || !c.usable && !c.empty:
		return fmt.Sprintf("of type %s, want one of %q", c.typ, kindNames)
	}
	return ""
}

func (s *filesSource) makePlan(p *part) error {
	b := planner{columns: p.table.columns()}
	if err := b.image(s.files.column(columnImage)); err != nil {
		return err
	}
	for _, r := range []struct {
		role  string
		at    *int
		kinds []Kind
	}{
		{columnID, &b.id, []Kind{String, Int64}},
		{columnLabel, &b.label, []Kind{Int64, String, Bool, Float32, Float64}},
		{columnSplit, &b.split, []Kind{String}},
		{columnGroup, &b.group, []Kind{String, Int64}},
	} {
		must := s.files.Columns[r.role] != ""
		if err := b.role(s.files.column(r.role), must, r.kinds, r.at); err != nil {
			return err
		}
	}
	for _, c := range s.schema.Extra {
		b.extra = append(b.extra, b.add(c.Name, ""))
	}
	p.plan = b.plan
	p.plan.names = p.table.classNames(s.files.column(columnLabel))
	for _, name := range p.plan.names {
		p.plan.classes = append(p.plan.classes, int64(slices.Index(s.schema.Classes, name)))
	}
	return nil
}

// planner makes the plan of one file.
type planner struct {
	plan
	columns []tableColumn
}

// find is the index of a column, -1 if there is none.
func (b *planner) find(name, field string) int {
	return slices.IndexFunc(b.columns, func(c tableColumn) bool { return c.name == name && c.field == field })
}

// add picks a column and returns its place, -1 if there is none with values.
func (b *planner) add(name, field string) int {
	i := b.find(name, field)
	if i < 0 || !b.columns[i].usable {
		return -1
	}
	b.pick = append(b.pick, i)
	return len(b.pick) - 1
}

func (b *planner) image(name string) error {
	b.bytes, b.path = b.add(name, "bytes"), b.add(name, "path")
	if i := b.find(name, ""); i >= 0 && b.columns[i].usable {
		switch b.columns[i].kind {
		case Bytes:
			b.bytes = b.add(name, "")
		case String:
			b.path = b.add(name, "")
		}
	}
	switch {
	case b.kindAt(b.bytes) == Bytes && (b.path < 0 || b.kindAt(b.path) == String),
		b.bytes < 0 && b.path >= 0 && b.kindAt(b.path) == String:
		return nil
	case slices.ContainsFunc(b.columns, func(c tableColumn) bool { return c.name == name }):
		return fmt.Errorf("image column %q is of type %s, want binary, string or struct<bytes: binary, path: string>", name, b.typeOf(name))
	}
	return fmt.Errorf("no image column %q among %s%s", name, b.describe(), didYouMean(name, b.columnNames()))
}

func (b *planner) kindAt(place int) Kind {
	if place < 0 {
		return Kind(len(kindNames)) // none
	}
	return b.columns[b.pick[place]].kind
}

// typeOf is the type of a column as the file calls it, all fields of a struct.
func (b *planner) typeOf(name string) string {
	var fields []string
	for _, c := range b.columns {
		switch {
		case c.name == name && c.field == "":
			return c.typ
		case c.name == name:
			fields = append(fields, c.field+": "+c.typ)
		}
	}
	return "struct<" + strings.Join(fields, ", ") + ">"
}

func (b *planner) columnNames() []string {
	var names []string
	for _, c := range b.columns {
		if !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// describe lists the columns with their types.
func (b *planner) describe() string {
	var all []string
	for _, name := range b.columnNames() {
		all = append(all, fmt.Sprintf("%q (%s)", name, b.typeOf(name)))
	}
	return strings.Join(all, ", ")
}

// role picks the column of a role, which must be there if the user named it.
func (b *planner) role(name string, must bool, kinds []Kind, place *int) error {
	*place = b.add(name, "")
	switch there := slices.Contains(b.columnNames(), name); {
	case *place >= 0 && slices.Contains(kinds, b.kindAt(*place)):
		return nil
	case !there && must:
		return fmt.Errorf("no column %q among %s%s", name, b.describe(), didYouMean(name, b.columnNames()))
	case !there, *place < 0 && b.find(name, "") >= 0 && b.columns[b.find(name, "")].empty:
		return nil
	}
	return fmt.Errorf("column %q is of type %s, want one of %v", name, b.typeOf(name), kinds)
}

// sample makes a sample of a row. The sample has its id, if it could be read, even
// with an error.
func (p *part) sample(row int64, values []any, schema Schema) (Sample, error) {
	out := Sample{Label: NoLabel, SaliencyQuality: NoQuality()}
	var err error
	if out.ID, err = p.id(row, values); err != nil {
		return out, err
	}
	at := func(place int) any {
		if place < 0 {
			return nil
		}
		return values[place]
	}
	if out.Label, err = p.plan.toLabel(at(p.plan.label), schema.Classes); err != nil {
		return out, err
	}
	if out.Split, err = word(at(p.plan.split)); err == nil {
		out.Split = splitWord(out.Split)
		err = checkSplit(out.Split)
	}
	if err != nil {
		return out, err
	}
	if out.Split == "" {
		out.Split = p.split
	}
	if out.Group, err = word(at(p.plan.group)); err != nil {
		return out, fmt.Errorf("group: %w", err)
	}
	if out.Extra, err = p.plan.toExtra(values, schema.Extra); err != nil {
		return out, err
	}
	if out.Image, err = p.image(at(p.plan.bytes), at(p.plan.path)); err != nil {
		return out, err
	}
	return out, out.checkSizes()
}

func (p *part) id(row int64, values []any) (string, error) {
	if p.plan.id < 0 {
		return fmt.Sprintf("%s-%d", strings.TrimSuffix(p.name, path.Ext(p.name)), row), nil
	}
	id, err := word(values[p.plan.id])
	if err == nil && id == "" {
		err = errors.New("found none")
	}
	if err != nil {
		return "", fmt.Errorf("id: %w", err)
	}
	return id, nil
}

// word is a text, or a number as text; "" for null.
func word(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case string:
		if !utf8.ValidString(v) {
			return "", fmt.Errorf("%q is not UTF-8", v)
		}
		return v, nil
	}
	return "", fmt.Errorf("found %T, want text", v)
}

// toLabel is the index of the class that a value names. The index -1 is how
// Hugging Face datasets marks rows without a label.
func (p *plan) toLabel(v any, classes []string) (int64, error) {
	switch v := v.(type) {
	case nil:
		return NoLabel, nil
	case string:
		return parseLabel(v, classes)
	case bool:
		if v {
			return p.fromIndex(1, classes)
		}
		return p.fromIndex(0, classes)
	case int64:
		return p.fromIndex(v, classes)
	case float32:
		return p.fromFloat(float64(v), classes)
	case float64:
		return p.fromFloat(v, classes)
	}
	return 0, fmt.Errorf("label: found %T, want a number or text", v)
}

func (p *plan) fromIndex(v int64, classes []string) (int64, error) {
	switch {
	case v == -1:
		return NoLabel, nil
	case len(p.names) == 0:
		return checkLabel(v, classes)
	case v < 0 || v >= int64(len(p.names)):
		return 0, fmt.Errorf("label %d, but the file has the classes %q", v, p.names)
	case p.classes[v] == NoLabel:
		return 0, fmt.Errorf("label %q is none of the classes %q%s", p.names[v], classes, didYouMean(p.names[v], classes))
	}
	return p.classes[v], nil
}

// fromFloat takes the whole numbers that pandas makes of a column with gaps.
func (p *plan) fromFloat(v float64, classes []string) (int64, error) {
	switch {
	case v != v:
		return NoLabel, nil
	case v != math.Trunc(v) || math.Abs(v) > 1<<53:
		return 0, fmt.Errorf("label %v, want a whole number", v)
	}
	return p.fromIndex(int64(v), classes)
}

func (p *plan) toExtra(values []any, columns []Column) ([]any, error) {
	var out []any
	for i, place := range p.extra {
		if place < 0 || values[place] == nil {
			continue
		}
		if s, ok := values[place].(string); ok && !utf8.ValidString(s) {
			return nil, fmt.Errorf("column %q: %q is not UTF-8", columns[i].Name, s)
		}
		if out == nil {
			out = make([]any, len(columns))
		}
		out[i] = values[place]
	}
	return out, nil
}

// image takes the image from the row, or else from the file that the row names.
func (p *part) image(bytes, name any) (Encoded, error) {
	var e Encoded
	e.Bytes, _ = bytes.([]byte)
	file, _ := name.(string)
	switch {
	case e.Present():
		e.Path = path.Base(filepath.ToSlash(file))
		if file == "" || !utf8.ValidString(file) {
			e.Path = ""
		}
	case file == "":
		return e, errors.New("image: null")
	case !filepath.IsLocal(filepath.FromSlash(file)):
		return e, fmt.Errorf("image: no bytes, and the path %q does not lead below the folder of the file", file)
	default:
		var err error
		if e, err = readEncoded(osFiles{}, filepath.ToSlash(filepath.Join(filepath.Dir(p.path), file))); err != nil {
			return e, fmt.Errorf("image %q: %w", file, err)
		}
	}
	if err := checkImage(e); err != nil {
		return e, fmt.Errorf("image: %w", err)
	}
	return e, nil
}

// checkImage looks at an image's header.
func checkImage(e Encoded) error {
	w, h, err := raster.Size(e.Bytes)
	if err == nil && w > raster.DefaultLimits.Pixels/h {
		err = fmt.Errorf("%w: %d x %d pixels, want at most %d in all", raster.ErrTooLarge, w, h, raster.DefaultLimits.Pixels)
	}
	return err
}
