//go:build gpu

package cudatest

// built says that the build has the driver.
const built = true
