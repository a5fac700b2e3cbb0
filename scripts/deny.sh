#!/usr/bin/env bash
# Licences, sources, bans and advisories of all dependencies (deny.toml).
# cargo-deny comes from PATH, else from target/tools, where it is built once (a minute or two).
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VERSION=0.20.2
export PATH="$PATH:$PWD/target/tools/bin"

say() { printf 'deny: %s\n' "$*" >&2; }

if ! command -v cargo-deny >/dev/null; then
    say "building cargo-deny $VERSION into target/tools"
    # Unoptimised: it runs for a second, and would take minutes more to build.
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=target/tools/build \
        cargo install --quiet cargo-deny --version "$VERSION" --locked --debug --root target/tools
    rm -rf target/tools/build
fi

cargo deny --locked --all-features check --hide-inclusion-graph bans licenses sources

# The advisories live in a repository of their own. An old copy, or none, is no reason to fail where there is no way to it.
if fetched=$(timeout 120 cargo deny --locked fetch db 2>&1); then
    cargo deny --locked --all-features check --hide-inclusion-graph --disable-fetch advisories
else
    say "advisories were not checked, their database cannot be reached: $(printf '%s\n' "$fetched" | grep -v '^ *$' | tail -n 1)"
fi
