package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Exporter writes data sets in the format of other programs.
type Exporter interface {
	// Name is the name of the format.
	Name() string
	// Export writes the set into the folder dir, which appears when all is written
	// or not at all. An earlier export there is replaced; a folder that holds
	// anything else is an error.
	Export(ctx context.Context, set *Dataset, dir string) (*ExportSummary, error)
}

// ExportSummary says what an export holds.
type ExportSummary struct {
	Format string `json:"format"`
	// Samples are counted by split.
	Samples map[string]int `json:"samples"`
	Files   int            `json:"files"`
	Bytes   int64          `json:"bytes"`
	// Notes are about what the format has no place for or holds otherwise.
	Notes []ExportNote `json:"notes"`
}

// ExportNote is one line of a summary: so many of what.
type ExportNote struct {
	Count int    `json:"count"`
	What  string `json:"what"`
}

// NewExporter makes the exporter of a format: hf-parquet, or imagefolder, which
// encodes up to the given number of images at once.
func NewExporter(to string, workers int) (Exporter, error) {
	switch to {
	case "hf-parquet":
		return &exporter{to, osStoreDisk{}, writeParquetExport}, nil
	case "imagefolder":
		return &exporter{to, osStoreDisk{}, func(ctx context.Context, x *export) error { return writeImageFolder(ctx, x, workers) }}, nil
	}
	return nil, fmt.Errorf("export format %q, want hf-parquet or imagefolder", to)
}

// exporter is an Exporter whose formats differ in how they fill a folder.
type exporter struct {
	name  string
	disk  storeDisk
	write func(ctx context.Context, x *export) error
}

// export is one run of an exporter.
type export struct {
	set     *Dataset
	dir     string // where to write
	disk    storeDisk
	summary ExportSummary
}

// note adds a line to the summary unless it counts nothing.
func (x *export) note(count int, what string) {
	if count > 0 {
		x.summary.Notes = append(x.summary.Notes, ExportNote{count, what})
	}
}

// exportMark is the file that tells an export from other folders. Its name begins
// with a dot so that no loader takes it for data.
const exportMark = ".export.json"

func (e *exporter) Name() string { return e.name }

func (e *exporter) Export(ctx context.Context, set *Dataset, dir string) (*ExportSummary, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("export %s: %w", e.name, err)
	}
	x := &export{set: set, disk: e.disk, summary: ExportSummary{Format: e.name, Samples: map[string]int{}, Notes: []ExportNote{}}}
	for _, r := range set.Rows() {
		x.summary.Samples[r.Split]++
	}
	if err := e.replace(ctx, x, dir); err != nil {
		return nil, fmt.Errorf("export %s to %q: %w", e.name, dir, err)
	}
	return &x.summary, nil
}

// replace writes the export beside dir and exchanges the two. A crash between the
// renames leaves the earlier export under another name, under which the next call
// finds it.
func (e *exporter) replace(ctx context.Context, x *export, dir string) error {
	parent, base := filepath.Split(dir)
	lock, err := e.lock(parent, base)
	if err != nil {
		return err
	}
	defer lock.Close()
	earlier := filepath.Join(parent, "."+base+".old")
	x.dir = filepath.Join(parent, "."+base+".new")
	if !exists(dir) && exists(earlier) {
		if err := e.disk.Rename(earlier, dir); err != nil {
			return err
		}
	}
	if err := checkReplaceable(dir); err != nil {
		return err
	}
	if err := e.fill(ctx, x); err != nil {
		return errors.Join(err, e.disk.RemoveAll(x.dir))
	}
	if err := e.disk.RemoveAll(earlier); err != nil {
		return err
	}
	if exists(dir) {
		if err := e.disk.Rename(dir, earlier); err != nil {
			return err
		}
	}
	if err := e.disk.Rename(x.dir, dir); err != nil {
		return err
	}
	return errors.Join(e.disk.SyncDir(parent), e.disk.RemoveAll(earlier))
}

// lock keeps other processes from writing the same export.
func (e *exporter) lock(parent, base string) (io.Closer, error) {
	if err := e.disk.MkdirAll(parent); err != nil {
		return nil, err
	}
	path := filepath.Join(parent, "."+base+lockSuffix)
	for {
		lock, err := e.disk.Lock(path)
		switch {
		case errors.Is(err, errLocked):
			return nil, fmt.Errorf("%s is writing it", readHolder(path))
		case errors.Is(err, fs.ErrNotExist):
			continue // its last holder has removed it
		}
		return lock, err
	}
}

// checkReplaceable refuses what is not an earlier export, with all that was written
// then and nothing else, or an empty folder.
func checkReplaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return reason(err)
	case len(entries) == 0:
		return nil
	}
	text, err := os.ReadFile(filepath.Join(dir, exportMark))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("the folder holds something else than an earlier export: move it away")
	}
	if err != nil {
		return err
	}
	var mark ExportSummary
	if err := json.Unmarshal(text, &mark); err != nil {
		return fmt.Errorf("read %q: %w", filepath.Join(dir, exportMark), err)
	}
	found, err := contents(dir)
	if err != nil {
		return err
	}
	if found.Files != mark.Files || found.Bytes != mark.Bytes {
		return fmt.Errorf("the folder holds %d files of %d bytes, want the %d of %d bytes of the earlier export: move it away",
			found.Files, found.Bytes, mark.Files, mark.Bytes)
	}
	return nil
}

// contents counts the files of an export and their bytes.
func contents(dir string) (found ExportSummary, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || path == filepath.Join(dir, exportMark) {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		found.Files++
		found.Bytes += info.Size()
		return nil
	})
	return found, err
}

// fill writes the files into a new folder, makes them durable and marks the folder as an export.
func (e *exporter) fill(ctx context.Context, x *export) error {
	if err := e.disk.RemoveAll(x.dir); err != nil { // of a try that was killed
		return err
	}
	if err := e.disk.MkdirAll(x.dir); err != nil {
		return err
	}
	if err := e.write(ctx, x); err != nil {
		return err
	}
	files, err := settle(e.disk, x.dir)
	if err != nil {
		return err
	}
	x.summary.Files = len(files)
	for _, f := range files {
		x.summary.Bytes += f.Size
	}
	mark, err := json.MarshalIndent(x.summary, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(e.disk, filepath.Join(x.dir, exportMark), append(mark, '\n'))
}

// create writes a file of the export; its folder is made.
func (x *export) create(name string, write func(io.Writer) error) error {
	path := filepath.Join(x.dir, filepath.FromSlash(name))
	if err := x.disk.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := x.disk.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func (x *export) createBytes(name string, data []byte) error {
	return x.create(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}
