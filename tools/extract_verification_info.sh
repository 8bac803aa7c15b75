#!/bin/sh
# Shows what a machine's verification left: cargo xtask extract-verification-info.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." extract-verification-info "$@"
