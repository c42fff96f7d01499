package kernel

// planes gives parts of blocked tensors as float32, one task after another: the
// parts themselves, or copies in a worker's scratch.
type planes struct {
	vectors *vector
	scratch []float32
}

// reservePlanes makes room for the copies of so many elements in all.
func reservePlanes[T Element](e *Env, n int) {
	if _, direct := any(T(0)).(float32); !direct {
		e.reserve(n)
	}
}

func planesOf(e *Env, worker int) planes { return planes{e.vectors, e.scratch[worker]} }

// read is x as float32.
func read[T Element](p *planes, x []T) []float32 {
	f := floats(p.vectors, p.scratch, x)
	if _, direct := any(x).([]float32); !direct {
		p.scratch = p.scratch[len(x):]
	}
	return f
}

// written is where y's values are to be written, before [put] puts them into y.
func written[T Element](p *planes, y []T) []float32 {
	if f, ok := any(y).([]float32); ok {
		return f
	}
	f := p.scratch[:len(y)]
	p.scratch = p.scratch[len(y):]
	return f
}

func put[T Element](p *planes, y []T, values []float32) {
	if y, ok := any(y).([]BF16); ok {
		p.vectors.narrow(y, values, Block)
	}
}
