#!/usr/bin/env bash
# Checks each crate of the workspace alone: without features, and with each of its features by itself.
# Built together, one crate's features hide what another one forgot to ask for.
set -euo pipefail
cd "$(dirname "$0")/.."

combinations() {
    cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys

for package in json.load(sys.stdin)["packages"]:
    features = sorted(set(package["features"]) - {"default"})
    for feature in ["", *features]:
        print(package["name"], feature)
'
}

combinations | while read -r package feature; do
    printf 'check %s %s\n' "$package" "${feature:+with $feature}"
    cargo check --quiet --locked -p "$package" --no-default-features ${feature:+--features "$feature"}
done
