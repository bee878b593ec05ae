# make demo and make test are all that a fresh Debian 12 with Go needs.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.0
FUZZTIME    := 30s

.PHONY: help build run demo test check peers fuzz bench e2e cover clean

help:
	@echo 'make demo    the main job on sample data, in a minute'
	@echo 'make run     start the gateway on loopback with config.toml'
	@echo 'make test    install the test peers where missing, then every test'
	@echo 'make check   gofmt, vet, staticcheck'
	@echo 'make fuzz    every fuzz target for $(FUZZTIME)'
	@echo 'make bench   the program beside bare loops, as a table of ratios'
	@echo 'make e2e     the whole program, and with exim, postfix, Java, PHP and Perl'
	@echo 'make cover   test coverage, as cover.html'

build:
	go build -o postern ./cmd/postern

demo: build
	./postern demo

# The first run makes a signing key and imports the sample users.
run: build
	@test -e data/dkim.pem || ./postern dkim keygen --domain example.com --selector postern --out data/dkim.pem
	@test -e data/directory.db || ./postern users import cmd/postern/sample/users.csv
	./postern serve

test: peers
	go test -race -shuffle=on -timeout 20m ./...

peers:
	@.ci/peers

check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

# A found input is kept by Go in the package's testdata/fuzz: commit it with its mend.
fuzz:
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -rhoP --include='*_test.go' '^func \KFuzz\w+' $$dir/*_test.go); do \
			echo "== $$dir $$target"; \
			go test -run=NONE -fuzz="^$$target$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=1s $$dir; \
		done; \
	done

# The table goes into docs/bench.md when it is measured on a quiet machine.
bench: build
	@.ci/peers e2e
	go run ./internal/bench -postern ./postern

e2e:
	@.ci/peers e2e
	go test -race -tags e2e -timeout 20m ./cmd/...

cover:
	go test -coverprofile=cover.out -coverpkg=./... ./...
	go tool cover -html=cover.out -o cover.html
	@go tool cover -func=cover.out | tail -1

clean:
	rm -rf postern cover.out cover.html testdata/peers/node_modules testdata/peers/e2e/node_modules testdata/peers/debs testdata/peers/bin
