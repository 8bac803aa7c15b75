#!/bin/sh
# A USB stick for a device's port configuration: cargo xtask makeusbconf.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." makeusbconf "$@"
