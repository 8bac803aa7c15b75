#!/bin/sh
# Makes an installer for one device: cargo xtask eve-gen-single-use-installer.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." eve-gen-single-use-installer "$@"
