#!/usr/bin/env bash
# Drives a running cluster with curl alone, as the README does: `make start-cluster` in one terminal, this in another.
# APIS and HEALTHS name other places, with spaces between them.
set -euo pipefail

read -ra apis <<<"${APIS:-http://localhost:8081 http://localhost:8082 http://localhost:8083}"
read -ra healths <<<"${HEALTHS:-http://localhost:10001 http://localhost:10002 http://localhost:10003}"
body=$(mktemp)
trap 'rm -f "$body"' EXIT

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
ok() { printf 'ok: %s\n' "$*"; }

# is <what> <expected> <found>
is() { [ "$2" = "$3" ] || fail "$1: expected $2, found $3"; }

# status <curl arguments>: the body is in $body.
status() { curl --silent --show-error --max-time 15 --output "$body" --write-out '%{http_code}' "$@"; }

put() { status -X POST "$1/kv" -H "Content-Type: application/json" -d "{\"key\": \"$2\", \"value\": \"$3\"}"; }

# --- one node leads, the others follow
# Seen at one moment: on a busy machine another one may come to lead while they are asked.
roles() {
    local health primary replica leaders=0 followers=0
    seen=
    for health in "${healths[@]}"; do
        primary=$(status "$health/primary")
        replica=$(status "$health/replica")
        seen+=" $health: /primary $primary, /replica $replica, /health $(status "$health/health")"
        grep -q '"status":"up"' "$body" || return 1
        case $primary/$replica in
            200/503) leaders=$((leaders + 1)) ;;
            503/200) followers=$((followers + 1)) ;;
            *) return 1 ;;
        esac
    done
    [ "$leaders/$followers" = "1/$((${#healths[@]} - 1))" ]
}
until roles; do
    [ "$SECONDS" -lt 60 ] || fail "one leads and the others follow:$seen"
    sleep 0.1
done
ok "one node is primary, the others are replicas"

# --- what is written on any node is read from all
is "write" 200 "$(put "${apis[0]}" username alice)"
is "read" 200 "$(status "${apis[0]}/kv/username")"
is "the body" '{"value":"alice"}' "$(cat "$body")"
turn=0
for writer in "${apis[@]}"; do
    turn=$((turn + 1))
    is "write on $writer" 200 "$(put "$writer" test "hello $turn")"
    for reader in "${apis[@]}"; do
        for query in '' '?consistency=linearizable' '?consistency=lease'; do
            is "read $query from $reader" 200 "$(status "$reader/kv/test$query")"
            is "the body" "{\"value\":\"hello $turn\"}" "$(cat "$body")"
        done
        is "eventual read from $reader" 200 "$(status "$reader/kv/test?consistency=eventual")"
    done
done
ok "what is written on any node is read from all"

# --- what is not there, and what makes no sense
is "delete" 204 "$(status -X DELETE "${apis[1]}/kv/test")"
is "delete again" 404 "$(status -X DELETE "${apis[2]}/kv/test")"
is "read what was deleted" 404 "$(status "${apis[0]}/kv/test")"
is "no JSON" 400 "$(status -X POST "${apis[0]}/kv" -H "Content-Type: application/json" -d '{')"
grep -q '"status":400' "$body" || fail "no problem: $(cat "$body")"
is "no such consistency" 400 "$(status "${apis[0]}/kv/username?consistency=strong")"
is "too long" 413 "$(head -c 2000000 /dev/zero | tr '\0' x | status -X POST "${apis[0]}/kv" \
    -H "Content-Type: application/json" -H "Expect:" --data-binary @-)"
ok "errors are told as problems"

echo "all is as the README says"
