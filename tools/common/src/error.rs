//! The error type of `main`: a kind with its exit code, hints, and the printer. All other code uses `anyhow`'s errors, which contain it.

use std::fmt;

/// The kinds of errors that a calling script can tell apart by the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any other error.
    Failed,
    /// A wrong command line or knob value.
    Usage,
    /// A missing tool.
    MissingTool,
    /// Any error of `cargo xtask make`.
    Make,
}

impl Kind {
    /// The process's exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::MissingTool => 3,
            Self::Make => 2,
        }
    }
}

/// An error with a kind, anywhere in an `anyhow` chain; the outermost one determines the exit code.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// A program of the user's choice ended with this status, and has said why: it becomes ours, and nothing more is printed.
#[derive(Debug)]
pub struct Ended(pub u8);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the command ended with status {}", self.0)
    }
}

impl std::error::Error for Ended {}

/// A mistake in the command line or a setting. `message` may end with `\nhint: ` and the correction.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Error { kind: Kind::Usage, message: message.into() }.into()
}

/// Missing tools.
pub fn missing_tool(message: impl Into<String>) -> anyhow::Error {
    Error { kind: Kind::MissingTool, message: message.into() }.into()
}

/// `error` with make's exit code for failures.
#[must_use]
pub fn as_make(error: anyhow::Error) -> anyhow::Error {
    // `render` skips an empty message.
    error.context(Error { kind: Kind::Make, message: String::new() })
}

/// The kind of `error`: that of the first typed error in its chain.
#[must_use]
pub fn kind(error: &anyhow::Error) -> Kind {
    error.chain().find_map(|cause| cause.downcast_ref::<Error>()).map_or(Kind::Failed, |error| error.kind)
}

/// The text to print: `error:`, the causes without repetitions, and the hints last.
#[must_use]
pub fn render(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut hints = Vec::new();
    let mut last = String::new();
    for cause in error.chain() {
        let message = cause.to_string();
        let mut plain = Vec::new();
        for line in message.lines() {
            match line.strip_prefix("hint: ") {
                Some(hint) if !hints.contains(&hint.to_owned()) => hints.push(hint.to_owned()),
                Some(_) => {}
                None => plain.push(line),
            }
        }
        // Control characters from a tool or a damaged file must not reach the terminal.
        let plain: String =
            plain.join("\n  ").chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect();
        if plain.is_empty() || last.contains(&plain) {
            continue;
        }
        text.push_str(if text.is_empty() { "error: " } else { "  cause: " });
        text.push_str(&plain);
        text.push('\n');
        last = plain;
    }
    for hint in hints {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

/// The candidate that is most similar to `word`, if one is similar enough.
pub fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .into_iter()
        // Of words that are as near, one with the same letters is meant, or else the same start: `tmp` is `tpm` rather than `tap`, `lve` is
        // `live` rather than `eve`.
        .map(|candidate| {
            let other_start = word.chars().next() != candidate.chars().next();
            (distance(word, candidate), letters(word) != letters(candidate), other_start, candidate)
        })
        .filter(|(distance, _, _, candidate)| *distance <= candidate.len().max(word.len()) / 3)
        .min()
        .map(|(.., candidate)| candidate)
}

fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

/// Optimal string alignment distance: counts edits and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn hints_come_last_and_nothing_is_said_twice() {
        let error = Err::<(), _>(usage("HV=bogus is none of acrn, xen, kvm\nhint: try --hv kvm"))
            .context("cannot read the knobs")
            .expect_err("err");
        assert_eq!(render(&error), "error: cannot read the knobs\n  cause: HV=bogus is none of acrn, xen, kvm\nhint: try --hv kvm\n");
        assert_eq!(kind(&error).exit_code(), 2);
    }

    #[test]
    fn near_misses_are_named_and_far_ones_are_not() {
        assert_eq!(did_you_mean("lvie", ["live", "rootfs"]), Some("live"));
        assert_eq!(did_you_mean("tmp", ["tap", "tpm"]), Some("tpm"));
        assert_eq!(did_you_mean("xyzzy", ["live", "rootfs"]), None);
    }
}
