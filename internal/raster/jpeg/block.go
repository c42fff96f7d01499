package jpeg

func (s *scan) decodeBlock(c *scanned, x, y int) error {
	if !s.d.progressive {
		return s.sequential(c, x, y)
	}
	b := &c.coefficients[y*c.blocksX+x]
	switch {
	case s.end == 0 && s.high == 0:
		return s.firstDC(c, b)
	case s.end == 0:
		b.value[0] |= int16(s.bits.take(1) << s.low)
		return nil
	case s.high == 0:
		return s.firstAC(c, b)
	}
	return s.refineAC(c, b)
}

// progressive is a block of a progressive image while scans add to it: coefficients in
// zigzag order, not yet multiplied, which are 0 from end on.
type progressive struct {
	value [64]int16
	end   int
}

// sequential reads a block of all coefficients and transforms it.
func (s *scan) sequential(c *scanned, x, y int) error {
	var b block
	end, err := b.read(&s.bits, c)
	if err != nil {
		return err
	}
	c.put(&b, end, x, y)
	return nil
}

// read reads all coefficients (F.2.2), multiplies them, and returns the place behind
// the last in zigzag order.
func (b *block) read(r *bits, c *scanned) (end int, err error) {
	data, at, word, count := r.data, r.at, r.word, r.count
	ac, quantiser := c.ac, c.quantiser
	at, word, count = refill(data, at, word, count)
	dc := c.dc.find(word)
	if dc == 0 || dc.run() > 0 {
		return 0, errDamaged
	}
	c.predicted += extended(word<<dc.length(), dc.size())
	word <<= dc.all()
	count -= dc.all()
	b[0] = int64(c.predicted) * quantiser[0]
	end = 1
	for k := 1; k < 64; k++ {
		at, word, count = refill(data, at, word, count)
		code := ac.find(word)
		k += code.run()
		if code == 0 || k > 63 {
			err = errDamaged
			break
		}
		value := extended(word<<code.length(), code.size())
		word <<= code.all()
		count -= code.all()
		if code.ends() {
			break
		}
		b[words[k]&31] += int64(value) * quantiser[k]
		end = k + 1
	}
	r.at, r.word, r.count = at, word, count
	return end, err
}

// put transforms a block into the plane. Its coefficients are 0 from end on.
func (c *component) put(b *block, end, x, y int) {
	b.inverse(end, c.plane.Pix[8*(y*c.plane.Stride+x):], c.plane.Stride)
}

// firstDC reads the upper bits of a coefficient 0 (G.1.2.1).
func (s *scan) firstDC(c *scanned, b *progressive) error {
	code, difference := s.bits.next(c.dc)
	if code == 0 || code.run() > 0 {
		return errDamaged
	}
	c.predicted += difference
	b.value[0] = int16(c.predicted << s.low)
	b.end = max(b.end, 1)
	return nil
}

// firstAC reads the upper bits of a band of coefficients (G.1.2.2).
func (s *scan) firstAC(c *scanned, b *progressive) (err error) {
	if s.run > 0 {
		s.run--
		return nil
	}
	r := &s.bits
	data, at, word, count := r.data, r.at, r.word, r.count
	for k := s.start; k <= s.end; k++ {
		at, word, count = refill(data, at, word, count)
		code := c.ac.find(word)
		value := extended(word<<code.length(), code.size())
		word <<= code.all()
		count -= code.all()
		run := code.run()
		if code.ends() && code != 0 {
			s.run = int32(1)<<run - 1 + int32(word>>1>>(63-run))
			word <<= run
			count -= uint(run)
			break
		}
		k += run
		if code == 0 || k > s.end {
			err = errDamaged
			break
		}
		b.value[k] = int16(value << s.low)
		b.end = max(b.end, k+1)
	}
	r.at, r.word, r.count = at, word, count
	return err
}

// refineAC reads one more bit of every coefficient of a band that is not 0, and which
// others become 1 or -1 (G.1.2.3).
func (s *scan) refineAC(c *scanned, b *progressive) error {
	k := s.start
	for ; s.run == 0 && k <= s.end; k++ {
		code, value := s.bits.next(c.ac)
		if code == 0 || code.size() > 1 {
			return errDamaged
		}
		if code.ends() {
			s.run = int32(1)<<code.run() + s.bits.take(uint(code.run()))
			break
		}
		if k = s.refine(b, k, code.run()); k > s.end {
			return errDamaged
		}
		b.value[k] = int16(value << s.low)
		b.end = max(b.end, k+1)
	}
	if s.run > 0 {
		s.run--
		s.refine(b, k, 64)
	}
	return nil
}

// refine reads the next bit of the coefficients from k on that are not 0, up to the
// one that follows so many zeros, which it returns.
func (s *scan) refine(b *progressive, k, zeros int) int {
	r := &s.bits
	at, word, count := r.at, r.word, r.count
	step := int16(1) << s.low
	for ; k <= s.end; k++ {
		v := b.value[k]
		if v == 0 {
			if zeros == 0 {
				break
			}
			zeros--
			continue
		}
		if count == 0 {
			at, word, count = refill(r.data, at, word, count)
		}
		if word>>63 == 1 {
			b.value[k] += step * (v>>15 | 1)
		}
		word <<= 1
		count--
	}
	r.at, r.word, r.count = at, word, count
	return k
}

// transformAll transforms the blocks of a progressive component, after its last scan.
func (c *component) transformAll() {
	for y := range ceil(c.plane.H, 8) {
		for x := range ceil(c.plane.W, 8) {
			var b block
			p := &c.coefficients[y*c.blocksX+x]
			for k, v := range p.value[:p.end] {
				b[words[k]&31] += int64(v) * c.quantiser[k]
			}
			c.put(&b, p.end, x, y)
		}
	}
}
