#!/bin/sh
# The sources of what is in a root file system: cargo xtask collect-sources.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." collect-sources "$@"
