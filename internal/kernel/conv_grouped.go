package kernel

import "github.com/surrogaze/surrogaze/internal/op"

// groups runs a convolution's groups one after another as convolutions of their
// own. Channels that begin inside a block are copied.
type groups[T Element] struct {
	env       *Env
	part      op.Conv // one group
	in, out   op.Shape
	x, y      []T // copies of a group's channels
	aligned   bool
	weightLen int
}

func newGroups[T Element](e *Env, g op.Conv) *groups[T] {
	s := &groups[T]{env: e, part: g, in: g.In, out: g.OutShape()}
	s.part.In.C /= g.Groups
	s.part.Out /= g.Groups
	s.part.Groups = 1
	s.weightLen = s.part.Weight().Len()
	s.aligned = s.part.In.C%Block == 0 && s.part.Out%Block == 0
	if !s.aligned {
		s.x, s.y = make([]T, BlockedLen(s.part.In)), make([]T, BlockedLen(s.part.OutShape()))
	}
	return s
}

// each joins the phases of the groups, given the weights' place.
func (s *groups[T]) each(run func(group, weights int) []Phase) []Phase {
	var phases []Phase
	for i := range s.in.C / s.part.In.C {
		phases = append(phases, run(i, i*s.weightLen)...)
	}
	return phases
}

// take is group i's part of a tensor: its place, or a copy.
func (s *groups[T]) take(whole op.Shape, buffer, from []T, i, channels int) ([]T, []Phase) {
	if from == nil {
		return nil, nil
	}
	if s.aligned {
		return from[i*channels*whole.Pixels():], nil
	}
	whole.C = channels
	return buffer, CopyChannels(s.env, whole, buffer, 0, from, i*channels, channels)
}

// put is where group i's part of a result goes, and how it comes there.
func (s *groups[T]) put(whole op.Shape, buffer, to []T, i, channels int) ([]T, []Phase) {
	if s.aligned {
		return to[i*channels*whole.Pixels():], nil
	}
	return buffer, CopyChannels(s.env, whole, to, i*channels, buffer, 0, channels)
}

func groupedForward[T Element](e *Env, g op.Conv, y, x []T, w []float32, ep Epilogue[T]) []Phase {
	s := newGroups[T](e, g)
	return s.each(func(i, at int) []Phase {
		from, phases := s.take(s.in, s.x, x, i, s.part.In.C)
		residual, more := s.take(s.out, s.y, ep.Residual, i, s.part.Out)
		to, after := s.put(s.out, s.y, y, i, s.part.Out)
		own := Epilogue[T]{Residual: residual, ReLU: ep.ReLU}
		if ep.Bias != nil {
			own.Bias = ep.Bias[i*s.part.Out:][:s.part.Out]
		}
		phases = append(phases, more...)
		phases = append(phases, ConvForward(e, s.part, to, from, w[at:at+s.weightLen], own)...)
		return append(phases, after...)
	})
}

func groupedBackwardData[T Element](e *Env, g op.Conv, dx, dy []T, w []float32) []Phase {
	s := newGroups[T](e, g)
	return s.each(func(i, at int) []Phase {
		from, phases := s.take(s.out, s.y, dy, i, s.part.Out)
		to, after := s.put(s.in, s.x, dx, i, s.part.In.C)
		phases = append(phases, ConvBackwardData(e, s.part, to, from, w[at:at+s.weightLen])...)
		return append(phases, after...)
	})
}

func groupedBackwardWeights[T Element](e *Env, g op.Conv, dw []float32, x, dy []T) []Phase {
	s := newGroups[T](e, g)
	return s.each(func(i, at int) []Phase {
		image, phases := s.take(s.in, s.x, x, i, s.part.In.C)
		gradient, more := s.take(s.out, s.y, dy, i, s.part.Out)
		phases = append(phases, more...)
		return append(phases, ConvBackwardWeights(e, s.part, dw[at:at+s.weightLen], image, gradient)...)
	})
}
