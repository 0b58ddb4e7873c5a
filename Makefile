# Every target says what it is for; `make` alone lists them.

CARGO ?= cargo
TOOLS := target/tools
DENY_VERSION := 0.20.2
DENY := $(TOOLS)/bin/cargo-deny

.DEFAULT_GOAL := help
.PHONY: help test redis check fmt clippy docs features deny bench bench-guard

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Some tests start a redis-server of their own. It is found, or installed, before they need it. Most
# wait more than they work, so three of them run at once on the two cores that CI has.
test: ## Run every test of the workspace
	server=$$(scripts/redis-server.sh) && SHIFTWORK_REDIS_SERVER=$$server \
		RUST_TEST_THREADS=$${RUST_TEST_THREADS:-3} \
		$(CARGO) test --workspace --all-features --no-fail-fast

redis: ## Start a throw-away server to try things with, until Ctrl-C
	@scripts/redis.sh

check: fmt clippy docs features deny ## Run every check that is no test

fmt: ## Formatting
	$(CARGO) fmt --all --check

clippy: ## Lints, as errors
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings

docs: ## Documentation, its faults as errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --all-features --no-deps

# Each feature alone and none: what is behind one must not be needed by another.
features: ## Combinations of features
	$(CARGO) check -p shiftwork --lib --no-default-features
	$(CARGO) check -p shiftwork --lib --no-default-features --features memory
	$(CARGO) check -p shiftwork --lib --no-default-features --features redis
	$(CARGO) check -p shiftwork --lib --no-default-features --features tls
	$(CARGO) check -p shiftwork --lib --no-default-features --features sentinel
	$(CARGO) check -p shiftwork --lib --no-default-features --features cluster
	$(CARGO) check -p shiftwork-adapter --lib
	$(CARGO) check -p shiftwork-adapter --lib --features conformance
	$(CARGO) check -p shiftwork-jobs --lib
	$(CARGO) check -p shiftwork-jobs --lib --no-default-features
	$(CARGO) check -p shiftwork-jobs --lib --no-default-features --features data-retention
	$(CARGO) check -p shiftwork-jobs --lib --no-default-features --features schedule-watchdog
	$(CARGO) check -p shiftwork-jobs --lib --features sqlite

# Without advisories: their database is a repository of its own, and changes while nothing here does.
deny: $(DENY) ## Licences, sources and duplicates of dependencies
	$(DENY) --all-features check bans licenses sources

$(DENY):
	$(CARGO) install cargo-deny --locked --version $(DENY_VERSION) --root $(TOOLS)

# The contenders are a workspace of their own: nothing else builds them.
PEERS := benches/peers
CONTEST := server=$$(scripts/redis-server.sh) && SHIFTWORK_REDIS_SERVER=$$server \
	PEERS_NODE=$$(scripts/node.sh || true) target/peers/release/contest

bench: peers peers-node ## Measure against its peers: the goal table, in benches/RESULTS.md
	$(CONTEST) goals benches/RESULTS.md

bench-quick: peers ## The same for drain, bulk and idle, against one peer and the limit
	$(CONTEST) quick

bench-full: peers peers-node ## Every workload, both settings of persistence, all peers
	$(CONTEST) goals benches/RESULTS.md
	$(CONTEST) full benches/RESULTS-full.md
	$(CONTEST) growth docs

bench-growth: peers ## Plot what a job costs against how many wait, work and queue, in docs/growth.md
	$(CONTEST) growth docs

bench-own: ## Measure alone: jobs per second in process, what a job costs a Redis server
	$(CARGO) bench --bench in_process
	$(CARGO) bench --features redis --bench on_redis
	$(CARGO) bench --features redis --bench schedules
	$(CARGO) bench -p shiftwork-redis --bench cost
	$(CARGO) bench -p shiftwork-redis --bench scale
	$(CARGO) bench -p shiftwork-redis --all-features --bench forms

.PHONY: bench-quick bench-full bench-growth bench-own peers peers-node
peers:
	$(CARGO) build --release --manifest-path $(PEERS)/Cargo.toml --target-dir target/peers

# By its lock file; `npm ci` would want packages for every other system to be there too. Where there
# is no node, the contender on it is left out.
peers-node:
	-scripts/node.sh >/dev/null && cd $(PEERS)/contenders/bullmq-node && npm install --no-audit --no-fund

# Counted by valgrind, so that noise does not move it. UPDATE=1 writes what is measured into the baseline,
# benches/guard.toml.
bench-guard: export UPDATE := $(UPDATE)
bench-guard: ## Fail where a job takes more instructions than its baseline
	valgrind=$$(scripts/valgrind.sh) && server=$$(scripts/redis-server.sh) && \
		SHIFTWORK_VALGRIND=$$valgrind SHIFTWORK_REDIS_SERVER=$$server \
		$(CARGO) bench --features redis --bench guard
