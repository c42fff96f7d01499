package cuda

import (
	"errors"
	"runtime"
	"sync"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
)

// Transfer brings a batch to the device while other work runs there: from pinned memory
// to memory of its own in a stream of its own. From there tensors move to their place, and
// kernels read what was packed.
type Transfer struct {
	device *Device
	sent   driver.Event
	parts  []part

	mutex  sync.Mutex // of what follows
	chunks []*chunk
}

// part is one tensor of a transfer.
type part struct {
	host   *Host
	staged *Memory
	to     kernels.Pointer
}

// chunk is room for pieces of any size.
type chunk struct {
	host   *Host
	staged *Memory
	used   int
}

// NewTransfer makes an empty one.
func (d *Device) NewTransfer() (*Transfer, error) {
	sent, err := d.device.NewBlockingEvent()
	if err != nil {
		return nil, err
	}
	t := &Transfer{device: d, sent: sent}
	runtime.AddCleanup(t, func(e driver.Event) { _ = e.Close() }, sent)
	return t, nil
}

// Add makes room for a tensor and tells where the caller writes it. It must not be
// written between Send and the end of the work behind Load.
func (t *Transfer) Add(to kernels.Pointer, bytes int) (*Host, error) {
	host, err := t.device.Host(bytes)
	if err != nil {
		return nil, err
	}
	staged, err := t.device.Alloc(int64(bytes))
	if err != nil {
		return nil, err
	}
	t.parts = append(t.parts, part{host, staged, to})
	return host, nil
}

const (
	// chunkBytes is the size of a chunk, unless a piece is larger.
	chunkBytes = 16 << 20
	// pieceAlign is what addresses of pieces are multiples of.
	pieceAlign = 256
)

// Pack makes room for some bytes of this batch alone and tells where the caller writes
// them, as long as he may write tensors, and where kernels that Load is given find them.
// It may be called from several goroutines.
func (t *Transfer) Pack(bytes int) (host []byte, at kernels.Pointer, err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	c, err := t.room(bytes)
	if err != nil {
		return nil, 0, err
	}
	from := c.used
	c.used = min((from+bytes+pieceAlign-1)/pieceAlign*pieceAlign, len(c.host.bytes))
	return c.host.bytes[from : from+bytes : from+bytes], c.staged.At(int64(from)), nil
}

// room is the first chunk that has some bytes left, a new one if need be.
func (t *Transfer) room(bytes int) (*chunk, error) {
	for _, c := range t.chunks {
		if len(c.host.bytes)-c.used >= bytes {
			return c, nil
		}
	}
	size := max(bytes, chunkBytes)
	host, err := t.device.Host(size)
	if err != nil {
		return nil, err
	}
	staged, err := t.device.Alloc(int64(size))
	if err != nil {
		return nil, err
	}
	c := &chunk{host: host, staged: staged}
	t.chunks = append(t.chunks, c)
	return c, nil
}

// Unpack forgets what was packed: the batch that follows begins.
func (t *Transfer) Unpack() {
	for _, c := range t.chunks {
		c.used = 0
	}
}

// Send begins to copy to the device.
func (t *Transfer) Send() error {
	for _, p := range t.parts {
		if err := t.device.copies.CopyIn(p.staged.at, p.host.bytes); err != nil {
			return err
		}
	}
	for _, c := range t.chunks {
		if c.used == 0 {
			continue
		}
		if err := t.device.copies.CopyIn(c.staged.at, c.host.bytes[:c.used]); err != nil {
			return err
		}
	}
	return t.device.copies.Record(t.sent)
}

// Load moves the tensors to their places and runs launches over what was packed, before
// all work that is asked for later.
func (t *Transfer) Load(launches ...kernels.Launch) error {
	t.device.mutex.Lock()
	defer t.device.mutex.Unlock()
	errs := []error{t.device.stream.Wait(t.sent)}
	for _, p := range t.parts {
		errs = append(errs, t.device.stream.Copy(p.to, p.staged.at, p.staged.length))
	}
	for _, l := range launches {
		errs = append(errs, t.device.launch(l))
	}
	return errors.Join(errs...)
}
