package jpeg

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errDamaged says that a bit pattern is no code, or that a block gets more
// coefficients than it has.
var errDamaged = errors.New("found damaged data")

// A code stands for a symbol: how many zeros come before a coefficient, and of how
// many bits its value is, which follow the code.
type code uint32

func newCode(symbol uint8, length int) code {
	return code(symbol)<<16 | code(length)<<8 | code(length+int(symbol&15))
}

// all is the number of bits of code and value.
func (c code) all() uint { return uint(c & 63) }

func (c code) length() uint { return uint(c >> 8 & 63) }
func (c code) size() uint   { return uint(c >> 16 & 15) }
func (c code) run() int     { return int(c >> 20) }

// ends reports whether no coefficient follows: in this block, or in as many blocks as
// run says.
func (c code) ends() bool { return c.size() == 0 && c.run() < 15 }

// lookupBits is the length up to which codes are found in one step.
const lookupBits = 9

// huffman is a table of codes (T.81, annex C).
type huffman struct {
	lookup  [1 << lookupBits]code // by the next bits, 0 for longer codes
	limit   [17]uint32            // what codes up to a length stay below, as 16 bits
	offset  [17]int32             // from a code to the index of its symbol
	symbols [256]uint8
}

// newHuffman makes the table of a DHT segment: the number of codes of each length
// from 1 to 16, and their symbols.
func newHuffman(counts, symbols []byte) (*huffman, error) {
	h := new(huffman)
	copy(h.symbols[:], symbols)
	next, index := uint32(0), 0
	for n := 1; n <= 16; n++ {
		h.offset[n] = int32(index) - int32(next)
		count := int(counts[n-1])
		if int(next)+count > 1<<n {
			return nil, fmt.Errorf("found %d Huffman codes of %d bits, want at most %d behind those of fewer", count, n, 1<<n-next)
		}
		if n <= lookupBits {
			h.fill(next<<(lookupBits-n), symbols[index:index+count], n)
		}
		next += uint32(count)
		index += count
		h.limit[n] = next << (16 - n)
		next <<= 1
	}
	return h, nil
}

// fill puts codes of n bits into the lookup, of which the first begins at at.
func (h *huffman) fill(at uint32, symbols []byte, n int) {
	for _, symbol := range symbols {
		for range 1 << (lookupBits - n) {
			h.lookup[at] = newCode(symbol, n)
			at++
		}
	}
}

// find is the code at the head of word, 0 if there is none.
func (h *huffman) find(word uint64) code {
	c := h.lookup[word>>(64-lookupBits)]
	if c == 0 {
		c = h.search(word)
	}
	return c
}

// search is find for long codes. Inlined it would keep find from being so.
//
//go:noinline
func (h *huffman) search(word uint64) code {
	next := uint32(word >> 48)
	for n := lookupBits + 1; n <= 16; n++ {
		if next < h.limit[n] {
			return newCode(h.symbols[uint8(int32(next>>(16-n))+h.offset[n])], n)
		}
	}
	return 0
}

// bits reads coded data, from which stuffed bytes have been removed. Behind their
// end it reads zeros.
type bits struct {
	data  []byte
	at    int    // of the next byte
	word  uint64 // the next bits, the first one highest
	count uint   // of bits in word
}

// minBits is what a refill provides: enough for a code and the value behind it.
const minBits = 56

// refill tops word up to at least minBits. It is no method, so that the loops over
// coefficients keep the state in registers.
func refill(data []byte, at int, word uint64, count uint) (int, uint64, uint) {
	if at+8 <= len(data) {
		word |= binary.BigEndian.Uint64(data[at:]) >> count
	}
	return at + int((63-count)>>3), word, count | minBits
}

// overrun reports whether more was read than there was.
func (b *bits) overrun() bool { return 8*b.at-int(b.count) > 8*(len(b.data)-padding) }

// padding is the number of zeros behind the coded data.
const padding = 8

// least is the lowest value of so many bits, -1 less its highest magnitude.
var least = func() (v [16]int32) {
	for size := range v {
		v[size] = 1 - 1<<size
	}
	return v
}()

// extended is the value that the first size bits of word stand for (T.81, F.2.2.1):
// those with a leading 0 are negative.
func extended(word uint64, size uint) int32 {
	positive := int32(int64(word) >> 63)
	return int32(word>>1>>(63-size&63)) + least[size&15]&^positive
}

// take reads n bits, at most 16.
func (b *bits) take(n uint) int32 {
	b.at, b.word, b.count = refill(b.data, b.at, b.word, b.count)
	v := int32(b.word >> 1 >> (63 - n))
	b.word <<= n
	b.count -= n
	return v
}

// next reads a code, which is 0 if there is none, and the value behind it.
func (b *bits) next(h *huffman) (code, int32) {
	b.at, b.word, b.count = refill(b.data, b.at, b.word, b.count)
	c := h.find(b.word)
	value := extended(b.word<<c.length(), c.size())
	b.word <<= c.all()
	b.count -= c.all()
	return c, value
}
