package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// accept compares how fast ordinary mail is taken by three servers, from
// postfix's smtp-source: 16 sessions at a time, a new connection for each mail of
// 10 KB. Postern has body and rows on disk before each 250. The private postfix
// has its queue file there, and holds the mail. The bare go-smtp server keeps
// nothing. Nothing is sent on meanwhile: Postern's upstream is down.
//
// No server's files are removed before the end, because a file system may be slow
// to make new files where many were just removed.
func (b *bench) accept() error {
	source, err := findPostfix()
	if err != nil {
		return err
	}
	var ours, open, theirs, bares []float64
	for range b.rounds {
		our, err := b.acceptPostern(source, gatewayOptions{relay: true, lane: smtpLane("127.0.0.1:9"), down: true})
		if err != nil {
			return fmt.Errorf("postern: %w", err)
		}
		sending, err := b.acceptSending(source)
		if err != nil {
			return fmt.Errorf("postern, sending: %w", err)
		}
		their, err := b.acceptPostfix(source)
		if err != nil {
			return fmt.Errorf("postfix: %w", err)
		}
		bare, err := b.acceptBare(source)
		if err != nil {
			return fmt.Errorf("bare: %w", err)
		}
		ours, open, theirs, bares = append(ours, our), append(open, sending), append(theirs, their), append(bares, bare)
	}
	o, p, r := median(ours), median(theirs), median(bares)
	what := fmt.Sprintf("durable acceptance, %d mails of 10 KB, 16 sessions", b.mails)
	row(what+", beside a private postfix that holds them", perSecond(o), perSecond(p), fmt.Sprintf("%.2f", o/p), ">= 5")
	row(what+", beside a bare go-smtp that discards", perSecond(o), perSecond(r), fmt.Sprintf("%.2f", o/r), ">= 0.6")
	row(what+", while they are sent on to a sink", perSecond(median(open)), perSecond(r), fmt.Sprintf("%.2f", median(open)/r), "")
	return b.acceptCampaign()
}

func perSecond(v float64) string { return fmt.Sprintf("%.0f/s", v) }

func (b *bench) acceptPostern(source *postfix, o gatewayOptions) (float64, error) {
	g, err := b.start(o)
	if err != nil {
		return 0, err
	}
	defer g.halt()
	return b.load(source, g.smtp)
}

func (b *bench) acceptSending(source *postfix) (float64, error) {
	s, err := startSink(b.mails)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	return b.acceptPostern(source, gatewayOptions{relay: true, signed: true, lane: smtpLane(s.addr), down: true})
}

func (b *bench) acceptBare(source *postfix) (float64, error) {
	s, err := startSink(b.mails)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	return b.load(source, s.addr)
}

func (b *bench) acceptPostfix(source *postfix) (float64, error) {
	dir, err := os.MkdirTemp(b.dir, "postfix-")
	if err != nil {
		return 0, err
	}
	addr, stop, err := source.serve(dir)
	if err != nil {
		return 0, err
	}
	defer stop()
	return b.load(source, addr)
}

// load sends the mails after some that warm the server up; mails a second.
func (b *bench) load(source *postfix, addr string) (float64, error) {
	if err := source.send(addr, 100); err != nil {
		return 0, err
	}
	start := time.Now()
	err := source.send(addr, b.mails)
	return float64(b.mails) / time.Since(start).Seconds(), err
}

// acceptCampaign measures one client that submits a campaign of 100 KB again and
// again: connect, hand over, compile, sync, 250. The list has nobody in it.
func (b *bench) acceptCampaign() error {
	const runs = 50
	g, err := b.start(gatewayOptions{signed: true, lane: smtpLane("127.0.0.1:9"), down: true})
	if err != nil {
		return err
	}
	defer g.halt()
	mail := campaign(100)
	var took []float64
	for range runs {
		start := time.Now()
		accepted, err := g.submit(mail, "all@lists.example.com")
		if err != nil {
			return err
		}
		took = append(took, accepted.Sub(start).Seconds()*1000)
	}
	row(fmt.Sprintf("a campaign of 100 KB, from the connection to the 250, median of %d", runs), fmt.Sprintf("%.1f ms", median(took)), "", "", "")
	return nil
}

