#!/bin/sh
# Prints the path of a valgrind that counts instructions for `make bench-guard`.
#
# Takes the one that SHIFTWORK_VALGRIND names; else one that is there; else installs one by the
# system's package manager, where that needs no password. Everything but the path goes to stderr.

set -u

main() {
    if [ -n "${SHIFTWORK_VALGRIND:-}" ]; then
        is_usable "$SHIFTWORK_VALGRIND" && found "$SHIFTWORK_VALGRIND"
        fail "SHIFTWORK_VALGRIND is \"$SHIFTWORK_VALGRIND\", which is no valgrind with callgrind." \
            "Unset it to have one looked for."
    fi
    search
    choose_manager
    say "No valgrind: $manager is to install one."
    may_install || fail "Installing takes root, and sudo asks for a password here. Install valgrind" \
        "by hand, or set SHIFTWORK_VALGRIND to the path of the executable."
    [ "$manager" != apt-get ] || as_root apt-get update || say "Its lists stay as old as they are."
    install && search
    fail "$manager has brought no valgrind that works. Install one by hand, or set" \
        "SHIFTWORK_VALGRIND to the path of the executable."
}

search() {
    directories=$PATH:/usr/bin:/usr/local/bin
    old_ifs=$IFS
    IFS=:
    for directory in $directories; do
        is_usable "$directory/valgrind" && found "$directory/valgrind"
    done
    IFS=$old_ifs
}

# Runs a program, since some are installed and cannot: where the C library has lost its symbols.
is_usable() {
    [ -f "$1" ] && [ -x "$1" ] || return 1
    "$1" --tool=callgrind --callgrind-out-file=/dev/null true >/dev/null 2>&1 && return 0
    say "$1 cannot run callgrind."
    return 1
}

choose_manager() {
    for manager in apt-get dnf apk pacman zypper; do
        if has "$manager"; then return; fi
    done
    fail "No valgrind, and no package manager that this script knows. Install valgrind by hand, or" \
        "set SHIFTWORK_VALGRIND to the path of the executable."
}

may_install() {
    [ "$(id -u)" -eq 0 ] || { has sudo && sudo -n true 2>/dev/null; }
}

install() {
    case $manager in
    apt-get) as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y valgrind ;;
    dnf) as_root dnf install -y valgrind ;;
    apk) as_root apk add --no-cache valgrind ;;
    pacman) as_root pacman -S --noconfirm valgrind || as_root pacman -Sy --noconfirm valgrind ;;
    zypper) as_root zypper --non-interactive install valgrind ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@" >&2; else sudo -n "$@" >&2; fi
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
