#!/bin/sh
# The kernels' build.yml: cargo xtask kernel-build-yml.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." kernel-build-yml "$@"
