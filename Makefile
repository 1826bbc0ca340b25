# `make help` lists what there is. Each target is complete in itself: what is missing on a fresh Debian is installed
# (as root) or named, and compiled dependencies are kept in ~/.cache/heraldmq for the next checkout.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build run test test-rust test-clients torture scale check deny fuzz bench peers instructions clean tools

CARGO ?= cargo
# Links RocksDB from a copy compiled once for the machine, as soon as the project uses it.
ROCKSDB := eval "$$(.ci/rocksdb-cache)";

# Most tests wait for a broker to answer, or to be silent, far longer than they compute.
THREADS ?= 16

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

build: tools ## compile the program to target/release/heraldmq
	@.ci/cache restore release
	$(ROCKSDB) $(CARGO) build --release --locked
	@.ci/cache save release

run: build ## compile it if needed, and serve on config/heraldmq.toml until Ctrl-C
	@[ -e certs/dev/server.pem ] || target/release/heraldmq certs certs/dev
	target/release/heraldmq --config config/heraldmq.toml

test: test-rust test-clients ## every test: the crate's own, then real MQTT clients against the program

test-rust: tools ## the crate's own tests alone
	@.ci/cache restore debug
	$(ROCKSDB) RUST_TEST_THREADS=$(THREADS) $(CARGO) test --locked --no-fail-fast

test-clients: tools ## the real MQTT clients alone
	@.ci/cache restore debug
	$(ROCKSDB) $(CARGO) build --locked --bin heraldmq --example with_rumqttc
	@installed=$$(.ci/clients); python3 tests/clients/run.py --installed "$$installed"

torture: tools ## hundreds of kills, power cuts, failing disks and damaged files, a million waiting messages; a line of JSON for each run
	@.ci/need mosquitto=mosquitto
	@.ci/cache restore release
	$(ROCKSDB) $(CARGO) test --release --locked --test durability -- --ignored --nocapture --test-threads=2 --skip shim

# Optimised, because a million of each takes its time otherwise; the figures are in src/docs/operating.md.
scale: tools ## a million topics, subscriptions and sessions: what one costs, and what is left when they have gone
	@.ci/cache restore release
	$(ROCKSDB) $(CARGO) test --release --locked --test scale -- --ignored --nocapture --test-threads=1

# The list of known vulnerabilities comes from github.com; where that cannot be reached, DENY="bans licenses sources" is the rest.
DENY ?= all
deny: tools ## licences, known vulnerabilities, duplicates and sources of everything that is linked (needs cargo-deny)
	@command -v cargo-deny >/dev/null || { echo "missing: cargo install --locked cargo-deny" >&2; exit 1; }
	$(CARGO) deny --locked check $(DENY)

check: tools ## formatting and lints
	$(CARGO) fmt --check
	@.ci/cache restore debug
	$(ROCKSDB) $(CARGO) clippy --locked --all-targets -- -D warnings

SECONDS ?= 60
FUZZ ?= decode session_ops filter_match layers tls
# libFuzzer without cargo-fuzz, which asks for a nightly compiler unless it is told not to and has to be compiled first:
# a stable compiler has the coverage pass, and gcc compiles the rest.
fuzz: tools ## the fuzz targets (FUZZ="decode layers" for some), each for SECONDS=60; what they find is kept in target/fuzz
	@.ci/cache restore debug
	@cp Cargo.lock tests/fuzz/Cargo.lock
	$(ROCKSDB) cd tests/fuzz && RUSTC_WRAPPER="$$PWD/instrumented" $(CARGO) build --target-dir ../../target
	@for target in $(FUZZ); do \
		kept=target/fuzz/$$target; mkdir -p $$kept/corpus $$kept/seeds; echo "fuzzing $$target for $(SECONDS) s"; \
		FUZZ_TARGET=$$target FUZZ_SEEDS=$$kept/seeds target/debug/heraldmq-fuzz -max_total_time=$(SECONDS) -max_len=2048 \
			-timeout=10 -print_final_stats=1 -artifact_prefix=$$kept/ $$kept/corpus $$kept/seeds 2>&1 \
			| grep -vE '^#[0-9]+\s+(NEW|REDUCE|RELOAD)'; \
	done
# mosquitto is started from here, on a port of its own: its system service is not needed and not touched.
# PEERS=1 installs rumqttd and Aedes for it, as `make peers` does. Once there, they take part unless it is quick.
bench: tools ## CPU for a message and memory for a connection, kept messages too, next to a minimal relay and mosquitto; QUICK=1 takes less
	@PATH=$$PATH:/usr/sbin .ci/need mosquitto=mosquitto
	@$(if $(PEERS),.ci/peers)
	@.ci/cache restore release
	$(ROCKSDB) $(CARGO) bench --locked --bench brokers -- $(if $(QUICK),--quick) \
		$(if $(PEERS)$(if $(QUICK),,1),--peers "$$(.ci/peers where)")
	@.ci/cache save release

peers: tools ## install rumqttd and Aedes, for `make bench` to compare with
	@.ci/peers

instructions: tools ## instructions of the steps every message takes, against those expected; UPDATE=1 writes them down
	@.ci/need valgrind=valgrind
	@.ci/cache restore release
	$(ROCKSDB) $(if $(UPDATE),UPDATE=1) $(CARGO) bench --locked --bench instructions
	@.ci/cache save release

clean: ## remove what was compiled here; the cache stays
	$(CARGO) clean

tools:
	@command -v $(CARGO) >/dev/null || { echo "missing: cargo, of Rust 1.95 or newer" >&2; exit 1; }
	@.ci/need cc=gcc c++=g++
