//go:build unix

package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/surrogaze/surrogaze/internal/synthetic"
	"github.com/surrogaze/surrogaze/storage"
)

// memoryLimit is what the program may use in TestASetLargerThanMemoryIsTrainedOn.
const memoryLimit = 256 << 20

// TestASetLargerThanMemoryIsTrainedOn passes a set of four times GOMEMLIMIT through
// annotate and train, and holds the peak of resident memory against the set.
func TestASetLargerThanMemoryIsTrainedOn(t *testing.T) {
	if os.Getenv("SURROGAZE_MEMORY") == "" {
		t.Skip("writes a data set of a gigabyte: set SURROGAZE_MEMORY=1 to run it")
	}
	v := newVictim(t)
	bytes := writeLarge(t, filepath.Join(v.dir, "large"), 4*memoryLimit)
	cmd := exec.Command(v.binary, "evaluate", "small.yaml", "--out", "out",
		"--set", "data.unannotated.0.path=../large/data/*.parquet", "--set", "train.seeds=1", "--set", "train.arms=[combined]")
	cmd.Dir = v.dir
	cmd.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%d", memoryLimit))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024 // Linux counts kilobytes
	t.Logf("set of %d MiB, limit %d MiB, peak resident memory %d MiB", bytes>>20, memoryLimit>>20, peak>>20)
	if peak > 3*memoryLimit/2 {
		t.Errorf("peak resident memory is %d MiB, want at most one and a half of the limit of %d MiB", peak>>20, memoryLimit>>20)
	}
}

// writeLarge writes an unannotated set of at least so many bytes: noise, which does
// not compress, around the images of internal/synthetic.
func writeLarge(t *testing.T, dir string, want int64) (written int64) {
	t.Helper()
	w, err := storage.Create(dir, storage.Schema{Classes: synthetic.Classes})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; written < want; i++ {
		x := synthetic.Draw(9, "train", i)
		data := noisy(t, x.Image, rng)
		written += int64(len(data))
		err := w.Append(storage.Sample{
			ID: fmt.Sprintf("large-%d", i), Image: storage.Encoded{Bytes: data, Path: "x.png"}, Label: int64(x.Label),
			Split: "train", SaliencyQuality: storage.NoQuality(),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return written
}

// noisy is an image of 512 x 512 pixels, enlarged from m, with noise in its lower
// bits.
func noisy(t *testing.T, m *image.Gray, rng *rand.Rand) []byte {
	t.Helper()
	const side = 512
	out := image.NewGray(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			v := m.GrayAt(x*m.Rect.Dx()/side, y*m.Rect.Dy()/side).Y
			out.Pix[y*side+x] = v&^15 | uint8(rng.IntN(16))
		}
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, out); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
