#!/bin/sh
# The version that Go gives a commit: cargo xtask go-pkg-pseudo-version.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." go-pkg-pseudo-version "$@"
