package hosting

import "time"

// SetTimeout makes calls shorter than anybody waits for.
func (b *Bucket) SetTimeout(d time.Duration) { b.timeout = d }
