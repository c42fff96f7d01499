package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/zeebo/xxh3"
)

// namedFile is a file and the name that it has within its source.
type namedFile struct{ name, path string }

// fingerprint is the SHA-256 over name, size and content hash (XXH3, 128 bits) of
// the files in their order. A file that does not exist counts as such.
func fingerprint(ctx context.Context, where fs.FS, workers int, files []namedFile) (string, error) {
	type result struct {
		line string
		err  error
	}
	sum := sha256.New()
	for r := range inOrder(workers, len(files), func(i int) result {
		line, err := describe(ctx, where, files[i])
		return result{line, err}
	}) {
		if r.err != nil {
			return "", r.err
		}
		sum.Write([]byte(r.line)) // a hash never fails
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func describe(ctx context.Context, where fs.FS, f namedFile) (string, error) {
	file, err := where.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("%q missing\n", f.name), nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := xxh3.New()
	n, err := io.Copy(hash, contextReader{ctx, file})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%q %d %x\n", f.name, n, hash.Sum128().Bytes()), nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
