package cudnn

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
	"github.com/surrogaze/surrogaze/internal/op"
)

// world is a device whose clock the plans move.
type world struct {
	driver.Device
	clock float64
	open  int // events, plans and graphs that were not closed
}

func (w *world) Properties() driver.Properties {
	return driver.Properties{Name: "A GPU/of tests", Multiprocessors: 4, Driver: 12010}
}

func (w *world) NewEvent() (driver.Event, error) { w.open++; return &event{world: w}, nil }

type event struct {
	driver.Event
	world *world
	time  float64
}

func (e *event) Synchronize() error { return nil }
func (e *event) Since(earlier driver.Event) (float64, error) {
	return e.time - earlier.(*event).time, nil
}
func (e *event) Close() error { e.world.open--; return nil }

type stream struct {
	driver.Stream
	world *world
}

func (s *stream) Handle() uintptr             { return 1 }
func (s *stream) Record(e driver.Event) error { e.(*event).time = s.world.clock; return nil }
func (s *stream) Synchronize() error          { return nil }

// Capture runs what it should record, as no test looks at what a plan computes.
func (s *stream) Capture(f func() error) (driver.Graph, error) {
	before := s.world.clock
	if err := f(); err != nil {
		return nil, err
	}
	s.world.open++
	return &recording{world: s.world, seconds: s.world.clock - before}, nil
}

type recording struct {
	driver.Graph
	world   *world
	seconds float64
}

func (r *recording) Launch(driver.Stream) error { r.world.clock += r.seconds; return nil }
func (r *recording) Close() error               { r.world.open--; return nil }

// ways is a library of plans that are made by their descriptions.
type ways struct {
	world   *world
	version int
	plans   []way
	asked   int // times that plans were listed
}

type way struct {
	world     *world
	name      string
	seconds   float64
	workspace int64
	broken    bool
}

var errBroken = errors.New("broken")

func (l *ways) File() string            { return "a library of tests" }
func (l *ways) Version() int            { return l.version }
func (l *ways) SetStream(uintptr) error { return nil }
func (l *ways) Close() error            { return nil }

func (l *ways) Plans(_ Convolution, n int) ([]Plan, error) {
	l.asked++
	var list []Plan
	for _, w := range l.plans[:min(n, len(l.plans))] {
		list = append(list, l.open(w))
	}
	if len(list) == 0 {
		return nil, ErrUnsupported
	}
	return list, nil
}

func (l *ways) Plan(_ Convolution, name string) (Plan, error) {
	for _, w := range l.plans {
		if w.name == name {
			return l.open(w), nil
		}
	}
	return nil, ErrUnsupported
}

func (l *ways) open(w way) Plan {
	l.world.open++
	w.world = l.world
	return &w
}

func (w *way) Name() string     { return w.name }
func (w *way) Workspace() int64 { return w.workspace }
func (w *way) Close() error     { w.world.open--; return nil }
func (w *way) Run(_, _, _, _ driver.Pointer) error {
	w.world.clock += w.seconds
	if w.broken {
		return errBroken
	}
	return nil
}

var some = Convolution{Geometry: op.Conv{In: op.Shape{N: 1, C: 2, H: 3, W: 3}, Out: 4, KernelH: 3, KernelW: 3,
	StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, DilationH: 1, DilationW: 1, Groups: 1}}

// library has three plans, of which the second is the fastest.
func library3() *ways {
	return &ways{world: &world{}, version: 90100, plans: []way{
		{name: "first", seconds: 3}, {name: "second", seconds: 1, workspace: 100}, {name: "third", seconds: 2}}}
}

// choose chooses for some convolution, with a workspace of 1000 bytes, in a process of
// its own.
func choose(t *testing.T, l *ways) string {
	t.Helper()
	return chooseWithin(t, l, 1000)
}

func chooseWithin(t *testing.T, l *ways, workspace int64) string {
	t.Helper()
	c, err := NewChooser(l, l.world, &stream{world: l.world})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Choose(some, Buffers{WorkspaceBytes: workspace})
	if err != nil {
		t.Fatal(err)
	}
	name := p.Name()
	if err := errors.Join(p.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	if l.world.open != 0 {
		t.Errorf("%d plans, graphs and events are left open", l.world.open)
	}
	return name
}

// caches is the folder of the user's caches, empty.
func caches(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	t.Setenv("HOME", dir)
	return dir
}

// cached is the one file in the caches.
func cached(t *testing.T, dir string) string {
	t.Helper()
	var files []string
	_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, _ error) error {
		if !e.IsDir() {
			files = append(files, path)
		}
		return nil
	})
	if len(files) != 1 {
		t.Fatalf("found %q, want one file", files)
	}
	return files[0]
}

func TestTheFastestPlanIsChosen(t *testing.T) {
	caches(t)
	if got := choose(t, library3()); got != "second" {
		t.Errorf("chose %q", got)
	}
}

func TestPlansThatWantMoreThanTheWorkspaceAreLeftOut(t *testing.T) {
	caches(t)
	if got := chooseWithin(t, library3(), 99); got != "third" {
		t.Errorf("chose %q", got)
	}
}

func TestPlansThatFailAreLeftOut(t *testing.T) {
	caches(t)
	l := library3()
	l.plans[1].broken = true
	if got := choose(t, l); got != "third" {
		t.Errorf("chose %q", got)
	}
}

