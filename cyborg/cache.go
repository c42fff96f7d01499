package cyborg

import "sync"

// cache keeps pixels until its budget is spent. It lets nothing go again: an
// epoch needs everything once, so whatever would be let go is as good as what
// comes for it.
type cache struct {
	mu     sync.RWMutex
	budget int64
	held   map[guide]decoded
}

func (c *cache) get(g guide) (decoded, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	m, ok := c.held[g]
	return m, ok
}

// getOr decodes what the cache does not have, and keeps it while there is room.
func (c *cache) getOr(g guide, decode func() (decoded, error)) (decoded, error) {
	if m, ok := c.get(g); ok {
		return m, nil
	}
	m, err := decode()
	if err != nil {
		return m, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, held := c.held[g]; !held && m.bytes() <= c.budget {
		c.held[g] = m
		c.budget -= m.bytes()
	}
	return m, nil
}

// bytes is the memory that an entry takes.
func (m decoded) bytes() int64 {
	n := 128 + m.image.Bytes()
	if m.human != nil {
		n += 4 * int64(len(m.human.Pix))
	}
	return n
}
