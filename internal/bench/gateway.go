package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"

	"postern/relay/sign"
)

// gateway is the program under measurement.
type gateway struct {
	dir    string
	binary string
	smtp   string
	cmd    *exec.Cmd
	// showLog prints the gateway's errors; not where they are what is measured.
	showLog bool
}

type gatewayOptions struct {
	users  int
	signed bool
	relay  bool   // ordinary mail is taken
	lane   string // TOML of the lane, without its header
	down   bool   // nobody is at the other end of the lane
	index  string // a file that is the opt-out index at first
	shop   bool   // what comes from shopAddress is ordinary transactional mail, all else is bulk
}

func smtpLane(addr string) string { return narrowLane(addr, connections) }

func narrowLane(addr string, concurrency int) string {
	return fmt.Sprintf("driver = \"smtp\"\nconcurrency = %d\n[lane.smtp]\naddress = %q\ntls = \"none\"\n", concurrency, addr)
}

func sesLane(addr string) string {
	return fmt.Sprintf("driver = \"ses\"\nconcurrency = %d\n[lane.ses]\nregion = \"us-east-1\"\nendpoint = \"http://%s\"\n", connections, addr)
}

// start writes a configuration, imports users and serves.
func (b *bench) start(o gatewayOptions) (*gateway, error) {
	dir, err := os.MkdirTemp(b.dir, "gateway-")
	if err != nil {
		return nil, err
	}
	g := &gateway{dir: dir, binary: b.binary, showLog: !o.down}
	if err := g.configure(o); err != nil {
		return nil, err
	}
	if o.index != "" {
		if err := g.copyIndex(o.index); err != nil {
			return nil, err
		}
	}
	if o.users == 0 {
		return g, g.serve()
	}
	if err := writeUsers(filepath.Join(dir, "users.csv"), o.users); err != nil {
		return nil, err
	}
	if err := g.command("users", "import", "users.csv"); err != nil {
		return nil, err
	}
	return g, g.serve()
}

func (g *gateway) copyIndex(path string) error {
	data := filepath.Join(g.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(data, "index.db"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Sync(), to.Close())
}

func (g *gateway) configure(o gatewayOptions) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	g.smtp = "127.0.0.1:" + ports[0]
	key, _, err := sign.GenerateKey("example.com", "bench", 2048)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(g.dir, "dkim.pem"), key, 0o600); err != nil {
		return err
	}
	config := fmt.Sprintf(`hostname = "bench.example.com"
[log]
level = "error"
[[smtp.listener]]
address = %q
[[smtp.network]]
cidr = "127.0.0.0/8"
send_as = ["*@example.com"]
lists = ["all"]
relay = %v
%s[[list]]
id = "all"
address = "all@lists.example.com"
name = "All"
missing = "skip"
[[dkim]]
domain = "example.com"
selector = "bench"
key_file = "dkim.pem"
sign = %v
[optout]
listen = "127.0.0.1:%s"
[admin]
listen = "127.0.0.1:%s"
[[lane]]
name = "default"
%s`, g.smtp, o.relay, o.priorities(), o.signed, ports[1], ports[2], o.lane)
	return os.WriteFile(filepath.Join(g.dir, "config.toml"), []byte(config), 0o600)
}

// shopAddress is the client address of a shop's program: another network than that
// of the marketer, who is at 127.0.0.1.
const shopAddress = "127.0.0.2"

// priorities is the rest of the network's table, and the shop's.
func (o gatewayOptions) priorities() string {
	if !o.shop {
		return ""
	}
	return fmt.Sprintf(`priority = "bulk"
[[smtp.network]]
cidr = "%s/32"
send_as = ["*@example.com"]
relay = true
priority = "transactional"
`, shopAddress)
}

func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}

func writeUsers(path string, n int) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"Email", "Name", "Gender", "CreateTime", "SubscriptionStatus"})
	for i := range n {
		_ = w.Write([]string{fmt.Sprintf("customer.%07d@example.net", i*7919%n), fmt.Sprintf("고객 %d", i), "Female", "1700000000", "true"})
	}
	w.Flush()
	return os.WriteFile(path, b.Bytes(), 0o600)
}

func (g *gateway) command(args ...string) error {
	cmd := exec.Command(g.binary, args...)
	cmd.Dir = g.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("postern %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (g *gateway) serve() error {
	g.cmd = exec.Command(g.binary, "serve")
	g.cmd.Dir = g.dir
	out, err := g.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := g.cmd.Start(); err != nil {
		return err
	}
	ready := make(chan struct{})
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			if s.Text() == "ready" {
				close(ready)
			} else if g.showLog {
				fmt.Fprintln(os.Stderr, "gateway:", s.Text())
			}
		}
	}()
	select {
	case <-ready:
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("the gateway is not ready after 30 s")
	}
}

// submit sends one mail and returns when the 250 came.
func (g *gateway) submit(mail []byte, to string) (time.Time, error) {
	c, err := smtp.Dial(g.smtp)
	if err != nil {
		return time.Time{}, err
	}
	defer c.Close()
	err = c.SendMail("marketer@example.com", []string{to}, bytes.NewReader(mail))
	return time.Now(), err
}

// expanded waits until so many copies are queued.
func (g *gateway) expanded(n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		cmd := exec.CommandContext(ctx, g.binary, "queue", "list", "--json")
		cmd.Dir = g.dir
		out, err := cmd.Output()
		if err != nil {
			return err
		}
		var list []struct {
			State  string         `json:"state"`
			Copies map[string]int `json:"copies"`
		}
		if err := json.Unmarshal(out, &list); err != nil {
			return err
		}
		if len(list) > 0 && list[0].State == "sending" && list[0].Copies["queued"]+list[0].Copies["sending"] == n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not expanded in time: %s", out)
		case <-tick.C:
		}
	}
}

// anonymous is the process's anonymous resident memory in octets.
func (g *gateway) anonymous() (int64, error) { return anonymousOf(g.cmd.Process.Pid) }

func anonymousOf(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kb); err == nil {
			return kb * 1024, nil
		}
	}
	return 0, errors.New("no RssAnon in /proc/PID/status")
}

// end stops the gateway in order.
func (g *gateway) end() error {
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := g.cmd.Wait()
	g.cmd = nil
	return err
}

func (g *gateway) stop() {
	g.halt()
	_ = os.RemoveAll(g.dir)
}

// halt ends the gateway and leaves its files.
func (g *gateway) halt() {
	if g.cmd != nil {
		_ = g.cmd.Process.Kill()
		_ = g.cmd.Wait()
	}
}
