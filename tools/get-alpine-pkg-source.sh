#!/bin/sh
# The sources of an image's Alpine packages: cargo xtask get-alpine-pkg-source.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." get-alpine-pkg-source "$@"
