#!/bin/sh
# The images of all template names: cargo xtask parse-pkgs.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." parse-pkgs "$@"
