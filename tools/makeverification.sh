#!/bin/sh
# A disk that installs and checks: cargo xtask makeverification.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." makeverification "$@"
