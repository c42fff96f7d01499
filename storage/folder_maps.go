package storage

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// mapFolder is a folder of maps, each named like its image: the map of a/b.jpg is
// a/b or else b, with the suffix and the ending of any image format.
type mapFolder struct {
	files  fs.FS
	dir    string
	suffix string
}

// pair finds the maps of the rows, of which some may have none.
func (m mapFolder) pair(rows []*listedRow) error {
	if err := wantFolder(m.files, m.dir); err != nil {
		return err
	}
	found, err := imagesBelow(m.files, m.dir)
	if err != nil {
		return err
	}
	owner := map[string]string{} // of each map
	for _, row := range rows {
		name, err := m.of(row.id, found)
		if err != nil {
			return err
		}
		if name == "" {
			continue
		}
		if other, taken := owner[name]; taken {
			return fmt.Errorf("images %q and %q have the same map %q: want names that differ before the ending", other, row.id, name)
		}
		owner[name] = row.id
		row.saliency = mapFile(path.Join(m.dir, name))
	}
	if len(owner) == 0 && len(found) > 0 && len(rows) > 0 {
		return fmt.Errorf("none of the %d maps in %q, such as %q, has the name of an image, such as %q%s",
			len(found), m.dir, slices.Min(slices.Collect(maps.Keys(found))), rows[0].id, m.suffixed())
	}
	return nil
}

// suffixed says what a map's name has beyond its image's.
func (m mapFolder) suffixed() string {
	if m.suffix == "" {
		return ""
	}
	return fmt.Sprintf(", and %q before the ending", m.suffix)
}

// of is the name of an image's map, "" if there is none.
func (m mapFolder) of(image string, found map[string][]string) (string, error) {
	s, _ := stem(path.Clean(image))
	names := found[s+m.suffix]
	if len(names) == 0 {
		names = found[path.Base(s)+m.suffix]
	}
	switch len(names) {
	case 0:
		return "", nil
	case 1:
		return names[0], nil
	}
	return "", fmt.Errorf("image %q has %d maps: %q", image, len(names), names)
}

var imageEndings = []string{".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"}

// stem is a file name without the ending of an image.
func stem(name string) (string, bool) {
	ending := path.Ext(name)
	return strings.TrimSuffix(name, ending), slices.Contains(imageEndings, strings.ToLower(ending))
}

// imagesBelow finds the images in a folder and those below it, by stem.
func imagesBelow(files fs.FS, dir string) (map[string][]string, error) {
	found := map[string][]string{}
	err := fs.WalkDir(files, dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p, dir), "/")
		if key, is := stem(name); is {
			found[key] = append(found[key], name)
		}
		return nil
	})
	return found, err
}
