#!/usr/bin/env bash
# Starts three nodes of a cluster as the README does, and drives them with curl alone. Ends what it started.
# PROGRAM is the program, PORT the first of three ports (the Raft ports are 1000 above). With NATS_URL the nodes are
# those that NATS carries the messages for, and those alone.
set -euo pipefail

program=$(realpath "${PROGRAM:-$(dirname "$0")/../../../target/debug/orders}")
first=${PORT:-5000}
nats=${NATS_URL:-}
unset NATS_URL REDIS_URL
# How long an election, a start or an end may take on a busy machine.
within=60

folder=$(mktemp -d)
body=$folder/body
head=$folder/head
declare -A process=()

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    printf 'the last answer: %s\n%s\n' "$(cat "$head" 2>/dev/null)" "$(cat "$body" 2>/dev/null)" >&2
    tail -n 20 "$folder"/*.log >&2 || true
    exit 1
}
ok() { printf 'ok: %s\n' "$*"; }

finish() {
    local name
    for name in "${!process[@]}"; do kill -KILL "${process[$name]}" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

# is <what> <expected> <found>
is() { [ "$2" = "$3" ] || fail "$1: expected $2, found $3"; }

# eventually <what> <command ..>: again and again until it succeeds.
eventually() {
    local what=$1 deadline=$((SECONDS + within))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "not within $within s: $what"
        sleep 0.1
    done
}

# status <curl arguments>: 000 when nobody answers. The body is in $body, the headers in $head.
status() {
    : >"$body" >"$head"
    curl --silent --max-time 20 --output "$body" --dump-header "$head" --write-out '%{http_code}' "$@" || true
}

# field <name>: of the body, which has it once.
field() { sed -nE "s/.*\"$1\":\"?([^\",}]*).*/\1/p" "$body"; }
header() { tr -d '\r' <"$head" | sed -nE "s/^$1: (.*)/\1/Ip"; }
url() { printf 'http://127.0.0.1:%s' "$((first + $1))"; }

# start <number> <arguments ..>
start() {
    local number=$1
    shift
    (cd "$folder" && exec "$program" "$@" >>"node$number.log" 2>&1 </dev/null) &
    process[$number]=$!
}
start_seed() { start "$1" --cluster --port "$((first + $1))" --node-id "node$1"; }

ready() { [ "$(status "$(url "$1")/readyz")" = 200 ]; }
not_ready() { [ "$(status "$(url "$1")/readyz")" = 503 ]; }

