//go:build gpu

package cudnn

// NVIDIA's library also answers for a device that is not there, by a description of it.
// So it tells without a GPU whether it understands what the package asks.

import (
	"bytes"
	_ "embed"
	"math"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
	"github.com/surrogaze/surrogaze/internal/op"
)

// Of devices' descriptions, which only tests give.
const (
	deviceKind       kind      = 38
	deviceProperties attribute = 2702
	heuristicsDevice attribute = 204
	planDevice       attribute = 407
)

//go:embed testdata/h100.json
var h100 []byte

// described is NVIDIA's library with the description of an H100.
func described(t *testing.T) (*library, descriptor) {
	t.Helper()
	lib, err := Open(math.MaxInt, nil)
	if err != nil {
		t.Skip(err)
	}
	l := lib.(*library)
	b := &builder{api: l.api}
	t.Cleanup(b.close)
	device := b.create(deviceKind)
	if b.err != nil {
		t.Skipf("version %d knows no descriptions of devices", lib.Version())
	}
	set(b, device, deviceProperties, append(slices.Clone(h100), 0)...)
	b.finalize(device, "device")
	if b.err != nil {
		t.Skipf("version %d wants another description: %v", lib.Version(), b.err)
	}
	return l, device
}

// plansFor counts the plans of a convolution for a described device, by tiers.
func plansFor(t *testing.T, l *library, device descriptor, c Convolution) map[tier]int {
	t.Helper()
	g := &graph{builder: builder{api: l.api}}
	defer g.close()
	root := g.create(graphKind)
	set(&g.builder, root, graphOperations, g.operation(c))
	g.finalize(root, "graph")
	for _, h := range []heuristic{heuristicA, heuristicB, heuristicFallback} {
		b := builder{api: l.api}
		q := question(&b, root, h)
		set(&b, q, heuristicsDevice, device)
		if err := g.take(&b, q, c); err != nil {
			t.Errorf("%v: heuristic %d: %v", c, h, err)
		}
		b.close()
	}
	if g.err != nil {
		t.Errorf("%v: %v", c, g.err)
	}
	count := map[tier]int{}
	for _, config := range g.configs {
		b := builder{api: l.api}
		plan := b.create(planKind)
		set(&b, plan, planDevice, device)
		set(&b, plan, planConfig, config.descriptor)
		b.finalize(plan, "plan")
		get(&b, plan, planWorkspace, int64Type, make([]int64, 1))
		if b.err != nil {
			t.Errorf("%v: %s: %v", c, config.name, b.err)
		}
		b.close()
		count[config.tier]++
	}
	return count
}

// alone marks a process in which nothing but this test runs: NVIDIA's library and the
// mocks, which have the same names, keep out of each other's way.
const alone = "SURROGAZE_TEST_ALONE"

func TestTheRealLibraryHasPlansForAnH100(t *testing.T) {
	if os.Getenv(alone) == "" {
		process := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		process.Env = append(os.Environ(), alone+"=1", Folders+"=")
		said, err := process.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		if bytes.Contains(said, []byte("--- SKIP")) {
			t.Skipf("%s", said)
		}
		return
	}
	l, device := described(t)
	square := func(n, c, size, out, kernel, stride, dilation, groups int) op.Conv {
		pad := dilation * (kernel / 2)
		return op.Conv{In: op.Shape{N: n, C: c, H: size, W: size}, Out: out, KernelH: kernel, KernelW: kernel,
			StrideH: stride, StrideW: stride, PadH: pad, PadW: pad, DilationH: dilation, DilationW: dilation, Groups: groups}
	}
	geometries := []op.Conv{
		square(128, 64, 56, 64, 3, 1, 1, 1),
		square(128, 3, 224, 64, 7, 2, 1, 1),
		square(32, 512, 14, 512, 3, 1, 2, 1),
		square(128, 256, 14, 256, 3, 1, 1, 256), // depthwise
		square(8, 12, 9, 18, 3, 2, 1, 3),
		square(1, 17, 33, 1, 1, 1, 1, 1),
	}
	for _, geometry := range geometries {
		for direction := Forward; direction <= BackwardWeights; direction++ {
			for _, c := range []Convolution{
				{Type: kernels.F32},
				{Type: kernels.F32, TF32: true},
				{Type: kernels.BF16, WeightGradient: kernels.BF16},
			} {
				c.Geometry, c.Direction = geometry, direction
				count := plansFor(t, l, device, c)
				if count[wanted] == 0 {
					t.Errorf("%v: want plans without reservations, found %v", c, count)
				}
			}
		}
	}
}