// postfix is where the programs of the peers' postfix are.
type postfix struct{ root string }

// findPostfix takes what `.ci/peers e2e` has unpacked.
func findPostfix() (*postfix, error) {
	root, err := filepath.Abs("testdata/peers/debs/postfix")
	if err != nil {
		return nil, err
	}
	p := &postfix{root}
	if _, err := os.Stat(p.program("usr/sbin/smtp-source")); err != nil {
		return nil, fmt.Errorf("postfix is not in testdata/peers/debs: run `.ci/peers e2e` in the project's folder: %w", err)
	}
	return p, nil
}

func (p *postfix) program(name string) string { return filepath.Join(p.root, name) }

func (p *postfix) libraries() string {
	return p.program("usr/lib/postfix") + ":" + p.program("usr/lib/x86_64-linux-gnu") + ":" + p.program("usr/lib/aarch64-linux-gnu")
}

// send is smtp-source with so many mails.
func (p *postfix) send(addr string, mails int) error {
	cmd := exec.Command("timeout", "120", p.program("usr/sbin/smtp-source"), "-s", "16", "-m", strconv.Itoa(mails), "-l", "10240",
		"-f", "a@example.com", "-t", "b@example.net", addr)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+p.libraries(), "MAIL_CONFIG=/nonexistent")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("smtp-source: %w: %s", err, out)
	}
	return nil
}

// serve starts a postfix of its own in dir, which takes all mail from this machine
// and holds it.
func (p *postfix) serve(dir string) (addr string, stop func(), err error) {
	if os.Getuid() != 0 {
		return "", nil, errors.New("postfix's master must be started by root; run the bench as root, or without this part by -only")
	}
	ports, err := freePorts(1)
	if err != nil {
		return "", nil, err
	}
	addr = net.JoinHostPort("127.0.0.1", ports[0])
	if err := p.configure(dir, addr); err != nil {
		return "", nil, err
	}
	cmd := exec.Command(p.program("usr/lib/postfix/sbin/master"), "-c", filepath.Join(dir, "etc"), "-d")
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+p.libraries())
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() { // its children end when their master is gone
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if err := listens(addr); err != nil {
		stop()
		return "", nil, err
	}
	return addr, stop, nil
}

// listens waits until somebody accepts connections at addr.
func listens(addr string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		<-tick.C
	}
	return fmt.Errorf("nobody listens on %s after 10 s", addr)
}

// configure writes what a postfix needs that only takes mail. Owner and group of
// the queue are two that every Debian has and nobody uses. in_flow_delay is off
// because it would slow acceptance down to the speed of delivery, which is none;
// nothing is logged.
func (p *postfix) configure(dir, addr string) error {
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // for the mail owner
		return err
	}
	script := `set -e
cd "$1"; chmod 755 .; mkdir -p etc data queue; cd queue
mkdir -p active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace
chown uucp ../data active bounce corrupt defer deferred flush hold incoming private public saved trace
chgrp tty public maildrop; chmod 700 active bounce corrupt defer deferred flush hold incoming private saved trace ../data
chmod 710 public; chmod 730 maildrop
cat > ../etc/main.cf <<EOF
compatibility_level = 3.6
queue_directory = $1/queue
data_directory = $1/data
daemon_directory = $2/usr/lib/postfix/sbin
command_directory = $2/usr/sbin
shlib_directory = $2/usr/lib/postfix
meta_directory = $2/etc/postfix
import_environment = MAIL_CONFIG LD_LIBRARY_PATH=$3
mail_owner = uucp
setgid_group = tty
myhostname = bench.example.com
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_client_access static:HOLD
in_flow_delay = 0
EOF
cat > ../etc/master.cf <<EOF
$4 inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
EOF
`
	if out, err := exec.Command("sh", "-c", script, "sh", dir, p.root, p.libraries(), addr).CombinedOutput(); err != nil {
		return fmt.Errorf("set postfix up: %w: %s", err, out)
	}
	return nil
}
