package kernels

import "github.com/surrogaze/surrogaze/internal/op"

// pixelsOfWarp is how many pixels a warp sums over, as in cam.cu.
const pixelsOfWarp = 4

// CAM is the class activation map of [op.CAM]: features f of a type, w (Classes, C),
// class (N), cam (N, 1, H, W) planar. A constant map, and that of a class outside
// [0, Classes), is zeros.
func CAM(g op.CAM, t Type, cam, f, w, class Pointer) []Launch {
	return []Launch{
		activation(g, t, cam, f, w, class),
		eachActivation("cam_scale", g, cam),
	}
}

// CAMBackwardFeatures is the gradient of [CAM] by f, of f's type. Minimum and maximum
// pass their share to the first positions that have them.
func CAMBackwardFeatures(g op.CAM, t Type, df, dcam, f, w, class, scratch Pointer) []Launch {
	s, slopes := g.Features, scratch
	v := width(t, s.C)
	plane := s.H * s.W
	return append(activationSlopes(g, t, slopes, dcam, f, w, class), Launch{
		Kernel: vectorInstance("cam_backward_features", t, v),
		Grid:   [3]int{divideUp(plane*(s.C/v), threads), s.N, 1},
		Block:  [3]int{threads, 1, 1},
		Args:   []any{int32(plane), int32(s.C), int32(g.Classes), df, slopes, w, class},
	})
}

// CAMBackwardWeights is the gradient of [CAM] by w: dw (Classes, C).
func CAMBackwardWeights(g op.CAM, t Type, dw, dcam, f, w, class, scratch Pointer) []Launch {
	s, slopes := g.Features, scratch
	v := width(t, s.C)
	parts := imageParts(g, scratch)
	images := columns(vectorInstance("cam_image_weights", t, v), s.C/v, int32(s.H*s.W), int32(s.C), parts, slopes, f)
	images.Grid[1] = s.N
	classes := columns("cam_backward_weights", s.C, int32(s.N), int32(s.C), dw, parts, class)
	classes.Grid[1] = g.Classes
	return append(activationSlopes(g, t, slopes, dcam, f, w, class), images, classes)
}

// imageParts is where the scratch holds what each image adds to the gradient by the
// weights, (N, C): aligned behind the slopes.
func imageParts(g op.CAM, scratch Pointer) Pointer {
	return scratch.Offset((int64(g.Features.Pixels())*4 + 255) &^ 255)
}

// activation computes every image's map before its scaling.
func activation(g op.CAM, t Type, raw, f, w, class Pointer) Launch {
	const together = 4 // warps of a block
	s := g.Features
	return Launch{
		Kernel: vectorInstance("cam_raw", t, width(t, s.C)),
		Grid:   [3]int{divideUp(s.H*s.W, together*pixelsOfWarp), s.N, 1},
		Block:  [3]int{together * warp, 1, 1},
		Args:   []any{int32(s.H * s.W), int32(s.C), int32(g.Classes), raw, f, w, class},
	}
}

// activationSlopes computes the gradient by every image's map before its scaling.
func activationSlopes(g op.CAM, t Type, slopes, dcam, f, w, class Pointer) []Launch {
	return []Launch{
		activation(g, t, slopes, f, w, class),
		eachActivation("cam_slopes", g, slopes, dcam),
	}
}

// eachActivation is a launch with a block for each image's map.
func eachActivation(kernel string, g op.CAM, args ...any) Launch {
	s := g.Features
	return Launch{
		Kernel: kernel,
		Grid:   [3]int{s.N, 1, 1},
		Block:  [3]int{min(divideUp(s.H*s.W, warp)*warp, threads), 1, 1},
		Args:   append([]any{int32(s.H * s.W)}, args...),
	}
}
