package smtpd_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"postern/smtpd"
)

// exhausted is a listener whose first Accepts fail for want of files.
type exhausted struct {
	*pipes
	failures int
}

func (e *exhausted) Accept() (net.Conn, error) {
	if e.failures > 0 {
		e.failures--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return e.pipes.Accept()
}

// TestAWantOfFilesEndsNoListener: it is tried again, ever more slowly.
func TestAWantOfFilesEndsNoListener(t *testing.T) {
	change := func(c *smtpd.Config) {
		c.Listeners[0].Socket = &exhausted{pipes: c.Listeners[0].Socket.(*pipes), failures: 10}
	}
	overPipes(t, change, func(t *testing.T, p *pipes) {
		began := time.Now()
		c := use(t, p.dial("192.0.2.1:1000"))
		c.want("220")
		if d := time.Since(began); d < 3*time.Second || d > 10*time.Second {
			t.Errorf("the client was served after %s", d)
		}
		c.conn.Close()
	})
}

// TestAWantOfFilesDoesNotHoldShutdownUp.
func TestAWantOfFilesDoesNotHoldShutdownUp(t *testing.T) {
	change := func(c *smtpd.Config) {
		c.Listeners[0].Socket = &exhausted{pipes: c.Listeners[0].Socket.(*pipes), failures: 1 << 30}
	}
	overPipes(t, change, func(*testing.T, *pipes) {}) // the end of the test is a Shutdown that waits for Serve
}

// TestOtherFailuresEndServe, with a word about them.
func TestOtherFailuresEndServe(t *testing.T) {
	conf := config(t, &intake{})
	p := newPipes()
	conf.Listeners[0].Socket = p
	s, err := smtpd.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := s.Serve(); err == nil || err.Error() != "accept SMTP clients: "+net.ErrClosed.Error() {
		t.Errorf("Serve says %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAHandshakeHasADeadlineOfItsOwn, on an implicit listener.
func TestAHandshakeHasADeadlineOfItsOwn(t *testing.T) {
	for _, tt := range []struct{ read, want time.Duration }{{5 * time.Minute, 30 * time.Second}, {10 * time.Second, 10 * time.Second}} {
		change := func(c *smtpd.Config) {
			c.Listeners[0].TLS, c.GetCertificate, c.ReadTimeout = "implicit", newIdentity(t).get, tt.read
		}
		overPipes(t, change, func(t *testing.T, p *pipes) {
			began := time.Now()
			c := use(t, p.dial("192.0.2.1:1000"))
			_ = c.conn.SetDeadline(time.Time{})
			c.send("\x16\x03\x01")
			c.ends()
			if d := time.Since(began); d != tt.want {
				t.Errorf("with a read timeout of %s it ended after %s", tt.read, d)
			}
		})
	}
}
