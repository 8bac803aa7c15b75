#!/bin/sh
# A tar for a netboot: cargo xtask makenet.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." makenet "$@"
