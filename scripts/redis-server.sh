#!/bin/sh
# Prints the path of a redis-server or valkey-server that the tests can start, version 6.2 or later.
#
# Takes the one that SHIFTWORK_REDIS_SERVER names; else one that is there; else installs one by the
# system's package manager, where that needs no password. Everything but the path goes to stderr.
#
# A package may start a service of its own. Nothing here uses or stops it.

set -u

main() {
    if [ -n "${SHIFTWORK_REDIS_SERVER:-}" ]; then
        is_usable "$SHIFTWORK_REDIS_SERVER" && found "$SHIFTWORK_REDIS_SERVER"
        fail "SHIFTWORK_REDIS_SERVER is \"$SHIFTWORK_REDIS_SERVER\", which is no redis-server or" \
            "valkey-server of version 6.2 or later. Unset it to have one looked for."
    fi
    search
    choose_manager
    say "No redis-server or valkey-server of version 6.2 or later: $manager is to install one."
    may_install || fail "Installing takes root, and sudo asks for a password here. Install" \
        "${packages%% *} by hand, or set SHIFTWORK_REDIS_SERVER to the path of the executable."
    [ "$manager" != apt-get ] || as_root apt-get update || say "Its lists stay as old as they are."
    for package in $packages; do
        install "$package" && search
    done
    fail "None of these packages has brought one: $packages. Install redis-server or" \
        "valkey-server by hand, or set SHIFTWORK_REDIS_SERVER to the path of the executable."
}

search() {
    directories=$PATH:/usr/bin:/usr/local/bin:/usr/sbin
    old_ifs=$IFS
    IFS=:
    for directory in $directories; do
        for name in redis-server valkey-server; do
            is_usable "$directory/$name" && found "$directory/$name"
        done
    done
    IFS=$old_ifs
}

# "Redis server v=7.0.15 sha=…", "Valkey server v=8.0.1 sha=…"
is_usable() {
    [ -f "$1" ] && [ -x "$1" ] || return 1
    version=$("$1" --version 2>/dev/null |
        sed -n 's/.*v=\([0-9][0-9]*\)\.\([0-9][0-9]*\).*/\1 \2/p')
    [ -n "$version" ] || return 1
    major=${version% *} minor=${version#* }
    if [ "$major" -gt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -ge 2 ]; }; then return 0; fi
    say "$1 has version $major.$minor, which is too old."
    return 1
}

choose_manager() {
    packages="redis valkey"
    for manager in apt-get dnf apk pacman zypper brew; do
        if has "$manager"; then
            [ "$manager" = apt-get ] && packages="redis-server valkey-server"
            return
        fi
    done
    fail "No redis-server or valkey-server of version 6.2 or later, and no package manager that" \
        "this script knows. Install the package redis-server, redis or valkey by hand, or set" \
        "SHIFTWORK_REDIS_SERVER to the path of the executable."
}

may_install() {
    [ "$manager" = brew ] || [ "$(id -u)" -eq 0 ] || { has sudo && sudo -n true 2>/dev/null; }
}

install() {
    case $manager in
    apt-get) as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y "$1" ;;
    dnf) as_root dnf install -y "$1" ;;
    apk) as_root apk add --no-cache "$1" ;;
    pacman) as_root pacman -S --noconfirm "$1" || as_root pacman -Sy --noconfirm "$1" ;;
    zypper) as_root zypper --non-interactive install "$1" ;;
    brew) brew install "$1" >&2 ;;
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
