#!/bin/sh
# The manifest of collected sources: cargo xtask generate-sources-manifests.
exec cargo run --quiet --release --manifest-path "$(dirname "$0")/../Cargo.toml" -p xtask -- --root "$(dirname "$0")/.." generate-sources-manifests "$@"