# agree <after> <numbers ..>: these nodes know one leader, in a term after that one. Sets $leads and $term.
agree() {
    local after=$1 number seen='' found
    shift
    for number in "$@"; do
        [ "$(status "$(url "$number")/health")" = 200 ] || return 1
        found="$(field leader) $(field term)"
        [ "${seen:-$found}" = "$found" ] || return 1
        seen=$found
    done
    leads=${seen% *} term=${seen#* }
    leads=${leads#node}
    [ -n "$leads" ] && [ "${term:-0}" -gt "$after" ]
}

# place <number>: an order, and its id in $order.
place() {
    is "an order on node $1" 201 "$(status "$(url "$1")/orders" -H 'content-type: application/json' -d \
        '{"customerId":"CUST-001","items":[{"productId":"PROD-001","productName":"Laptop","quantity":1,"unitPrice":999.99}]}')"
    order=$(field orderId)
    is "its location" "/orders/$order" "$(header location)"
}

# ask_number <node> <order>: while nobody leads for longer than a request waits it is none of these. It may have been
# given each time: it is the same one then.
ask_number() {
    local found
    found=$(status -X POST "$(url "$1")/orders/$2/shipping-number")
    case $found in 409 | 50[234]) return 1 ;; esac
    is "a shipping number asked of node $1" 200 "$found"
}

# number <node> <order> <expected>: its shipping number, given by the leader, whichever node is asked.
number() {
    eventually "a shipping number" ask_number "$1" "$2"
    is "the number" "$3" "$(field number)"
    term_of_answer=$(header raft-term)
    is "Raft-Term" "$(field term)" "$term_of_answer"
    is "Raft-Index" "$(field index)" "$(header raft-index)"
    [ "$term_of_answer" -ge "$last_term" ] || fail "the term went back from $last_term"
    [ "$(header raft-index)" -ge "$last_index" ] || fail "the index went back from $last_index"
    last_term=$term_of_answer last_index=$(header raft-index)
}

# one_tells <number> <nodes ..>: one of them tells the last number, the others refuse and tell where that one is.
one_tells() {
    local expected=$1 number found tells='' told=''
    shift
    for number in "$@"; do
        found=$(status "$(url "$number")/shipping/last")
        case $found in
            200)
                [ -z "$tells" ] || return 1 # a leader was followed by another between the two questions
                tells=$(url "$number")
                is "the last number" "$expected" "$(field number)"
                [ "$(header raft-term)" -gt 0 ] || fail "no term"
                ;;
            503)
                is "the refusal" not-leader "$(field code)"
                is "whether it was done" no "$(field executed)"
                [ -n "$(header retry-after)" ] || fail "no Retry-After"
                told+=" $(field leader)"
                ;;
            *) fail "/shipping/last of node $number: $found" ;;
        esac
    done
    [ -n "$tells" ] || return 1
    for found in $told; do [ "$found" = "$tells" ] || return 1; done
    [ "$(wc -w <<<"$told")" = $(($# - 1)) ]
}

# reported <asked> <numbers ..>: the node that these know as leader wrote the report.
reported() {
    local asked=$1
    shift
    agree 0 "$@" || return 1
    [ "$(status "$(url "$asked")/report")" = 200 ] || return 1
    [ "$(field node)/$(field term)" = "node$leads/$term" ]
}

# One does the job of the night, under a greater fence than whoever did before.
night() {
    local found
    found=$(status -X POST "$(url "$1")/jobs/nightly")
    case $found in
        200)
            [ "$(field fence)" -gt "$last_fence" ] || fail "a fence that is not greater than $last_fence"
            last_fence=$(field fence)
            ;;
        409)
            is "who is held off" orders.nightly-held "$(field code)"
            return 1
            ;;
        503) return 1 ;;
        *) fail "the job of the night: $found" ;;
    esac
}

# All nodes at once, as their timers would: one does it, and somebody is held off.
held_off() {
    local turn answers
    for turn in 0 1 2 3 4 5; do
        curl --silent --max-time 20 --output /dev/null --write-out '%{http_code}\n' \
            -X POST "$(url $((turn % 3)))/jobs/nightly" >"$folder/night.$turn" &
        process[night$turn]=$!
    done
    for turn in 0 1 2 3 4 5; do
        wait "${process[night$turn]}" || fail "no answer to the job of the night"
        unset "process[night$turn]"
    done
    answers=$(sort -u "$folder"/night.*)
    case $answers in
        $'200\n409') ;;
        200 | *503*) return 1 ;; # each came after the other, or nobody led
        *) fail "the job of the night: $answers" ;;
    esac
}

kill_now() { kill -KILL "${process[$1]}"; wait "${process[$1]}" 2>/dev/null || true; unset "process[$1]"; }
gone() { ! kill -0 "$1" 2>/dev/null; }
stop() {
    local id=${process[$1]} code=0
    kill -TERM "$id"
    eventually "node $1 ends" gone "$id"
    wait "$id" || code=$?
    is "how node $1 ended" 0 "$code"
    unset "process[$1]"
}

# What both ways of starting promise.
leader_only() {
    last_term=0 last_index=0 last_fence=0
    place 0
    local one=$order
    place 1
    for asked in 0 1 2; do
        is "the order on node $asked" 200 "$(status "$(url $asked)/orders/$one")"
        number $asked "$one" 1
    done
    number 2 "$order" 2
    number 0 "$order" 2
    ok "the leader gives numbers, whichever node is asked, and says in which term"
    eventually "one tells the last number" one_tells 2 0 1 2
    ok "other nodes refuse what is for the leader, and say where it is"
    eventually "the leader reports" reported 1 0 1 2
    ok "one node reports"
    eventually "the job of the night" night 2
    is "the orders it counted" 2 "$(field orders)"
    eventually "a node is held off from the job of the night" held_off
    eventually "the job of the next night" night 0
    ok "one node at a time does the job of the night"
}

