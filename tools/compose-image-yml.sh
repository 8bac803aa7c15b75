#!/bin/sh
# A template, patched, with its version: cargo xtask compose-image-yml.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." compose-image-yml "$@"
