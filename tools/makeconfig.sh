#!/bin/sh
# Config.img of files: cargo xtask makeconfig.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." makeconfig "$@"
