#!/bin/sh
# The sources of a kernel: cargo xtask get-kernel-source.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." get-kernel-source "$@"
