#!/bin/sh
# Another hash or tag wherever an image is named: cargo xtask update-component-sha.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." update-component-sha "$@"
