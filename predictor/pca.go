package predictor

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/metric"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// Size of what "pca" sees and learns.
const (
	pcaSide       = 16 // side of the grey square that an image is reduced to
	pcaComponents = 16 // principal components of it at most
)

// pca predicts a map linearly from how an image scores on the principal components
// of the training images, seen small and grey (eigenfaces: Turk and Pentland 1991):
//
//	map(x) = mean map + sum over components k of weight[k] * (component[k] · (x - image))
//
// cut to [0, 1]. The weights are those of a ridge regression of the maps on the
// scores (Hoerl and Kennard 1970). Scores of different components do not correlate
// over the n training images, so each weight is found by itself:
//
//	weight[k] = sum over images (score[k] * map) / (sum over images score[k]² + penalty)
//
// The penalty is the mean squared distance of the images from their mean: a
// component that explains 1/n of the images' variance has half the weight that least
// squares would give it.
type pca struct {
	image      []float32   // mean grey image, (pcaSide, pcaSide)
	components [][]float32 // each (pcaSide, pcaSide), of length 1
	weights    [][]float32 // of each component, (size, size)
}

// fitPCA learns from the grey images of the samples and their maps (size, size).
func fitPCA(images [][]float64, maps [][]float32) *pca {
	n := float64(len(images))
	mean := make([]float64, len(images[0]))
	for _, x := range images {
		for i, v := range x {
			mean[i] += v / n
		}
	}
	p := &pca{image: narrow(mean)}
	var penalty float64
	for _, x := range images {
		for i, v := range x {
			penalty += (v - mean[i]) * (v - mean[i]) / n
		}
	}
	for _, component := range metric.PrincipalComponents(images, pcaComponents) {
		weight, squares := make([]float64, len(maps[0])), penalty
		for i, x := range images {
			score := 0.0
			for k, c := range component {
				score += c * (x[k] - mean[k])
			}
			squares += score * score
			for k, v := range maps[i] {
				weight[k] += score * float64(v)
			}
		}
		for k := range weight {
			weight[k] /= squares
		}
		p.components = append(p.components, narrow(component))
		p.weights = append(p.weights, narrow(weight))
	}
	return p
}

func narrow(values []float64) []float32 {
	list := make([]float32, len(values))
	for i, v := range values {
		list[i] = float32(v)
	}
	return list
}

// draw is the map of a grey image, (size, size), where the mean map is mean.
func (p *pca) draw(image []float64, mean []float32) []float32 {
	sum := make([]float64, len(mean))
	for i, v := range mean {
		sum[i] = float64(v)
	}
	for k, component := range p.components {
		score := 0.0
		for i, c := range component {
			score += float64(c) * (image[i] - float64(p.image[i]))
		}
		for i, w := range p.weights[k] {
			sum[i] += score * float64(w)
		}
	}
	for i, v := range sum {
		sum[i] = min(max(v, 0), 1)
	}
	return narrow(sum)
}

// grey is a sample's image as pca sees it: luma in [0, 1], (pcaSide, pcaSide).
func grey(s *sample) []float64 {
	const n = pcaSide * pcaSide
	rgb, luma := make([]float32, 3*n), make([]float64, n)
	s.image.View(rgb, pcaSide, raster.View{})
	for i := range luma {
		luma[i] = 0.299*float64(rgb[i]) + 0.587*float64(rgb[n+i]) + 0.114*float64(rgb[2*n+i])
	}
	return luma
}

// Names of the tensors of a pca in a model's file.
const (
	pcaImageTensor      = "pca.image"      // (pcaSide, pcaSide)
	pcaComponentsTensor = "pca.components" // (components, pcaSide, pcaSide)
	pcaWeightsTensor    = "pca.weights"    // (components, size, size)
)

func (p *pca) tensors(size int) []weights.Tensor {
	k := len(p.components)
	return []weights.Tensor{
		weights.Float32(pcaImageTensor, []int{pcaSide, pcaSide}, p.image),
		weights.Float32(pcaComponentsTensor, []int{k, pcaSide, pcaSide}, flat(p.components)),
		weights.Float32(pcaWeightsTensor, []int{k, size, size}, flat(p.weights)),
	}
}

func flat(rows [][]float32) []float32 {
	var all []float32
	for _, row := range rows {
		all = append(all, row...)
	}
	return all
}

// readPCA takes a pca from a file's tensors.
func readPCA(tensors []weights.Tensor, size int) (*pca, error) {
	byName := map[string][]float32{}
	for _, t := range tensors {
		byName[t.Name] = t.Data
	}
	p := &pca{image: byName[pcaImageTensor]}
	components, maps := byName[pcaComponentsTensor], byName[pcaWeightsTensor]
	const n = pcaSide * pcaSide
	k := len(components) / n
	if len(p.image) != n || len(components) != k*n || len(maps) != k*size*size {
		return nil, fmt.Errorf("tensors %q, %q and %q: found %d, %d and %d values, want %d, %d and %d for each of some components",
			pcaImageTensor, pcaComponentsTensor, pcaWeightsTensor, len(p.image), len(components), len(maps), n, n, size*size)
	}
	for i := range k {
		p.components = append(p.components, components[i*n:(i+1)*n])
		p.weights = append(p.weights, maps[i*size*size:(i+1)*size*size])
	}
	return p, nil
}
