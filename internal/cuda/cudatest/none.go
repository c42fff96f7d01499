//go:build !gpu

package cudatest

// built says that the build has no driver.
const built = false