# As the README starts it on one machine.
on_one_machine() {
    for node in 0 1 2; do start_seed $node; done
    for node in 0 1 2; do eventually "node $node is ready" ready $node; done
    eventually "the nodes agree who leads" agree 0 0 1 2
    is "live" 200 "$(status "$(url 0)/livez")"
    ok "node$leads leads in term $term"
    leader_only
    given=2

    # --- what is not there
    nobody=00000000-0000-7000-8000-000000000000
    is "an order that is not there" 404 "$(status "$(url 0)/orders/$nobody")"
    is "its number" 404 "$(status -X POST "$(url 1)/orders/$nobody/shipping-number")"
    is "the refusal" orders.not-found "$(field code)"
    [ "$(header raft-term)" -gt 0 ] || fail "a refusal of the leader has no term"
    is "an id that is none" 404 "$(status -X POST "$(url 2)/orders/none/shipping-number")"
    is "a place that is not there" 404 "$(status "$(url 2)/nowhere")"
    is "a wrong method" 405 "$(status -X PUT "$(url 0)/shipping/last")"
    ok "what is not there is told"

    # --- the leader is killed
    place 1
    eventually "the nodes agree who leads" agree 0 0 1 2
    killed=$leads before=$term
    kill_now "$killed"
    rest=()
    for node in 0 1 2; do [ "$node" = "$killed" ] || rest+=("$node"); done
    # Nobody waits for the election: the command does.
    number "${rest[0]}" "$order" $((given + 1))
    [ "$last_term" -gt "$before" ] || fail "a leader that was killed answered in term $last_term"
    [ "$(field handledBy)" != "node$killed" ] || fail "a leader that was killed answered"
    place "${rest[1]}"
    number "${rest[1]}" "$order" $((given + 2))
    eventually "one tells the last number" one_tells $((given + 2)) "${rest[@]}"
    eventually "the next leader reports" reported "${rest[0]}" "${rest[@]}"
    eventually "the job of the night" night "${rest[1]}"
    is "nobody on node$killed" 000 "$(status "$(url "$killed")/health")"
    ok "a leader that is killed is followed by another, which goes on with the numbers"

    # --- it comes back, and another one stops
    start_seed "$killed"
    eventually "node $killed is back" ready "$killed"
    number "$killed" "$order" $((given + 2))
    eventually "the nodes agree who leads" agree "$before" 0 1 2
    stopped=$leads
    stop "$stopped"
    rest=()
    for node in 0 1 2; do [ "$node" = "$stopped" ] || rest+=("$node"); done
    number "${rest[0]}" "$order" $((given + 2))
    place "${rest[0]}"
    number "${rest[1]}" "$order" $((given + 3))
    ok "a leader that stops hands over"

    # --- one of three decides nothing, and says so
    kill_now "${rest[0]}"
    refused() {
        case $(status -X POST "$(url "${rest[1]}")/orders/$order/shipping-number") in
            503) is "whether it was done" no "$(field executed)" ;;
            502 | 504 | 409) return 1 ;; # it was under way when the majority was lost
            *) fail "a number without a majority" ;;
        esac
    }
    eventually "a node without a majority refuses" refused
    eventually "it is not ready" not_ready "${rest[1]}"
    for node in "${rest[0]}" "$stopped"; do start_seed "$node"; done
    for node in 0 1 2; do eventually "node $node is ready" ready $node; done
    number "$stopped" "$order" $((given + 3))
    ok "without a majority nothing is done, and with it everything is there again"
    for node in 0 1 2; do stop $node; done
    [ -d "$folder/raft-state/node0" ] || fail "there is no log in raft-state"
    rm -rf "$folder/raft-state"
}

# As it starts it on several machines.
on_several_machines() {
    peers=
    for node in 0 1 2; do peers+=${peers:+,}node$node=127.0.0.1:$((first + 1000 + node)):$((first + node)); done
    for node in 0 1 2; do
        start $node node --cluster --node node$node --listen 127.0.0.1:$((first + node)) --raft-port $((first + 1000 + node)) \
            --peers "$peers" --cluster-secret "a secret of these three nodes" ${nats:+--nats "$nats"}
    done
    for node in 0 1 2; do eventually "node $node is ready" ready $node; done
    eventually "the nodes agree who leads" agree 0 0 1 2
    leader_only
    for node in 0 1 2; do stop $node; done
}

if [ -z "$nats" ]; then on_one_machine; fi
on_several_machines
echo "all is as the README says"
