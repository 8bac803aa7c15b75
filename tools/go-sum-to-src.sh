#!/bin/sh
# The sources of Go modules: cargo xtask go-sum-to-src.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." go-sum-to-src "$@"
