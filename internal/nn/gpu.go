package nn

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"github.com/surrogaze/surrogaze/internal/cuda"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
)

// gpu is the machine of package cuda.
type gpu struct {
	list   *listing
	device *cuda.Device
	target Target
	params *mirror
	arena  *cuda.Memory
	at     map[*value]kernels.Pointer
	seed   *cuda.Host   // of the dropout masks
	seedAt *cuda.Memory // the same on the device
	held   []*cuda.Memory
	hosted []*cuda.Host

	moves bool // a run moves parameters

	rows []*operation // of the tape's operations behind the first, where they are measured

	once *cuda.Tape // what depends on constant parameters alone; nil if nothing does or it is done
	tape *cuda.Tape // one run; made by the first
}

func compileGPU(g *Graph, options Options, target Target) (*Program, error) {
	m, err := newGPU(g, options, target)
	if err != nil {
		return nil, err
	}
	if err := m.placeHosted(); err != nil {
		return nil, err
	}
	return &Program{m.list, m}, nil
}

// newGPU gives a graph its memory on the device.
func newGPU(g *Graph, options Options, target Target) (*gpu, error) {
	device, err := cuda.Open(target.gpu)
	if err != nil {
		return nil, err
	}
	list, err := lower(g, channelsLast, target.Precision == bf16Precision)
	if err != nil {
		return nil, err
	}
	list.fuse()
	list.fuseGradientSums()
	list.placeSlices()
	m := &gpu{
		list: list, device: device, target: target, params: g.params.mirrors.on(device),
		at: map[*value]kernels.Pointer{}, moves: len(list.statistics()) > 0,
	}
	return m, m.place(options.Constant && g.loss == nil)
}

// channelsLastBytes is the memory that a value takes in channels-last format.
func channelsLastBytes(v *value) int {
	switch v.layout {
	case positions:
		return v.shape.Len()
	case nativeBF16:
		return 2 * v.shape.Len()
	case imageBF16:
		return 2 * kernels.ImageChannels * v.shape.Pixels()
	}
	return 4 * v.shape.Len()
}

// deviceAlign is what addresses of values are multiples of, in bytes.
const deviceAlign = 256

// place gives every value its memory on the device.
func (m *gpu) place(constant bool) error {
	if constant {
		m.keepConstants()
	}
	regions, length := m.list.plan(channelsLastBytes, deviceAlign)
	var err error
	if m.arena, err = m.device.Alloc(int64(length)); err != nil {
		return fmt.Errorf("activations and gradients: %w", err)
	}
	for _, r := range regions {
		m.at[r.v] = m.arena.At(int64(r.at))
	}
	if err := m.placeParams(); err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	for _, v := range m.list.inputs {
		if err := m.hold(v); err != nil {
			return fmt.Errorf("input %q: %w", v.name, err)
		}
	}
	if err := m.placeConstants(); err != nil {
		return fmt.Errorf("constants: %w", err)
	}
	if m.seed, err = m.device.Host(8); err != nil {
		return err
	}
	m.seedAt, err = m.device.Alloc(8)
	return err
}

// results are the values that the caller reads after a run.
func (m *gpu) results() []*value {
	var list []*value
	for _, v := range m.list.outputs {
		list = append(list, v)
	}
	if m.list.loss != nil {
		list = append(list, m.list.loss)
	}
	return list
}

// placeParams makes sure that the mirror holds every parameter.
func (m *gpu) placeParams() error {
	var params []*Param
	for v := range m.values() {
		if v.home == homeParam && !slices.Contains(params, v.param) {
			params = append(params, v.param)
		}
	}
	return m.params.reserve(params)
}

