#!/bin/sh
# The description of a Parallels disk: cargo xtask parallels-disk.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." parallels-disk "$@"
