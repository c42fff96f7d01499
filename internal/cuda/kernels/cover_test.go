package kernels

import (
	"slices"
	"testing"

	"github.com/surrogaze/surrogaze/internal/op"
)

// sizes are channels and pixels that fill vectors, blocks and groups, and that do not.
var (
	channelSizes = []int{1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 31, 32, 33, 64, 72, 96, 255, 256, 257, 264, 728, 1000, 1024, 2048, 2056, 4096}
	pixelSizes   = []int{1, 2, 3, 7, 49, 255, 256, 257, 1000, 4096, 100003, 8 << 20}
)

func TestEveryPixelAndChannelHasOneThread(t *testing.T) {
	for _, typ := range []Type{F32, BF16} {
		for _, channels := range channelSizes {
			for _, c := range covers(typ, channels) {
				coversAll(t, typ, channels, c)
			}
		}
	}
}

// coversAll fails unless a cover has a thread for each channel of each pixel, and few more.
func coversAll(t *testing.T, typ Type, channels int, c cover) {
	t.Helper()
	threads := c.across * c.down
	if channels%c.vector != 0 || c.across > 32 || threads > 256 || c.down&(c.down-1) != 0 {
		t.Errorf("%v, %d channels: cover %+v", typ, channels, c)
	}
	// The groups reach the last channel, and the last group has some.
	if covered := c.groups * c.across * c.vector; covered < channels || covered-c.across*c.vector >= channels {
		t.Errorf("%v, %d channels: cover %+v", typ, channels, c)
	}
	if threads < 128 {
		t.Errorf("%v, %d channels: blocks of %d threads, want at least 128", typ, channels, threads)
	}
	for _, pixels := range pixelSizes {
		for name, length := range map[string]int{"reducing": c.reducing(pixels), "mapping": c.mapping(pixels)} {
			l := c.launch("copy_channels_f32_v1", pixels, channels, length, Pointer(0), int32(0), int32(0), Pointer(0), int32(0), int32(0))
			if err := Check(l); err != nil {
				t.Errorf("%v, %d pixels, %d channels, %s: %v", typ, pixels, channels, name, err)
			}
			if chunks := l.Grid[0] / c.groups; chunks*length < pixels || (chunks-1)*length >= pixels || l.Grid[0]%c.groups != 0 {
				t.Errorf("%v, %d pixels, %d channels, %s: %d blocks for chunks of %d", typ, pixels, channels, name, l.Grid[0], length)
			}
		}
	}
}

func TestLargeMapsFillTheGPU(t *testing.T) {
	for _, typ := range []Type{F32, BF16} {
		for _, channels := range channelSizes {
			pixels := 1 << 30 / channels / typ.Size()
			c := coverOf(typ, channels)
			for name, length := range map[string]int{"reducing": c.reducing(pixels), "mapping": c.mapping(pixels)} {
				if blocks := divideUp(pixels, length) * c.groups; blocks < fullBlocks*9/10 {
					t.Errorf("%s %d pixels of %d channels in %v: %d blocks, want about %d at least", name, pixels, channels, typ, blocks, fullBlocks)
				}
			}
		}
	}
}

// covers are those that the channels of a type may have.
func covers(t Type, channels int) []cover {
	return []cover{coverOf(t, channels), coverSlices(t, quad, channels)}
}

// launches are those of every operator on feature maps of a shape.
func launches(s op.Shape, t Type) map[string][]Launch {
	const p = Pointer(256)
	n := int64(s.Len())
	norm := op.BatchNorm{In: s, Eps: 1e-5, Momentum: 0.1}
	pool := op.Pool{In: s, Kernel: 3, Stride: 2, Pad: 1}
	up := op.Upsample{In: s, Scale: 2, Bilinear: true}
	depthwise := op.Conv{In: s, Out: s.C, KernelH: 3, KernelW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, DilationH: 1, DilationW: 1, Groups: s.C}
	large := depthwise
	large.KernelH, large.KernelW, large.PadH, large.PadW = 11, 11, 5, 5
	return map[string][]Launch{
		"ToNHWC":                    ToNHWC(s, t, p, p),
		"ToNCHW":                    ToNCHW(s, t, p, p),
		"ImageToNHWC":               ImageToNHWC(s, p, p),
		"ResizeChannels":            ResizeChannels(s.Pixels(), t, p, 8, p, 3),
		"Convert":                   Convert(n, t, p, F32, p),
		"ReLU":                      ReLU(n, t, p, p),
		"ReLUBackward":              ReLUBackward(n, t, p, p, p),
		"Add":                       Add(n, t, p, p, p),
		"CopyChannels":              CopyChannels(s.Pixels(), s.C, t, p, s.C+3, 1, p, s.C, 0),
		"ConvEpilogue":              ConvEpilogue(s, t, p, p, p, true),
		"BiasGradient":              BiasGradient(s, t, p, p, p),
		"BatchNormTrain":            BatchNormTrain(norm, t, p, Slice{p, s.C}, p, true, p, p, p, p, p, p, p),
		"BatchNormEval":             BatchNormEval(norm, t, p, Slice{p, s.C + 8}, p, true, p, p, p, p),
		"BatchNormBackward":         BatchNormBackward(norm, t, p, p, p, p, p, Slice{p, s.C}, p, p, p, p, p, Slice{p, s.C}, Slice{p, s.C + 1}, p),
		"BatchNormFrozenBackward":   BatchNormFrozenBackward(norm, t, p, p, p, p, p, Slice{p, s.C}, p, p, p, p, p, Slice{}, Slice{}, p),
		"FoldBatchNorm":             FoldBatchNorm(depthwise, norm, t, p, p, p, p, p, p, p),
		"MaxPool":                   MaxPool(pool, t, p, p, p),
		"MaxPoolBackward":           MaxPoolBackward(pool, t, p, p, p),
		"AvgPool":                   AvgPool(pool, t, p, p),
		"AvgPool around each pixel": AvgPool(op.Pool{In: s, Kernel: 3, Stride: 1, Pad: 1, CountPad: true}, t, p, p),
		"AvgPoolBackward":           AvgPoolBackward(pool, t, p, p),
		"GlobalAvgPool":             GlobalAvgPool(s, t, p, p),
		"GlobalAvgPoolBackward":     GlobalAvgPoolBackward(s, t, p, p),
		"Upsample":                  Upsample(up, t, Slice{p, s.C}, p),
		"UpsampleBackward":          UpsampleBackward(up, t, p, Slice{p, s.C}),
		"Dropout":                   Dropout(s, t, p, p, 0.5, 1, p),
		"DropoutBackward":           DropoutBackward(s, t, p, p, 0.5, 1, p),
		"DepthwiseForward":          DepthwiseForward(depthwise, t, p, p, p),
		"DepthwiseForward of 11":    DepthwiseForward(large, t, p, p, p),
		"DepthwiseBackwardData":     DepthwiseBackwardData(depthwise, t, p, p, p),
		"DepthwiseBackwardWeights":  DepthwiseBackwardWeights(depthwise, t, p, p, p, p),
		"DepthwiseBackwardW. of 11": DepthwiseBackwardWeights(large, t, p, p, p, p),
	}
}

