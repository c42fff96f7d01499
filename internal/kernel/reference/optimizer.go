package reference

import "math"

// SGD is one step of torch.optim.SGD without dampening over a parameter:
//
//	g += weightDecay*param; velocity = momentum*velocity + g
//	param -= lr*(nesterov ? g + momentum*velocity : velocity)
//
// Velocity starts at zero.
func SGD[T Float](param, grad, velocity []T, lr, momentum, weightDecay float64, nesterov bool) {
	for i := range param {
		g := float64(grad[i]) + weightDecay*float64(param[i])
		v := momentum*float64(velocity[i]) + g
		velocity[i] = T(v)
		if nesterov {
			v = g + momentum*v
		}
		param[i] = T(float64(param[i]) - lr*v)
	}
}

// Adam is step number step (from 1) of torch.optim.Adam over a parameter, or of
// AdamW where the weight decay is decoupled from the gradient. First and second
// start at zero.
func Adam[T Float](param, grad, first, second []T, step int, lr, beta1, beta2, eps, weightDecay float64, decoupled bool) {
	unbias1 := 1 - math.Pow(beta1, float64(step))
	unbias2 := 1 - math.Pow(beta2, float64(step))
	for i := range param {
		p, g := float64(param[i]), float64(grad[i])
		if decoupled {
			p -= lr * weightDecay * p
		} else {
			g += weightDecay * p
		}
		m := beta1*float64(first[i]) + (1-beta1)*g
		v := beta2*float64(second[i]) + (1-beta2)*g*g
		first[i], second[i] = T(m), T(v)
		param[i] = T(p - lr*(m/unbias1)/(math.Sqrt(v/unbias2)+eps))
	}
}
