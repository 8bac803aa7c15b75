#!/bin/sh
# A disk of the parts in a folder: cargo xtask makeflash.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." makeflash "$@"
