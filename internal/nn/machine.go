package nn

// machine is where a program's values lie and its instructions run.
//
// The data of inputs, outputs and the loss are memory of the host on every machine:
// the caller fills and reads it between runs.
type machine interface {
	// run computes every instruction once.
	run() error
	// setStep makes the dropout masks those of a step of a run.
	setStep(runSeed uint64, step int)
	// gradient is that of the i-th moving parameter in the parameter's own order.
	gradient(i int) ([]float32, error)
	// memory is the number of bytes of activations and gradients.
	memory() int64
	// stepper adds the step of an optimiser.
	stepper(o Optimizer, profile *Profile) (stepper, error)
}

// stepper takes the training steps of a program.
type stepper interface {
	// step computes the loss and its gradients and moves the parameters: the count-th
	// step, from 1, at a learning rate. If the loss is no finite number, everything is
	// as before.
	step(count int, rate float64) (loss float32, err error)
	// moments are the optimiser's state, named as their parameters behind a prefix.
	moments() *Params
	// batch makes the buffers of one batch.
	batch() (feed, error)
}

// feed is one batch on its way to a stepper. While a step computes, the batch of the next
// is filled and sent.
type feed interface {
	// buffers are what the source fills.
	buffers() ImageBatch
	// send begins to bring the batch to the machine, from the goroutine that filled it.
	send() error
	// load makes it the inputs of the next step. Until that has been taken, the buffers
	// stay as they are.
	load() error
}
