package storage

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
)

// writeParquetExport writes what a data set is in any case: the folder that Hugging
// Face datasets loads as it stands. The files are linked where the file system can,
// so that they take no further space; do not write into them. A card says what is in
// them.
func writeParquetExport(ctx context.Context, x *export) error {
	if err := x.disk.MkdirAll(filepath.Join(x.dir, dataFolder)); err != nil {
		return err
	}
	for _, f := range x.set.Files() {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(dataFolder, filepath.Base(f))
		if os.Link(f, filepath.Join(x.dir, filepath.FromSlash(name))) == nil {
			continue
		}
		if err := x.copy(ctx, f, name); err != nil {
			return err
		}
	}
	return x.writeCard(func(split string) string { return path.Join(dataFolder, split+"-*") }, x.parquetColumns())
}

func (x *export) copy(ctx context.Context, from, name string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	return errors.Join(x.create(name, func(w io.Writer) error {
		_, err := io.Copy(w, contextReader{ctx, f})
		return err
	}), f.Close())
}
