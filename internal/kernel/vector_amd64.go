//go:build !noasm

package kernel

//go:generate go run -C gen/elementwise . -out ../../vector_amd64.s -stubs ../../vector_stubs_amd64.go -pkg kernel

// assembly is the vector loops of every instruction set but Go's.
var assembly = map[ISA]*vector{AVX2: &avx2, AVX512: &avx512, AVX512BF16: &avx512bf16, AMX: &avx512bf16}

var (
	avx2 = vector{
		blockwise: blockwise[float32]{
			relu: reluAVX2, reluBackward: reluBackwardAVX2, add: addAVX2, fill: fillAVX2, sum: sumAVX2,
			normalise: normaliseAVX2, normReLU: normReLUAVX2, normAdd: normAddAVX2, normAddReLU: normAddReLUAVX2,
			moments: momentsAVX2, gradSums: gradSumsAVX2, gradSumsMask: gradSumsMaskAVX2, gradSumsKeep: gradSumsKeepAVX2,
			gradApply: gradApplyAVX2, gradApplyMask: gradApplyMaskAVX2, scaleLanes: scaleLanesAVX2, scaleMask: scaleMaskAVX2,
		},
		bf16: generic.bf16, widen: goWiden, narrow: goNarrow, pairs: goPairs, pairFloats: goPairFloats, join: goJoin,
		axpy: axpyAVX2, blend: blendAVX2,
		sumProducts: sumProductsAVX2, outer: outerAVX2, weightedSum: weightedSumAVX2, dots: dotsAVX2,
		windowMax: windowMaxAVX2, windowSum: windowSumAVX2, windowFilter: windowFilterAVX2, filter3x3: filter3x3AVX2, windowPick: windowPickAVX2, windowAdd: windowAddAVX2,
		winograd: transforms{
			image: winogradImageAVX2, result: winogradResultAVX2, gradient: winogradGradientAVX2,
			filter: winogradFilterAVX2, filterGradient: winogradFilterGradientAVX2,
		},
		taps: tapsAVX2, sgd: sgdAVX2, adam: adamAVX2,
	}
	avx512bf16 = withBF16(avx512)

	avx512 = vector{
		blockwise: blockwise[float32]{
			relu: reluAVX512, reluBackward: reluBackwardAVX512, add: addAVX512, fill: fillAVX512, sum: sumAVX512,
			normalise: normaliseAVX512, normReLU: normReLUAVX512, normAdd: normAddAVX512, normAddReLU: normAddReLUAVX512,
			moments: momentsAVX512, gradSums: gradSumsAVX512, gradSumsMask: gradSumsMaskAVX512, gradSumsKeep: gradSumsKeepAVX512,
			gradApply: gradApplyAVX512, gradApplyMask: gradApplyMaskAVX512, scaleLanes: scaleLanesAVX512, scaleMask: scaleMaskAVX512,
		},
		bf16: generic.bf16, widen: goWiden, narrow: goNarrow, pairs: goPairs, pairFloats: goPairFloats, join: goJoin,
		axpy: axpyAVX512, blend: blendAVX512,
		sumProducts: sumProductsAVX512, outer: outerAVX512, weightedSum: weightedSumAVX512, dots: dotsAVX512,
		windowMax: windowMaxAVX512, windowSum: windowSumAVX512, windowFilter: windowFilterAVX512, filter3x3: filter3x3AVX512, windowPick: windowPickAVX512, windowAdd: windowAddAVX512,
		winograd: transforms{
			image: winogradImageAVX512, result: winogradResultAVX512, gradient: winogradGradientAVX512,
			filter: winogradFilterAVX512, filterGradient: winogradFilterGradientAVX512,
		},
		taps: tapsAVX512, sgd: sgdAVX512, adam: adamAVX512,
	}
)

// withBF16 is a set with loops over bfloat16.
func withBF16(v vector) vector {
	v.widen, v.narrow = widenAVX512BF16, narrowAVX512BF16
	v.pairs, v.pairFloats, v.join = pairsAVX512BF16, pairFloatsAVX512BF16, joinAVX512BF16
	v.bf16 = blockwise[BF16]{
		relu: reluAVX512BF16, reluBackward: reluBackwardAVX512BF16, add: addAVX512BF16, fill: fillAVX512BF16, sum: sumAVX512BF16,
		normalise: normaliseAVX512BF16, normReLU: normReLUAVX512BF16, normAdd: normAddAVX512BF16, normAddReLU: normAddReLUAVX512BF16,
		moments: momentsAVX512BF16, gradSums: gradSumsAVX512BF16, gradSumsMask: gradSumsMaskAVX512BF16, gradSumsKeep: gradSumsKeepAVX512BF16,
		gradApply: gradApplyAVX512BF16, gradApplyMask: gradApplyMaskAVX512BF16, scaleLanes: scaleLanesAVX512BF16, scaleMask: scaleMaskAVX512BF16,
	}
	return v
}
