package cuda

import (
	"errors"
	"runtime"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
)

// Transfer brings some tensors to the device while other work runs there: from pinned
// memory to memory of its own in a stream of its own, and from there to their place.
type Transfer struct {
	device *Device
	sent   driver.Event
	parts  []part
}

// part is one tensor of a transfer.
type part struct {
	host   *Host
	staged *Memory
	to     kernels.Pointer
}

// NewTransfer makes an empty one.
func (d *Device) NewTransfer() (*Transfer, error) {
	sent, err := d.device.NewEvent()
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

// Send begins to copy to the device.
func (t *Transfer) Send() error {
	for _, p := range t.parts {
		if err := t.device.copies.CopyIn(p.staged.at, p.host.bytes); err != nil {
			return err
		}
	}
	return t.device.copies.Record(t.sent)
}

// Load moves the tensors to their places, before all work that is asked for later.
func (t *Transfer) Load() error {
	t.device.mutex.Lock()
	defer t.device.mutex.Unlock()
	errs := []error{t.device.stream.Wait(t.sent)}
	for _, p := range t.parts {
		errs = append(errs, t.device.stream.Copy(p.to, p.staged.at, p.staged.length))
	}
	return errors.Join(errs...)
}