// values visits every operand and result of the instructions.
func (m *gpu) values() func(yield func(*value) bool) {
	return func(yield func(*value) bool) {
		for _, ins := range m.list.instructions {
			for _, v := range slices.Concat(ins.in, ins.out) {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// placeHosted gives results memory on the host, and inputs that the device does not draw.
func (m *gpu) placeHosted() error {
	for _, v := range m.list.inputs {
		if v.drawn {
			continue
		}
		if err := m.host(v); err != nil {
			return fmt.Errorf("input %q: %w", v.name, err)
		}
	}
	for _, v := range m.results() {
		if err := m.host(v); err != nil {
			return fmt.Errorf("results: %w", err)
		}
	}
	return nil
}

// hold gives a value memory of its own on the device.
func (m *gpu) hold(v *value) error {
	memory, err := m.device.Alloc(int64(channelsLastBytes(v)))
	if err != nil {
		return err
	}
	m.held = append(m.held, memory)
	m.at[v] = memory.At(0)
	return nil
}

// host gives a value memory on the host.
func (m *gpu) host(v *value) error {
	if v.data != nil {
		return nil
	}
	h, err := m.device.Host(4 * v.shape.Len())
	if err != nil {
		return err
	}
	m.hosted = append(m.hosted, h)
	v.data = h.Floats()
	return nil
}

// keepConstants lets the weights and biases that batch norms were folded into outlive a
// run.
func (m *gpu) keepConstants() {
	for _, ins := range m.list.instructions {
		if _, ok := ins.op.(foldBatchNorm); ok {
			for _, v := range ins.out {
				v.home = homeConstant
			}
		}
	}
}

// placeConstants gives constants their memory, and their values where they have them
// from the start.
func (m *gpu) placeConstants() error {
	for v := range m.values() {
		if v.home != homeConstant || m.at[v] != 0 {
			continue
		}
		if err := m.hold(v); err != nil {
			return err
		}
		if v.data == nil {
			continue
		}
		h, err := m.device.Host(4 * len(v.data))
		if err != nil {
			return err
		}
		copy(h.Floats(), v.data)
		if err := m.device.CopyIn(m.held[len(m.held)-1], h); err != nil {
			return err
		}
	}
	return nil
}

func (m *gpu) memory() int64 { return m.arena.Len() }

func (m *gpu) setStep(runSeed uint64, step int) {
	binary.LittleEndian.PutUint64(m.seed.Bytes(), mix(runSeed^mix(uint64(step))))
}

// run computes every instruction once.
func (m *gpu) run() error {
	if m.tape == nil {
		if err := m.recordRun(); err != nil {
			return err
		}
	}
	return m.play(m.replay)
}

// play runs a tape over the parameters' present values.
func (m *gpu) play(tape func() error) error {
	if err := m.params.push(); err != nil {
		return err
	}
	if m.once != nil {
		if err := m.once.Run(); err != nil {
			return err
		}
		m.once = nil
	}
	err := tape()
	if m.moves {
		m.params.moved(err)
	}
	return err
}

// replay runs the tape, with a look at its operations where they are measured.
func (m *gpu) replay() error {
	if m.rows == nil {
		return m.tape.Run()
	}
	seconds, err := m.tape.Time()
	if err != nil {
		return err
	}
	for i, row := range m.rows {
		row.took += time.Duration(1e9 * seconds[i+1])
	}
	return nil
}

// measure gives the operations of the tape their rows in a profile.
func (m *gpu) measure(profile *Profile, last operation) {
	if profile == nil {
		return
	}
	for _, ins := range m.list.instructions {
		m.rows = append(m.rows, profile.add(ins.operation(channelsLastBytes, 1)))
	}
	m.rows = append(m.rows, profile.add(last))
}

// recordRun makes the tape of a run.
func (m *gpu) recordRun() error {
	var err error
	m.tape, err = m.record(func(t *cuda.Tape) {
		for name, v := range m.list.inputs {
			if v.drawn {
				t.Fail(fmt.Errorf("input %q: the device draws it, for trainers and lanes alone", name))
				continue
			}
			t.CopyIn(m.at[v], bytesOf(v.data))
		}
	}, m.copyResults)
	return err
}

// copyResults records how the results come to the host.
func (m *gpu) copyResults(t *cuda.Tape) {
	for _, v := range m.results() {
		t.CopyOut(bytesOf(v.data), m.address(v))
	}
}

// record makes a tape of the instructions, between what begin and end record, and where
// something is constant one of that.
func (m *gpu) record(begin, end func(*cuda.Tape)) (*cuda.Tape, error) {
	once, tape := m.device.NewTape(), m.device.NewTape()
	for _, t := range []*cuda.Tape{once, tape} {
		t.Keep(m.arena, m.held, m.hosted, m.seed, m.seedAt, m.params)
	}
	tape.CopyIn(m.seedAt.At(0), m.seed.Bytes())
	begin(tape)
	constants := false
	for _, ins := range m.list.instructions {
		t := tape
		if ins.out[0].home == homeConstant {
			t, constants = once, true
		}
		t.Operation()
		if err := m.bind(t, ins); err != nil {
			return nil, err
		}
	}
	tape.Operation()
	end(tape)
	if constants {
		if err := once.Finish(); err != nil {
			return nil, err
		}
		m.once = once
	}
	return tape, tape.Finish()
}

func bytesOf(data []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), 4*len(data))
}

// address is where a value lies, in float32 if it is a parameter.
func (m *gpu) address(v *value) kernels.Pointer {
	if v.home == homeParam {
		return m.params.at[v.param].values()
	}
	at := m.at[v.root()]
	for ; v.whole != nil; v = v.whole {
		at = at.Offset(int64(v.offset * typeOf(v.layout).Size()))
	}
	return at
}

func (m *gpu) gradient(i int) ([]float32, error) {
	v := m.list.gradients[i]
	h, err := m.device.Host(4 * v.shape.Len())
	if err != nil {
		return nil, err
	}
	if err := m.device.CopyOut(h, m.arena, int64(m.at[v]-m.arena.At(0))); err != nil {
		return nil, err
	}
	p := m.list.params[i].param
	gradient := make([]float32, len(p.Data))
	fromChannelsLast(p.Shape, gradient, h.Floats())
	runtime.KeepAlive(h)
	return gradient, nil
}
