#!/bin/sh
# Docker's images that are not of the present state: cargo xtask oldimages.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." oldimages "$@"
