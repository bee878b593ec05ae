package optout

// LimitedNetworks is how many networks are remembered.
func (h *Handler) LimitedNetworks() int {
	h.limit.mu.Lock()
	defer h.limit.mu.Unlock()
	return len(h.limit.now) + len(h.limit.old)
}

// WatchedDomains is how many domains are counted.
func (h *Handler) WatchedDomains() int {
	h.watch.mu.Lock()
	defer h.watch.mu.Unlock()
	return len(h.watch.domains)
}
