//! Failures of linuxkit, BuildKit and docker whose last line names something that nobody asked for: adds a hint to what is meant.

use anyhow::Error;
use child::failure;

/// A known failure.
struct Known {
    /// Texts in one of its last lines.
    texts: &'static [&'static str],
    /// What it means.
    meaning: &'static str,
    /// What to do.
    hint: &'static str,
}

/// The first whose text is found counts.
const KNOWN: &[Known] = &[
    Known {
        texts: &["exec format error"],
        meaning: "an image is for another architecture, and this machine cannot start its programs",
        hint: "install qemu-user-static, which registers them with binfmt, or name a builder of that architecture: --builders linux/arm64=CONTEXT",
    },
    Known {
        texts: &["\"/eve-tools\": not found"],
        meaning: "the image has a program of this workspace, which only the native engine compiles",
        hint: "cargo xtask pkg NAME --engine native",
    },
    Known {
        // Words of the Go programs that speak to registries. Docker's own socket is `dial unix`.
        texts: &["dial tcp", "TLS handshake timeout"],
        meaning: "a registry does not answer, so an image could not be fetched",
        hint: "look at the network; HTTPS_PROXY=URL names a proxy, LINUXKIT_MIRROR=URL a mirror of registries",
    },
    Known {
        // docker says `Unable to find image … locally` before every pull, also before one that succeeds.
        texts: &["pull access denied", "manifest unknown"],
        meaning: "an image is neither on this machine nor in a registry",
        hint: "the tree's own images are built by `cargo xtask pkg NAME`",
    },
];

/// Adds to `error` what it means and a hint, if it is a known failure of a program.
pub fn add(error: Error) -> Error {
    match KNOWN.iter().find(|known| known.texts.iter().any(|text| failure::said(&error, text))) {
        Some(known) => error.context(format!("{}\nhint: {}", known.meaning, known.hint)),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use child::failure::{Exit, Failure};

    #[test]
    fn known_failures_get_a_hint() {
        let hint = |line: &str| {
            let failure = Failure {
                tool: "linuxkit".into(),
                step: None,
                exit: Exit::Status(1),
                tail: vec!["before".into(), line.into()],
                command: "linuxkit pkg build".into(),
                log: None,
            };
            add(failure.into()).to_string().lines().find(|line| line.starts_with("hint")).map(str::to_owned)
        };
        for (line, words) in [
            ("dial tcp: lookup registry-1.docker.io: no such host", "LINUXKIT_MIRROR"),
            ("exec /bin/sh: exec format error", "binfmt"),
            ("docker: pull access denied for lfedge/eve-mkconf", "cargo xtask pkg NAME"),
            ("failed to compute cache key: \"/eve-tools\": not found", "--engine native"),
        ] {
            assert!(hint(line).is_some_and(|hint| hint.contains(words)), "{line}");
        }
        for usual in [
            "gcc: no input files",
            "Unable to find image 'lfedge/eve-mkimage-raw-efi:1' locally",
            "dial unix /var/run/docker.sock: connect: connection refused",
        ] {
            assert_eq!(hint(usual), None);
        }
    }
}