func TestLaunchesFitTheirKernels(t *testing.T) {
	for _, typ := range []Type{F32, BF16} {
		for _, s := range []op.Shape{{N: 1, C: 1, H: 1, W: 1}, {N: 3, C: 5, H: 7, W: 9}, {N: 128, C: 64, H: 256, W: 256}, {N: 512, C: 2048, H: 7, W: 7}, {N: 2, C: 728, H: 19, W: 19}} {
			for name, all := range launches(s, typ) {
				for _, l := range all {
					if err := Check(l); err != nil {
						t.Errorf("%s of %v in %v: %v", name, s, typ, err)
					}
				}
			}
		}
	}
}

func TestHeadsOfAllSizesFitTheirKernelsAndTheScratch(t *testing.T) {
	const p = Pointer(256)
	for _, typ := range []Type{F32, BF16} {
		for _, side := range []int{1, 3} {
			for lanes := 1; lanes <= 32; lanes *= 2 {
				for _, s := range []op.Shape{{N: 1, H: 1, W: 1}, {N: 3, H: 7, W: 9}, {N: 128, H: 256, W: 256}} {
					s.C = lanes * typ.width()
					g := op.Conv{In: s, Out: 1, KernelH: side, KernelW: side, StrideH: 1, StrideW: 1, PadH: side / 2, PadW: side / 2, DilationH: 1, DilationW: 1, Groups: 1}
					if !IsHead(g, typ) {
						t.Fatalf("%+v in %v is no head", g, typ)
					}
					weights := HeadBackwardWeights(g, typ, p, p, p, p)
					for _, l := range slices.Concat(HeadForward(g, typ, p, p, p, p), HeadBackwardData(g, typ, p, p, p), weights) {
						if err := Check(l); err != nil {
							t.Errorf("%+v in %v: %v", g, typ, err)
						}
					}
					if bytes := weights[0].Grid[0] * g.Weight().Len() * 4; bytes > Scratch {
						t.Errorf("%+v in %v: %d bytes of scratch", g, typ, bytes)
					}
				}
			}
		}
	}
}

func TestPartialSumsFitTheScratch(t *testing.T) {
	for _, typ := range []Type{F32, BF16} {
		for _, channels := range channelSizes {
			for _, pixels := range pixelSizes {
				for _, c := range covers(typ, channels) {
					if bytes := divideUp(pixels, c.reducing(pixels)) * 2 * channels * 4; bytes+4*channels+256 > Scratch {
						t.Errorf("batch norm of %d pixels, %d channels, %v: %d bytes of scratch", pixels, channels, typ, bytes)
					}
				}
				for _, side := range []int{3, 11} {
					g := op.Conv{In: op.Shape{N: 1, C: channels, H: 1, W: pixels}, Out: channels, KernelH: side, KernelW: side, StrideH: 1, StrideW: 1, PadH: side / 2, PadW: side / 2, DilationH: 1, DilationW: 1, Groups: channels}
					sums := DepthwiseBackwardWeights(g, typ, 0, 0, 0, 0)[1]
					if bytes := int(sums.Args[0].(int32)) * g.Weight().Len() * 4; bytes > Scratch {
						t.Errorf("%s of %d pixels, %d channels, %v: %d bytes of scratch", sums.Kernel, pixels, channels, typ, bytes)
					}
				}
			}
		}
	}
}
