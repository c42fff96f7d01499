package doctor

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/internal/cuda"
	"github.com/surrogaze/surrogaze/internal/kernel"
)

func TestEveryInstructionSetIsUsedOrSaysWhyNot(t *testing.T) {
	const missing = "not offered by the processor, or not enabled by the operating system"
	for _, c := range []struct {
		name            string
		supported, used kernel.ISA
		refused         bool
		limit           string
		want            [5]string // generic, avx2, avx512, avx512bf16, amx
		notice          bool
	}{
		{"an old processor", kernel.Generic, kernel.Generic, false, "", [5]string{"used", missing, missing, missing, missing}, false},
		{"no AVX-512", kernel.AVX2, kernel.AVX2, false, "", [5]string{"available", "used", missing, missing, missing}, false},
		{"everything", kernel.AVX512, kernel.AVX512, false, "", [5]string{"available", "available", "used", missing, missing}, false},
		{"bfloat16, too", kernel.AVX512BF16, kernel.AVX512BF16, false, "", [5]string{"available", "available", "available", "used", missing}, false},
		{"tiles, too", kernel.AMX, kernel.AMX, false, "", [5]string{"available", "available", "available", "available", "used"}, false},
		{"tiles that are refused", kernel.AVX512, kernel.AVX512, true, "", [5]string{"available", "available", "used", "left out: on processors with AMX slower than float32", "refused by the operating system"}, false},
		{"a limit", kernel.AVX512, kernel.AVX2, false, "avx2", [5]string{"available", "used", "turned off by SURROGAZE_ISA=avx2", missing, missing}, false},
		{"a limit above the machine", kernel.AVX2, kernel.AVX2, false, "avx512", [5]string{"available", "used", missing, missing, missing}, false},
		{"a limit that is none", kernel.AVX2, kernel.AVX2, false, "avx3", [5]string{"available", "used", missing, missing, missing}, true},
		{"a build in Go", kernel.AVX2, kernel.Generic, false, "", [5]string{"used", "not in this build (tag noasm)", missing, missing, missing}, false},
		{"a build in Go and a limit", kernel.AVX512, kernel.Generic, false, "avx2", [5]string{"used", "not in this build (tag noasm)", "turned off by SURROGAZE_ISA=avx2", missing, missing}, false},
	} {
		var m Machine
		m.instructionSets(c.supported, c.used, c.refused, c.limit)
		var got [5]string
		for i, isa := range m.ISAs {
			got[i] = isa.State
			if isa.Found != (kernel.ISA(i) <= c.supported) {
				t.Errorf("%s: %s found %v", c.name, isa.Name, isa.Found)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if m.ISA != c.used.String() || (m.Notice != "") != c.notice {
			t.Errorf("%s: uses %s, want %v; notice %q, want one %v", c.name, m.ISA, c.used, m.Notice, c.notice)
		}
	}
}

func TestTheVariableLowersTheInstructionSetInUse(t *testing.T) {
	t.Setenv("SURROGAZE_ISA", "generic")
	m := Inspect()
	if m.ISA != "generic" || m.ISAs[kernel.Generic].State != "used" {
		t.Errorf("SURROGAZE_ISA=generic: uses %s, %+v", m.ISA, m.ISAs)
	}
	t.Setenv("SURROGAZE_ISA", "AVX2 ")
	if m := Inspect(); !strings.Contains(m.Notice, `"AVX2 "`) {
		t.Errorf("SURROGAZE_ISA with a wrong name: notice %q, want one that quotes it", m.Notice)
	}
}

func TestAMachineIsPrintedInFullAndInALine(t *testing.T) {
	m := Machine{
		CPU: "Model 7", Cores: 8, Quota: 2, Memory: 3 << 29, OS: "linux", Arch: "amd64", Go: "go1.26", ISA: "avx2",
		ISAs: []ISA{{"avx2", true, "used"}, {"avx512", false, "missing"}}, Notice: "odd", GPUs: []GPU{{"cuda:0", "fast"}, {State: "none"}},
	}
	if got, want := m.String(), "Model 7, 8 cores (limited to 2), 1.5 GiB memory, avx2, linux/amd64"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
	const want = `processor           Model 7
cores               8 cores (limited to 2)
memory              1.5 GiB
system              linux/amd64, go1.26
kernels avx2        used
kernels avx512      missing
warning             odd
gpu cuda:0          fast
gpu                 none
`
	var b strings.Builder
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestADriverWithoutABackendIsToldOf(t *testing.T) {
	with := fstest.MapFS{"proc/driver/nvidia/version": {}}
	if _, err := cuda.List(); err == nil {
		t.Skip("this build has the backend, and there is a GPU")
	}
	if got := gpus(with)[0].State; !strings.Contains(got, "driver is loaded") || !strings.Contains(got, "none used") {
		t.Errorf("with a driver: %q", got)
	}
	if got := gpus(fstest.MapFS{})[0].State; strings.Contains(got, "driver is loaded") {
		t.Errorf("without a driver: %q", got)
	}
}

func TestTheBandwidthsLoopAddsAllOfTheArrays(t *testing.T) {
	for _, workers := range []int{1, 3} {
		add := newAddition(kernel.Detect(), 100_003)
		if rate := add.bandwidth(context.Background(), workers); rate <= 0 {
			t.Errorf("%d workers: %v bytes a second", workers, rate)
		}
		for i, v := range add.y {
			if v != 3 {
				t.Fatalf("%d workers: sum %d is %v, want 3", workers, i, v)
			}
		}
	}
}

func TestPeaksThatWereNotMeasuredSaySo(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p := Bench(ctx)
	if want := (Peaks{ISA: kernel.Detect().String()}); p != want {
		t.Errorf("cancelled: %+v, want %+v", p, want)
	}
	p.CoreFLOPS = 2.5e9
	if got := p.String(); !strings.Contains(got, "2.5 GFLOP/s on one core, not measured on all") {
		t.Errorf("table:\n%s", got)
	}
}

func TestSomeCoresReachNoMoreThanAll(t *testing.T) {
	p := Peaks{CoreFLOPS: 10, FLOPS: 35, CoreBandwidth: 4, Bandwidth: 6}
	for _, x := range []struct {
		cores            int
		flops, bandwidth float64
	}{{1, 10, 4}, {2, 20, 6}, {4, 35, 6}} {
		if f, b := p.Of(x.cores); f != x.flops || b != x.bandwidth {
			t.Errorf("%d cores: %v operations and %v bytes, want %v and %v", x.cores, f, b, x.flops, x.bandwidth)
		}
	}
}

func TestPeaksOfAGPUAreATable(t *testing.T) {
	const want = `peak gpu 1          bf16 712.0 TFLOP/s, tf32 380.5 TFLOP/s, f32 not measured
memory gpu 1        copies 2800.0 GB/s, additions 2700.0 GB/s, from the host 55.0 GB/s
`
	var b strings.Builder
	writeGPU(&b, 1, cuda.Peaks{BF16: 712e12, TF32: 380.5e12, Copy: 2.8e12, Add: 2.7e12, Upload: 55e9})
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestPeaksOfAGPUThatIsNotThereAreUnknown(t *testing.T) {
	if flops, bandwidth := PeaksOf(t.Context())("cuda:99", "f32", 1); flops != 0 || bandwidth != 0 {
		t.Errorf("%v operations and %v bytes a second, want 0", flops, bandwidth)
	}
}

func TestBenchMeasuresEveryPeak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds and 192 MiB")
	}
	p := Bench(context.Background())
	if p.CoreFLOPS <= 0 || p.FLOPS <= 0 || p.CoreBandwidth <= 0 || p.Bandwidth <= 0 {
		t.Errorf("peaks %+v, want all above 0", p)
	}
}

func TestTheMachineIsTheOneThatRunsThis(t *testing.T) {
	m := Inspect()
	if m.CPU == "" || m.Cores != runtime.NumCPU() || m.Quota < 1 || m.OS != runtime.GOOS || m.ISA != kernel.Detect().String() {
		t.Errorf("machine %+v", m)
	}
}
