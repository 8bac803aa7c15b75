#!/bin/sh
# The version inside an image: cargo xtask getimgversion.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." getimgversion "$@"
