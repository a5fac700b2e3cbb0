# Convoke. `make` shows what there is.

ALL := --workspace --all-targets --all-features
# Without cargo-nextest the tests run under plain cargo.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

THREE_NODES := start-cluster start-node1 start-node2 start-node3 clean

.PHONY: $(THREE_NODES) help run demo test verify fix soak bench-quick

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  \1\t\2/' | expand -t 16

run: ## Run the order system: three nodes in one process, nothing else needed
	cargo run --locked -p orders

demo: ## Run it as three processes on a real NATS and Redis; Ctrl-C stops all
	@scripts/demo.sh

start-cluster: ## Run the three-node key-value store of examples/three-nodes; Ctrl-C stops all
start-node1: ## Run one of its nodes; start-node2 and start-node3 run the others
clean: ## Remove its logs and databases
$(THREE_NODES):
	@$(MAKE) --no-print-directory -C examples/three-nodes $@

test: export CONVOKE_REQUIRE_SERVERS = 1
test: ## Run every test, with real servers (found, or fetched into target/tools)
	scripts/get-servers.sh
ifeq ($(NEXTEST),yes)
	cargo nextest run --locked --workspace --all-features $(if $(CI),--profile ci)
else
	cargo test --locked --workspace --all-features --no-fail-fast --lib --bins --tests --examples
endif
	cargo test --locked --workspace --all-features --doc

verify: ## Check format, lints, docs, features, licences; writes nothing
	cargo fmt --all --check
	cargo clippy --locked $(ALL) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --all-features --no-deps
	scripts/each-feature.sh
	scripts/deny.sh

fix: ## Write what can be written: lints, then format
	cargo clippy --fix --allow-dirty --allow-staged $(ALL)
	cargo fmt --all

soak: export CONVOKE_PROPTEST_CASES = 1000000
soak: export CONVOKE_SOAK = 1
soak: export CONVOKE_REQUIRE_SERVERS = 1
soak: ## Run property tests with a million cases, and each fault twenty times under 5,000 orders
	scripts/get-servers.sh
	cargo test --profile soak --locked --workspace --all-features --lib --tests

bench-quick: ## Measure beside raw clients and peers, in a few minutes
	scripts/get-servers.sh nats redis
	cargo run --release --locked -p convoke-benches -- quick
