#!/bin/sh
# An ISO of the parts in a folder: cargo xtask makeiso.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." makeiso "$@"
