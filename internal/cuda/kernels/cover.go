package kernels

// cover is how the blocks of a launch cover a feature map: threads take vectors of
// channels side by side along x and pixels along y, blocks the groups of channels of one
// chunk of pixels after the other.
type cover struct {
	vector int // channels of a thread
	across int // threads along the channels
	down   int // threads along the pixels, a power of two
	groups int
}

// fullBlocks is the number of blocks that fill the largest GPUs: 4 on each of 132
// multiprocessors.
const fullBlocks = 4 * 132

// coverOf takes vectors as wide as the channels allow, and so many side by side, at most
// 32, that few threads have none.
func coverOf(t Type, channels int) cover { return coverBy(width(t, channels), channels, 32) }

// Slice is channels in a row of a feature map that has Channels a pixel, from the address
// of the first on. The zero Slice is none.
type Slice struct {
	At       Pointer
	Channels int
}

// coverSlices is [coverOf] with vectors of a width where they fill the channels and lie
// aligned in slices of feature maps.
func coverSlices(t Type, vector, channels int, slices ...Slice) cover {
	for _, s := range append(slices, Slice{Channels: channels}) {
		if s.Channels%vector != 0 || int(s.At)%(vector*t.Size()) != 0 {
			vector = 1
		}
	}
	return coverBy(vector, channels, 32)
}

// coverBy takes vectors of a width, at most a number of them side by side.
func coverBy(vector, channels, most int) cover {
	vectors := divideUp(channels, vector)
	groups := divideUp(vectors, most)
	across := divideUp(vectors, groups)
	down := 1
	for 2*down*across <= threads {
		down *= 2
	}
	return cover{vector, across, down, groups}
}

// reducing is the length of the chunks of pixels over each of which a block sums: as
// many chunks as fill the GPU, but at least 4 pixels a thread.
func (c cover) reducing(pixels int) int {
	chunks := divideUp(fullBlocks, c.groups)
	return max(divideUp(pixels, chunks), 4*c.down)
}

// mapping is the length of the chunks where every pixel is computed alone: up to 8
// pixels a thread, which share what is the channels', where that leaves enough blocks.
func (c cover) mapping(pixels int) int {
	return c.down * min(max(pixels*c.groups/(c.down*fullBlocks), 1), 8)
}

// descent is the number of rows that threads go down which keep something from row to
// row: up to 32, and fewer, down to 8, where so many blocks that go down the whole height
// are too few to fill the GPU.
func descent(height, blocks int) int {
	const most, fewest = 32, 8
	pieces := min(max(divideUp(4*fullBlocks, blocks), divideUp(height, most)), divideUp(height, fewest))
	return divideUp(height, pieces)
}

// launch runs a kernel whose first parameters are pixels, channels, length.
func (c cover) launch(kernel string, pixels, channels, length int, args ...any) Launch {
	return Launch{
		Kernel: kernel,
		Grid:   [3]int{divideUp(pixels, length) * c.groups, 1, 1},
		Block:  [3]int{c.across, c.down, 1},
		Args:   append([]any{uint32(pixels), int32(channels), uint32(length)}, args...),
	}
}

// combining runs a kernel that combines the chunks' sums of n numbers, with 32 threads
// for the chunks of each.
func combining(kernel string, n int, args ...any) Launch {
	c := coverBy(1, n, 8)
	return Launch{Kernel: kernel, Grid: [3]int{c.groups, 1, 1}, Block: [3]int{c.across, c.down, 1}, Args: args}
}
