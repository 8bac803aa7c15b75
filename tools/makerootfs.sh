#!/bin/sh
# Rootfs.tar of a yml, or rootfs.img of a yml or a tar: cargo xtask makerootfs.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." makerootfs "$@"
