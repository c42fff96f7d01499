//go:build !noasm

package kernel

//go:generate go run -C gen/elementwise . -out ../../vector_amd64.s -stubs ../../vector_stubs_amd64.go -pkg kernel

// assembly is the vector loops of every instruction set but Go's.
var assembly = map[ISA]*vector{
	AVX2: {
		relu: reluAVX2, reluBackward: reluBackwardAVX2, add: addAVX2, scale: scaleAVX2, axpy: axpyAVX2, blend: blendAVX2, fill: fillAVX2,
		sum: sumAVX2, sumProducts: sumProductsAVX2, outer: outerAVX2, weightedSum: weightedSumAVX2, dots: dotsAVX2,
		normalise: normaliseAVX2, normReLU: normReLUAVX2, normAdd: normAddAVX2, normAddReLU: normAddReLUAVX2,
		moments: momentsAVX2, gradSums: gradSumsAVX2, gradSumsMask: gradSumsMaskAVX2, gradSumsKeep: gradSumsKeepAVX2,
		gradApply: gradApplyAVX2, gradApplyMask: gradApplyMaskAVX2, scaleLanes: scaleLanesAVX2, scaleMask: scaleMaskAVX2,
		windowMax: windowMaxAVX2, windowSum: windowSumAVX2, windowFilter: windowFilterAVX2, windowPick: windowPickAVX2, windowAdd: windowAddAVX2,
		winograd: transforms{
			image: winogradImageAVX2, result: winogradResultAVX2, gradient: winogradGradientAVX2,
			filter: winogradFilterAVX2, filterGradient: winogradFilterGradientAVX2,
		},
		taps: tapsAVX2, sgd: sgdAVX2, adam: adamAVX2,
	},
	AVX512: {
		relu: reluAVX512, reluBackward: reluBackwardAVX512, add: addAVX512, scale: scaleAVX512, axpy: axpyAVX512, blend: blendAVX512, fill: fillAVX512,
		sum: sumAVX512, sumProducts: sumProductsAVX512, outer: outerAVX512, weightedSum: weightedSumAVX512, dots: dotsAVX512,
		normalise: normaliseAVX512, normReLU: normReLUAVX512, normAdd: normAddAVX512, normAddReLU: normAddReLUAVX512,
		moments: momentsAVX512, gradSums: gradSumsAVX512, gradSumsMask: gradSumsMaskAVX512, gradSumsKeep: gradSumsKeepAVX512,
		gradApply: gradApplyAVX512, gradApplyMask: gradApplyMaskAVX512, scaleLanes: scaleLanesAVX512, scaleMask: scaleMaskAVX512,
		windowMax: windowMaxAVX512, windowSum: windowSumAVX512, windowFilter: windowFilterAVX512, windowPick: windowPickAVX512, windowAdd: windowAddAVX512,
		winograd: transforms{
			image: winogradImageAVX512, result: winogradResultAVX512, gradient: winogradGradientAVX512,
			filter: winogradFilterAVX512, filterGradient: winogradFilterGradientAVX512,
		},
		taps: tapsAVX512, sgd: sgdAVX512, adam: adamAVX512,
	},
}
