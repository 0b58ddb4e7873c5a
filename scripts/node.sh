#!/bin/sh
# Prints the path of a node of version 20 or later that has npm beside it or on PATH.
#
# Takes the one that SHIFTWORK_NODE names; else one that is there; else installs one by apt-get,
# where that needs no password. Everything but the path goes to stderr.

set -u

OLDEST=20

main() {
    if [ -n "${SHIFTWORK_NODE:-}" ]; then
        is_usable "$SHIFTWORK_NODE" && found "$SHIFTWORK_NODE"
        fail "SHIFTWORK_NODE is \"$SHIFTWORK_NODE\", which is no node of version $OLDEST or later."
    fi
    search
    has apt-get || fail "No node of version $OLDEST or later with npm: install the packages nodejs" \
        "and npm by hand, or set SHIFTWORK_NODE to the path of the executable."
    [ "$(id -u)" -eq 0 ] || fail "No node of version $OLDEST or later with npm, and installing" \
        "takes root: run apt-get install nodejs npm, or set SHIFTWORK_NODE."
    say "No node of version $OLDEST or later with npm: apt-get is to install it."
    apt-get update >&2 || say "Its lists stay as old as they are."
    DEBIAN_FRONTEND=noninteractive apt-get install -y nodejs npm >&2
    search
    fail "The packages nodejs and npm have brought no node of version $OLDEST or later: install" \
        "one by hand, or set SHIFTWORK_NODE to the path of the executable."
}

search() {
    has npm || return 0
    for name in node nodejs; do
        path=$(command -v "$name") && is_usable "$path" && found "$path"
    done
}

# "v20.20.2"
is_usable() {
    version=$("$1" --version 2>/dev/null | sed -n 's/^v\([0-9][0-9]*\)\..*/\1/p')
    [ -n "$version" ] && [ "$version" -ge "$OLDEST" ]
}

has() {
    command -v "$1" >/dev/null 2>&1
}

found() {
    printf '%s\n' "$1"
    exit 0
}

fail() {
    say "$@"
    exit 1
}

say() {
    printf '%s\n' "$*" >&2
}

main
