package nn

import (
	"github.com/surrogaze/surrogaze/internal/cuda"
)

// gpuFeed is a batch in pinned memory, which a stream of its own copies to the device
// while a step computes there.
type gpuFeed struct {
	*gpu
	batch    Batch
	transfer *cuda.Transfer
}

func (s *gpuStepper) batch() (feed, error) {
	f := &gpuFeed{gpu: s.gpu, batch: Batch{}}
	var err error
	if f.transfer, err = s.device.NewTransfer(); err != nil {
		return nil, err
	}
	for name, v := range s.list.inputs {
		host, err := f.transfer.Add(s.at[v], 4*v.shape.Len())
		if err != nil {
			return nil, err
		}
		f.batch[name] = host.Floats()
	}
	return f, nil
}

func (f *gpuFeed) buffers() Batch { return f.batch }

func (f *gpuFeed) send() error { return f.transfer.Send() }

func (f *gpuFeed) load() error { return f.transfer.Load() }
