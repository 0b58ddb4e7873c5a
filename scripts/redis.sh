#!/bin/sh
# A throw-away server for trying things by hand: on port 6379 of 127.0.0.1, or the next free one,
# with nothing kept. It runs until Ctrl-C.

set -eu

server=$("$(dirname "$0")/redis-server.sh")
directory=$(mktemp -d)
log=$directory/server.log
pid=

# Exits by itself, for a shell that was interrupted would go on after its trap.
stop() {
    trap '' INT TERM HUP
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
    [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
    rm -rf "$directory"
    exit "$1"
}
trap 'stop $?' EXIT
trap 'exit 0' INT TERM HUP

# Says whether it runs: false where somebody else has the port.
start() {
    "$server" --bind 127.0.0.1 --port "$1" --dir "$directory" --save '' --appendonly no \
        >"$log" 2>&1 &
    pid=$!
    until grep -q 'Ready to accept connections' "$log"; do
        if ! kill -0 "$pid" 2>/dev/null; then
            pid=
            grep -q 'Address already in use' "$log" && return 1
            cat "$log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

port=6379
until start "$port"; do port=$((port + 1)); done

cat <<TEXT
A server that keeps nothing is at redis://127.0.0.1:$port. For the programs that are to use it:

  export JOBS_PROVIDER=redis JOBS_REDIS_URL=redis://127.0.0.1:$port

Ctrl-C ends it.
TEXT
wait "$pid"
