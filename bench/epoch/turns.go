package main

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/backbone"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
)

// bare are steps of the network that is trained, without any data to wait for.
type bare struct {
	next func() (nn.Step, error, bool)
	stop func()
}

var networks = map[string]func() backbone.ResNet{"resnet18": backbone.ResNet18, "resnet50": backbone.ResNet50}

func newBare(ctx context.Context, cfg cyborg.Config) (bare, error) {
	const image, label, weight, classes = "image", "label", "weight", 2
	one := op.Shape{N: cfg.Batch, C: 1, H: 1, W: 1}
	g := nn.NewGraph(nn.Train, nn.NewParams(1))
	network, ok := networks[cfg.Network]
	if !ok {
		return bare{}, fmt.Errorf("network %q: want resnet18 or resnet50", cfg.Network)
	}
	built := network().Build(g, g.Input(image, op.Shape{N: cfg.Batch, C: 3, H: cfg.Size, W: cfg.Size}), classes)
	g.Loss(nn.Term{Value: g.SoftmaxCrossEntropy(built.Logits, g.Input(label, one)), Weight: g.Input(weight, one)})
	o := cfg.Optimizer
	t, err := nn.NewTrainer(g, nn.Training{
		Optimizer: nn.Optimizer{Name: o.Name, LR: o.LR, Momentum: o.Momentum}, Steps: math.MaxInt32,
		Options: nn.Options{Device: cfg.Device, Precision: cfg.Precision, Workers: cfg.Workers},
	})
	if err != nil {
		return bare{}, err
	}
	next, stop := iter.Pull2(t.Steps(ctx, func(_ context.Context, step int, b nn.Batch) error {
		if step < 8 { // more steps than there are buffers
			for i := range b[image] {
				b[image][i] = float32(i%17)/8 - 1
			}
			for i := range b[weight] {
				b[label][i], b[weight][i] = float32(i%classes), 1
			}
		}
		return nil
	}))
	return bare{next, stop}, nil
}

// ahead is the number of steps of a turn that do not count: their batches were made
// while the other side had its turn.
const ahead = 3

// comparison lets a training and bare steps take turns.
type comparison struct {
	bare                bare
	turns, steps, batch int
	stop                func() // ends the training

	since                  int // steps of the training in this turn
	begin                  time.Time
	trained, bared, shares []float64 // images a second, and the first by the second
	err                    error
}

// epochs is enough for the first, which does not count, and for all turns.
func (c *comparison) epochs(images int) int {
	return 2 + (c.turns+1)*(c.steps+ahead)*c.batch/images
}

// after is told of every step of the training.
func (c *comparison) after(p cyborg.Progress) {
	if p.Epoch < 1 || len(c.shares) == c.turns || c.err != nil {
		return
	}
	c.since++
	switch c.since {
	case ahead:
		c.begin = time.Now()
	case ahead + c.steps:
		c.trained = append(c.trained, c.rate(time.Since(c.begin)))
		c.since = 0
		c.takeTurn()
	}
}

// takeTurn takes the bare steps.
func (c *comparison) takeTurn() {
	var begin time.Time
	for i := range ahead + c.steps {
		if i == ahead {
			begin = time.Now()
		}
		if _, err, _ := c.bare.next(); err != nil {
			c.err = err
			c.stop()
			return
		}
	}
	c.bared = append(c.bared, c.rate(time.Since(begin)))
	n := len(c.bared) - 1
	c.shares = append(c.shares, c.trained[n]/c.bared[n])
	if len(c.shares) == c.turns {
		c.stop()
	}
}

// rate is in images a second.
func (c *comparison) rate(d time.Duration) float64 { return float64(c.steps*c.batch) / d.Seconds() }
