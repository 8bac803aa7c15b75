#!/bin/sh
exec cargo run --release --manifest-path "$(dirname "$0")/../Cargo.toml" --package xtask -- --root "$(dirname "$0")/.." get-kernel-source "$@"
