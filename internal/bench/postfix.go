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

// holding is the part of main.cf of a postfix that takes all mail and sends none.
const holding = "smtpd_recipient_restrictions = check_client_access static:HOLD\n"

// relaying is that of a postfix which sends all mail to addr, by so many
// connections at once from the start. It asks no DNS. Its cache of connections is
// off: with a sink so near it cost about a fifth of postfix's rate.
func relaying(addr string, concurrency int) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf(`relayhost = [%s]:%s
default_transport = smtp
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_security_level = none
smtpd_peername_lookup = no
smtp_destination_concurrency_limit = %d
initial_destination_concurrency = %[3]d
smtp_connection_cache_on_demand = no
`, host, port, concurrency)
}

// startPostfix gives a postfix a folder of its own, which is removed at the end of
// the bench.
func (b *bench) startPostfix(source *postfix, main string) (addr string, stop func(), err error) {
	dir, err := os.MkdirTemp(b.dir, "postfix-")
	if err != nil {
		return "", nil, err
	}
	return source.serve(dir, main)
}

// serve starts a postfix in dir, which takes all mail from this machine; what it
// does with it is said by main.
func (p *postfix) serve(dir, main string) (addr string, stop func(), err error) {
	if os.Getuid() != 0 {
		return "", nil, errors.New("postfix's master must be started by root; run the bench as root, or without this part by -only")
	}
	ports, err := freePorts(1)
	if err != nil {
		return "", nil, err
	}
	addr = net.JoinHostPort("127.0.0.1", ports[0])
	if err := p.configure(dir, addr, main); err != nil {
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

// configure writes what a postfix needs that takes mail and does with it what main
// says. Owner and group of the queue are two that every Debian has and nobody uses.
// in_flow_delay is off because it would slow acceptance down to the speed of
// delivery; nothing is logged.
func (p *postfix) configure(dir, addr, main string) error {
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
in_flow_delay = 0
$5
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
smtp unix - - n - - smtp
EOF
`
	if out, err := exec.Command("sh", "-c", script, "sh", dir, p.root, p.libraries(), addr, main).CombinedOutput(); err != nil {
		return fmt.Errorf("set postfix up: %w: %s", err, out)
	}
	return nil
}
