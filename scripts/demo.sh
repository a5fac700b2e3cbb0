#!/usr/bin/env bash
# Three order nodes on one NATS and one Redis, all on this machine, until Ctrl-C.
# DEMO_NATS_PORT and DEMO_REDIS_PORT choose other ports for the two servers.
set -euo pipefail
cd "$(dirname "$0")/.."

nats_port=${DEMO_NATS_PORT:-14222}
redis_port=${DEMO_REDIS_PORT:-16379}
store=$(mktemp -d)
started=()

# stop <process id>: asks it to end, and insists after 15 s.
stop() {
    local tries
    kill -TERM "$1" 2>/dev/null || return 0
    for ((tries = 0; tries < 150; tries++)); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
}

# The nodes first, so that they can finish what they do while their servers are there.
finish() {
    trap '' INT TERM
    printf '\ndemo: stopping\n'
    local process
    for process in "${started[@]:2}" "${started[@]:0:2}"; do stop "$process"; done
    wait
    rm -rf "$store"
}
trap finish EXIT
trap 'exit 0' INT TERM

die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# start <name> <program> [arguments]: its lines appear behind its name, its id is remembered.
# In a process group of its own: Ctrl-C is ours alone, or the servers would go before the nodes.
start() {
    local name=$1
    shift
    set -m
    "$@" > >(trap '' INT TERM; exec sed -u "s/^/$(printf '%-5s' "$name") | /") 2>&1 </dev/null &
    set +m
    started+=("$!")
}

# until_up <what> <port> <process id>
until_up() {
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        kill -0 "$3" 2>/dev/null || die "$1 ended at its start"
        if answers "$2"; then return; fi
        sleep 0.1
    done
    die "$1 does not answer on port $2"
}

for port in "$nats_port" "$redis_port" 5001 5002 5003; do
    ! answers "$port" || die "port $port is taken"
done
scripts/get-servers.sh nats redis
export PATH="$PWD/target/tools:$PATH"
cargo build --quiet --locked -p orders
orders="${CARGO_TARGET_DIR:-target}/debug/orders"

start nats "${NATS_SERVER:-nats-server}" -a 127.0.0.1 -p "$nats_port" -js -sd "$store/nats"
start redis "${REDIS_SERVER:-redis-server}" --bind 127.0.0.1 --port "$redis_port" --dir "$store" \
    --appendonly yes --save '' --maxmemory-policy noeviction
until_up nats-server "$nats_port" "${started[0]}"
until_up redis-server "$redis_port" "${started[1]}"

for number in 1 2 3; do
    start "node$number" "$orders" node --listen "127.0.0.1:500$number" --node "node$number" \
        --nats "nats://127.0.0.1:$nats_port" --redis "redis://127.0.0.1:$redis_port"
done
for number in 1 2 3; do
    until_up "node$number" "500$number" "${started[number + 1]}"
done

cat <<'TEXT'

Three nodes are up: http://127.0.0.1:5001  http://127.0.0.1:5002  http://127.0.0.1:5003

Place an order on one node, handled by one of the three:
  curl -i http://127.0.0.1:5001/orders -H 'content-type: application/json' -H 'idempotency-key: demo-1' \
    -d '{"customerId":"CUST-001","items":[{"productId":"PROD-001","productName":"Laptop","quantity":1,"unitPrice":999.99}]}'
Read it from another one, and ship it at the third (put the orderId in):
  curl http://127.0.0.1:5002/orders/ORDER_ID
  curl -X POST http://127.0.0.1:5003/orders/ORDER_ID/ship
The events every node received:
  curl http://127.0.0.1:5003/events
Ctrl-C stops everything.

TEXT

# Also returns when one of them ends by itself, which a demo should not hide.
wait -n "${started[@]}" || true
die "a process ended"
