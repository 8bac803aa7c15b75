#!/bin/sh
# Talks to an adam that runs together with EVE: cargo xtask adam.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." adam "$@"
