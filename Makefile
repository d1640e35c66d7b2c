# The short front of the build: meson does the work, tools/ holds the longer recipes.
# Everything here runs alone on a fresh Debian 12 as root; `deps` installs what is missing.
PYTHON = /usr/bin/python3
MESON = $(PYTHON) /usr/bin/meson
PREFIX = /usr/local
# What `build` needs: the programs, without tests.
PROGRAMS = src/core,src/keydb,src/unpack,src/policy,src/wire,src/proto,src/loop,src/gate,src/runtime,src/agent,src/daemon,src/e2b,src/declawd,src/cli

.PHONY: all build build-test build-asan egress-suite demo test lint bench soak fuzz fuzz-live install clean deps

all: build

deps:
	@tools/deps

build/build.ninja: | deps
	@$(MESON) setup build --prefix=$(PREFIX) -Dfolders=$(PROGRAMS) > /dev/null
build-test/build.ninja: | deps
	@$(MESON) setup build-test -Dtest_hooks=true > /dev/null
build-asan/build.ninja: | deps
	@CC=clang $(MESON) setup build-asan -Dtest_hooks=true -Dbuildtype=debug -Db_sanitize=address,undefined \
		-Db_lundef=false > /dev/null

build: build/build.ninja
	@ninja -C build
build-test: build-test/build.ninja
	@ninja -C build-test
build-asan: build-asan/build.ninja
	@ninja -C build-asan

# The two programs of docs/egress-suite.md, static, in build-egress-suite/egress-suite.
build-egress-suite/build.ninja: | deps
	@$(MESON) setup build-egress-suite -Dfolders=egress-suite > /dev/null
egress-suite: build-egress-suite/build.ninja
	@ninja -C build-egress-suite

# LIVE=1 shows the same against the machine's real network instead of the hermetic one.
demo: build
	@PYTHONPATH=sdk/python:tests $(PYTHON) tools/demo.py --build build $(if $(LIVE),--live)

test: lint build-test build-asan
	@tools/deps clients
	@$(PYTHON) tests/clients/npm_packages.py > /dev/null
	@$(PYTHON) tools/run_tests.py

lint: deps
	@tools/lint

bench: build
	@tools/deps dnsmasq-base
	@PYTHONPATH=sdk/python:tests $(PYTHON) tools/bench.py --build build

# TIME=3600: for how many seconds all real clients run at once.
TIME = 3600
soak: build-test
	@tools/deps clients
	@$(PYTHON) tools/soak.py --build build-test --time $(TIME)

# SECONDS=60 for each target.
SECONDS = 60
fuzz: deps
	@tools/fuzz $(SECONDS)

# From inside a sandbox, against a live server with sanitizers. SEED=N does an earlier run again.
fuzz-live: TIME = 600
fuzz-live: build-asan
	@$(PYTHON) tools/fuzz_live.py --time $(TIME) $(if $(SEED),--seed $(SEED))

install: build
	@$(MESON) install -C build
	@$(PYTHON) tools/install_sdk.py --prefix=$(PREFIX)

clean:
	@rm -rf build build-test build-asan build-fuzz build-egress-suite build-clients
