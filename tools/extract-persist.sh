#!/bin/sh
# Takes /persist out of a disk: cargo xtask extract-persist.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." extract-persist "$@"
