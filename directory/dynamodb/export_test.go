package dynamodb

import "time"

// PollEvery sets how often a running import is asked for.
func (s *Store) PollEvery(d time.Duration) { s.poll = d }