func TestNoPlanThatRunsIsAnErrorThatSaysWhy(t *testing.T) {
	caches(t)
	l := library3()
	l.plans = []way{{name: "greedy", workspace: 2000}, {name: "bad", broken: true}}
	c, err := NewChooser(l, l.world, &stream{world: l.world})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Choose(some, Buffers{WorkspaceBytes: 1000})
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "greedy wants a workspace of 2000 bytes, has 1000") {
		t.Errorf("got %v", err)
	}
}

func TestAChoiceIsRemembered(t *testing.T) {
	caches(t)
	choose(t, library3())
	later := library3()
	later.plans[0].seconds = 0.5 // the clock would choose another today
	if got := choose(t, later); got != "second" || later.asked != 0 {
		t.Errorf("chose %q, listed plans %d times", got, later.asked)
	}
}

func TestAChoiceThatNoLongerServesIsMadeAnew(t *testing.T) {
	for name, change := range map[string]func(l *ways){
		"gone":   func(l *ways) { l.plans = slices.Delete(l.plans, 1, 2) },
		"broken": func(l *ways) { l.plans[1].broken = true },
		"greedy": func(l *ways) { l.plans[1].workspace = 1001 },
	} {
		caches(t)
		choose(t, library3())
		later := library3()
		change(later)
		if got := choose(t, later); got != "third" {
			t.Errorf("%s: chose %q", name, got)
		}
	}
}

func TestAnotherVersionOfTheLibraryChoosesAnew(t *testing.T) {
	caches(t)
	choose(t, library3())
	later := library3()
	later.version, later.plans[0].seconds = 90200, 0.5
	if got := choose(t, later); got != "first" {
		t.Errorf("chose %q", got)
	}
}

func TestAFileThatIsNotOursIsIgnoredAndReplaced(t *testing.T) {
	dir := caches(t)
	choose(t, library3())
	file := cached(t, dir)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":    "",
		"cut off":  string(good[:len(good)/2]),
		"foreign":  strings.Replace(string(good), "A GPU", "B GPU", 1),
		"no plans": `{"site": {"device": "A GPU/of tests", "multiprocessors": 4, "driver": 12010, "cudnn": 90100}}`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		later := library3()
		later.plans[0].seconds = 0.5
		if got := choose(t, later); got != "first" {
			t.Errorf("%s: chose %q", name, got)
		}
		if got := choose(t, library3()); got != "first" {
			t.Errorf("%s: then chose %q", name, got)
		}
	}
}

func TestAFolderThatCannotBeWrittenIsNoError(t *testing.T) {
	dir := caches(t)
	write(t, filepath.Join(dir, "surrogaze")) // a file where a folder should be
	if got := choose(t, library3()); got != "second" {
		t.Errorf("chose %q", got)
	}
}

func TestProcessesKeepEachOthersChoices(t *testing.T) {
	caches(t)
	s := site{Device: "shared"}
	a, b := recall(s), recall(s)
	a.keep("x", "1")
	b.keep("y", "2")
	a.keep("z", "3")
	want := map[string]string{"x": "1", "y": "2", "z": "3"}
	for name, plan := range want {
		if got := recall(s).Plans[name]; got != plan {
			t.Errorf("%s: %q, want %q", name, got, plan)
		}
	}
}

func TestTheLineOfAConvolutionTellsItFromOthers(t *testing.T) {
	seen := map[string]bool{some.String(): true}
	for name, change := range map[string]func(c *Convolution){
		"direction": func(c *Convolution) { c.Direction = BackwardData },
		"weights":   func(c *Convolution) { c.Direction = BackwardWeights },
		"gradient":  func(c *Convolution) { c.Direction, c.WeightGradient = BackwardWeights, kernels.BF16 },
		"type":      func(c *Convolution) { c.Type = kernels.BF16 },
		"tf32":      func(c *Convolution) { c.TF32 = true },
		"images":    func(c *Convolution) { c.Geometry.In.N++ },
		"channels":  func(c *Convolution) { c.Geometry.In.C++ },
		"height":    func(c *Convolution) { c.Geometry.In.H++ },
		"width":     func(c *Convolution) { c.Geometry.In.W++ },
		"out":       func(c *Convolution) { c.Geometry.Out++ },
		"kernel h":  func(c *Convolution) { c.Geometry.KernelH++ },
		"kernel w":  func(c *Convolution) { c.Geometry.KernelW++ },
		"stride h":  func(c *Convolution) { c.Geometry.StrideH++ },
		"stride w":  func(c *Convolution) { c.Geometry.StrideW++ },
		"pad h":     func(c *Convolution) { c.Geometry.PadH++ },
		"pad w":     func(c *Convolution) { c.Geometry.PadW++ },
		"dilated h": func(c *Convolution) { c.Geometry.DilationH++ },
		"dilated w": func(c *Convolution) { c.Geometry.DilationW++ },
		"groups":    func(c *Convolution) { c.Geometry.Groups++ },
	} {
		c := some
		change(&c)
		if seen[c.String()] {
			t.Errorf("%s: %q is another's line too", name, c)
		}
		seen[c.String()] = true
	}
}
