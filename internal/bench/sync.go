package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver

	"postern/directory"
	"postern/directory/dynamodb"
	"postern/directory/mysqlsync"
)

// sync compares a first load of a table of MariaDB into dynalite with nothing but
// BatchWriteItem of the same users; then what a pass without any news costs.
func (b *bench) sync() error {
	root, stop, err := b.startMariaDB()
	if err != nil {
		return err
	}
	defer stop()
	if err := fillShop(root, tableUsers); err != nil {
		return err
	}
	d, err := b.startDynalite()
	if err != nil {
		return err
	}
	defer d.stop()
	var bares, loads, shares, agains []float64
	for round := range b.rounds + 1 {
		bare, err := d.bareWrites(tableUsers)
		if err != nil {
			return err
		}
		load, again, err := b.firstLoad(d, root, round)
		if err != nil {
			return err
		}
		if round == 0 {
			continue // warming up
		}
		bares, loads, shares, agains = append(bares, bare), append(loads, load), append(shares, load/bare), append(agains, again)
	}
	row(fmt.Sprintf("first load of %d rows of MariaDB into dynalite, chunks of %d, beside BatchWriteItem by %d callers", tableUsers, tableChunk, tableCalls),
		perSecond(median(loads)), perSecond(median(bares)), fmt.Sprintf("%.2f", median(shares)), ">= 0.8")
	row("the same rows reconciled, nothing new, rows a second", perSecond(median(agains)), "", "", "")
	return nil
}

// firstLoad is the sync as the program makes it, from an empty state into an empty table, and
// a reconcile after it; rows a second of both.
func (b *bench) firstLoad(d *dynalite, root string, round int) (load, again float64, err error) {
	ctx := context.Background()
	name, err := d.table()
	if err != nil {
		return 0, 0, err
	}
	dir := filepath.Join(b.dir, fmt.Sprintf("sync%d", round))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, 0, err
	}
	store, err := dynamodb.New(ctx, dynamodb.Config{Table: name, Endpoint: d.url})
	if err != nil {
		return 0, 0, err
	}
	index, err := directory.OpenIndex(filepath.Join(dir, "index.db"))
	if err != nil {
		return 0, 0, errors.Join(err, store.Close())
	}
	defer func() { err = errors.Join(err, index.Close(), store.Close(), d.drop(name), os.RemoveAll(dir)) }()
	state, err := mysqlsync.Open(filepath.Join(dir, "sync.db"))
	if err != nil {
		return 0, 0, err
	}
	defer state.Close()
	table, err := mysqlsync.OpenTable(ctx, mysqlsync.TableConfig{DSN: root + "shop", Table: "users", Key: "id", Updated: "update_at",
		Columns: map[string]string{"Email": "email", "Name": "name", "Gender": "gender", "CreateTime": "created_at", "SubscriptionStatus": "subscribed", "City": "city", "Grade": "grade", "Referrer": "referrer"}})
	if err != nil {
		return 0, 0, err
	}
	defer table.Close()
	s, err := mysqlsync.New(mysqlsync.Config{Source: table, Store: store, Index: index, State: state, Origin: "shop", Chunk: tableChunk, Overlap: time.Second, Tripwire: 0.2, Learn: index.Learn})
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	r, err := s.Run(ctx, mysqlsync.Options{}, nil)
	if err != nil || r.New != tableUsers {
		return 0, 0, fmt.Errorf("%d of %d users were loaded: %w", r.New, tableUsers, err)
	}
	load = tableUsers / time.Since(start).Seconds()
	start = time.Now()
	if r, err = s.Run(ctx, mysqlsync.Options{Reconcile: true}, nil); err != nil {
		return 0, 0, err
	}
	return load, float64(r.Read) / time.Since(start).Seconds(), nil
}

// startMariaDB starts a server of the bench's own and gives root's address.
func (b *bench) startMariaDB() (root string, stop func(), err error) {
	server, err := exec.LookPath("mariadbd")
	if err != nil {
		server = "/usr/sbin/mariadbd" // where only root's PATH looks
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	dir := filepath.Join(b.dir, "mariadb")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	args := []string{"--no-defaults", "--datadir=" + filepath.Join(dir, "db"), "--tmpdir=" + dir}
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	install := exec.Command("mariadb-install-db", append(args, "--auth-root-authentication-method=normal", "--skip-test-db")...)
	if out, err := install.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	cmd := exec.Command(server, append(args, "--bind-address=127.0.0.1", "--port="+port, "--socket="+filepath.Join(dir, "s"), "--pid-file="+filepath.Join(dir, "pid"),
		"--innodb-buffer-pool-size=64M", "--performance-schema=OFF", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0")...)
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			return "root@tcp(127.0.0.1:" + port + ")/", stop, c.Close()
		}
		if time.Now().After(deadline) {
			stop()
			return "", nil, fmt.Errorf("mariadbd does not listen: %w", err)
		}
	}
}

// fillShop makes the users of tableUser in a database shop, changed five minutes after each other.
func fillShop(root string, n int) error {
	db, err := sql.Open("mysql", root)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, text := range []string{"CREATE DATABASE shop CHARACTER SET utf8mb4",
		`CREATE TABLE shop.users (id BIGINT PRIMARY KEY, email VARCHAR(255), name VARCHAR(100), gender VARCHAR(10), created_at BIGINT,
			subscribed TINYINT(1), city VARCHAR(100), grade VARCHAR(10), referrer VARCHAR(200),
			update_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY (update_at, id))`} {
		if _, err := db.Exec(text); err != nil {
			return err
		}
	}
	const some = 1000
	for i := 0; i < n; i += some {
		var values []any
		for k := i; k < i+some; k++ {
			u := tableUser(k)
			values = append(values, k, string(u.Email), u.Value("Name"), u.Value("Gender"), u.Value("CreateTime"), u.Value("City"), u.Value("Grade"), u.Value("Referrer"), 1_700_000_000+300*k)
		}
		text := "INSERT INTO shop.users (id, email, name, gender, created_at, subscribed, city, grade, referrer, update_at) VALUES " +
			strings.TrimSuffix(strings.Repeat("(?,?,?,?,?,1,?,?,?,FROM_UNIXTIME(?)),", some), ",")
		if _, err := db.Exec(text, values...); err != nil {
			return err
		}
	}
	return nil
}
