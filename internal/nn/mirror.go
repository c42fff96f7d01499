package nn

import (
	"errors"
	"fmt"
	"sync"

	"github.com/surrogaze/surrogaze/internal/cuda"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
)

// mirrors are the copies of a network's parameters in the memory of GPUs. In force are
// the values of the latest version: the host's, a mirror's, or several that are equal.
type mirrors struct {
	mutex  sync.Mutex
	list   []*mirror
	latest int64
	host   int64 // version of the values in the host's memory
	lost   error // why the values in force were lost, until all are replaced
}

// mirror is a copy on one GPU. Weights of convolutions lie there as Out, KernelH,
// KernelW, In, as its kernels want them.
type mirror struct {
	owner   *mirrors
	device  *cuda.Device
	at      map[*Param]*place
	blocks  []*block
	version int64 // of its values
}

// noVersion is that of memory without values.
const noVersion = -1

// block is a piece of device memory for some parameters.
type block struct {
	memory *cuda.Memory
	bf16   *cuda.Memory // the same rounded, for the operands of convolutions; nil if none
	staged *cuda.Host   // what is on its way; nil until the first time
	params []*Param
}

// place is where a parameter lies.
type place struct {
	*block
	offset int64 // in bytes of the block
}

// values is the parameter in float32.
func (p *place) values() kernels.Pointer { return p.memory.At(p.offset) }

// rounded is the parameter in bfloat16.
func (p *place) rounded() kernels.Pointer { return p.bf16.At(p.offset / 2) }

// on is the mirror on a device.
func (m *mirrors) on(d *cuda.Device) *mirror {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, x := range m.list {
		if x.device == d {
			return x
		}
	}
	x := &mirror{owner: m, device: d, at: map[*Param]*place{}, version: noVersion}
	m.list = append(m.list, x)
	return x
}

// fetch makes the host's values those in force.
func (m *mirrors) fetch() error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.bring()
}

func (m *mirrors) bring() error {
	if m.lost != nil || m.host == m.latest {
		return m.lost
	}
	for _, x := range m.list {
		if x.version != m.latest {
			continue
		}
		if err := x.pull(); err != nil {
			return fmt.Errorf("bring the parameters back: %w", err)
		}
		m.host = m.latest
		return nil
	}
	return errors.New("no device holds the parameters")
}

// outdate is fetch before some of the host's values change. If it fails they are lost for
// good, since what changes would be mixed with older ones.
func (m *mirrors) outdate() error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.lost = m.bring()
	m.renew()
	return m.lost
}

// replace says that all of the host's values are about to be overwritten.
func (m *mirrors) replace() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.lost = nil
	m.renew()
}

// renew puts the host's values in force.
func (m *mirrors) renew() {
	m.latest++
	m.host = m.latest
}

// reserve gives those of some parameters memory that have none.
func (m *mirror) reserve(params []*Param) error {
	m.owner.mutex.Lock()
	defer m.owner.mutex.Unlock()
	if err := m.owner.bring(); err != nil {
		return err
	}
	for _, trainable := range []bool{true, false} {
		var fresh []*Param
		for _, p := range params {
			if p.Trainable == trainable && m.at[p] == nil {
				fresh = append(fresh, p)
				m.at[p] = &place{}
			}
		}
		if err := m.allocate(fresh); err != nil {
			for _, p := range fresh {
				delete(m.at, p)
			}
			return err
		}
	}
	return nil
}

// placeAlign is what the offsets of parameters are multiples of, so that those of their
// bfloat16 copies are multiples of 256.
const placeAlign = 512

func (m *mirror) allocate(params []*Param) error {
	if len(params) == 0 {
		return nil
	}
	b := &block{params: params}
	length := int64(0)
	for _, p := range params {
		*m.at[p] = place{block: b, offset: length}
		length += (4*int64(len(p.Data)) + placeAlign - 1) / placeAlign * placeAlign
	}
	var err error
	if b.memory, err = m.device.Alloc(length); err != nil {
		return err
	}
	if params[0].Trainable {
		if b.bf16, err = m.device.Alloc(length / 2); err != nil {
			return err
		}
	}
	m.blocks = append(m.blocks, b)
	m.version = noVersion
	return nil
}

// push makes the mirror's values those in force.
func (m *mirror) push() error {
	m.owner.mutex.Lock()
	defer m.owner.mutex.Unlock()
	if m.owner.lost != nil || m.version == m.owner.latest {
		return m.owner.lost
	}
	if err := m.owner.bring(); err != nil {
		return err
	}
	m.version = noVersion
	for _, b := range m.blocks {
		staged, err := m.staged(b)
		if err != nil {
			return err
		}
		for _, p := range b.params {
			toChannelsLast(p.Shape, staged.Floats()[m.at[p].offset/4:], p.Data)
		}
		if err := m.device.CopyIn(b.memory, staged); err != nil {
			return err
		}
		if b.bf16 != nil {
			n := b.memory.Len() / 4
			if err := m.device.Do(kernels.Convert(n, kernels.BF16, b.bf16.At(0), kernels.F32, b.memory.At(0))); err != nil {
				return err
			}
		}
	}
	m.version = m.owner.latest
	return nil
}

// staged is a block's pinned memory. It stays, as checkpoints want it again and again, and
// pinning takes longer than copying.
func (m *mirror) staged(b *block) (*cuda.Host, error) {
	if b.staged == nil {
		var err error
		if b.staged, err = m.device.Host(int(b.memory.Len())); err != nil {
			return nil, err
		}
	}
	return b.staged, nil
}

// moved says that the device has changed the values, or tried to.
func (m *mirror) moved(failed error) {
	m.owner.mutex.Lock()
	defer m.owner.mutex.Unlock()
	if failed == nil {
		m.owner.latest++
		m.version = m.owner.latest
		return
	}
	if m.owner.host != m.owner.latest {
		m.owner.lost = fmt.Errorf("the parameters are lost: %w", failed)
	}
	m.version = noVersion
}

// pull copies the values to the host.
func (m *mirror) pull() error {
	for _, b := range m.blocks {
		staged, err := m.staged(b)
		if err != nil {
			return err
		}
		if err := m.device.CopyOut(staged, b.memory, 0); err != nil {
			return err
		}
		for _, p := range b.params {
			fromChannelsLast(p.Shape, p.Data, staged.Floats()[m.at[p].offset/4:])
		}
	}
	return nil
}

// toChannelsLast writes a parameter as Out, KernelH, KernelW, In if it is the weight of
// a convolution, else as it is.
func toChannelsLast(shape []int, dst, src []float32) {
	walkChannelsLast(shape, len(src), func(last, first int) { dst[last] = src[first] })
}

// fromChannelsLast is the reverse.
func fromChannelsLast(shape []int, dst, src []float32) {
	walkChannelsLast(shape, len(dst), func(last, first int) { dst[first] = src[last] })
}

// walkChannelsLast visits the index of every element of a parameter in both orders.
func walkChannelsLast(shape []int, n int, visit func(last, first int)) {
	if len(shape) != 4 || shape[2]*shape[3] == 1 || shape[1] == 1 {
		for i := range n {
			visit(i, i)
		}
		return
	}
	in, window := shape[1], shape[2]*shape[3]
	for o := range shape[0] {
		for c := range in {
			for k := range window {
				visit((o*window+k)*in+c, (o*in+c)*window+k)
			}
		}
	}
}
