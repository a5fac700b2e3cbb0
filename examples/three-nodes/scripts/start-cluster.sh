#!/usr/bin/env bash
# Three nodes on this machine, until Ctrl-C. `make start-cluster` builds them first.
set -euo pipefail
cd "$(dirname "$0")/.."

program=./target/release/three-nodes-embedded
started=()

say() { printf 'cluster: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

# All at once, so that none waits for a successor that ends as well. Insists after 15 s.
finish() {
    trap '' INT TERM
    local process tries
    [ "${#started[@]}" -gt 0 ] || return 0
    printf '\n'
    say stopping
    for process in "${started[@]}"; do kill -TERM "$process" 2>/dev/null || true; done
    for process in "${started[@]}"; do
        for ((tries = 0; tries < 150; tries++)); do
            kill -0 "$process" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$process" 2>/dev/null || true
    done
    wait
}
trap finish EXIT
trap 'exit 0' INT TERM HUP

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# start <number>: its lines appear behind its name.
# In a process group of its own: Ctrl-C is for this script, which then stops the nodes.
start() {
    set -m
    "$program" --port "808$1" --health-port "1000$1" --config-path "config/n$1" \
        > >(trap '' INT TERM; exec sed -u "s/^/node$1 | /") 2>&1 </dev/null &
    set +m
    started+=("$!")
}

# has_role <number>: it leads, or follows one who does.
has_role() (
    for path in primary replica; do
        exec 3<>"/dev/tcp/127.0.0.1/1000$1" || exit 1
        printf 'GET /%s HTTP/1.1\r\nHost: node%s\r\nConnection: close\r\n\r\n' "$path" "$1" >&3
        if head -n 1 <&3 | grep -q ' 200 '; then exit 0; fi
    done
    exit 1
) 2>/dev/null

for port in 8081 8082 8083 10001 10002 10003 9081 9082 9083; do
    ! answers "$port" || die "port $port is taken"
done
[ -x "$program" ] || die "there is no $program: run make build"
for number in 1 2 3; do start "$number"; done
for number in 1 2 3; do
    for ((tries = 0; ; tries++)); do
        kill -0 "${started[number - 1]}" 2>/dev/null || die "node $number ended at its start"
        if has_role "$number"; then break; fi
        [ "$tries" -lt 300 ] || die "node $number found no leader"
        sleep 0.1
    done
done

cat <<'TEXT'

Three nodes are up: http://localhost:8081  http://localhost:8082  http://localhost:8083

Write on one, read from another:
  curl -X POST http://localhost:8081/kv -H "Content-Type: application/json" -d '{"key": "username", "value": "alice"}'
  curl http://localhost:8082/kv/username
Who leads:
  curl -i http://localhost:10001/primary
Ctrl-C stops all three.

TEXT

# One that ends by itself is told, and the others go on: that is what they are for.
while [ "${#started[@]}" -gt 0 ]; do
    wait -n -p ended "${started[@]}" || true
    left=()
    for process in "${started[@]}"; do
        if [ "$process" = "${ended:-}" ]; then say "process $process ended; the others go on"; else left+=("$process"); fi
    done
    started=("${left[@]}")
done
die "all nodes ended"
