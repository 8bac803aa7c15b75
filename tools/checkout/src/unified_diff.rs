//! Applies a unified diff to one text, as `patch` does without fuzz: each hunk at its line, or where its lines are found next to that.

use anyhow::{Context as _, Result, bail};

/// A hunk: the line (from 0) where it begins in the old text, the old lines, and the new ones.
struct Hunk<'t> {
    start: usize,
    old: Vec<&'t str>,
    new: Vec<&'t str>,
}

/// `text` with the hunks of `diff` applied.
pub fn apply(text: &str, diff: &str) -> Result<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    let mut moved = 0_isize;
    for (number, hunk) in hunks(diff)?.into_iter().enumerate() {
        let wanted = hunk.start.saturating_add_signed(moved);
        let at = find(&lines, &hunk.old, wanted).with_context(|| format!("hunk {} does not fit", number + 1))?;
        lines.splice(at..at + hunk.old.len(), hunk.new.iter().copied());
        let grown = hunk.new.len().cast_signed() - hunk.old.len().cast_signed();
        moved += at.cast_signed() - wanted.cast_signed() + grown;
    }
    Ok(lines.iter().flat_map(|line| [*line, "\n"]).collect())
}

fn hunks(diff: &str) -> Result<Vec<Hunk<'_>>> {
    let mut hunks: Vec<Hunk<'_>> = Vec::new();
    for line in diff.lines() {
        if let Some(rest) = line.strip_prefix("@@ -") {
            let start: usize = rest.split([',', ' ']).next().unwrap_or_default().parse().with_context(|| format!("not a hunk: {line}"))?;
            hunks.push(Hunk { start: start.saturating_sub(1), old: Vec::new(), new: Vec::new() });
            continue;
        }
        // The lines with the files' names are before the first hunk.
        let Some(hunk) = hunks.last_mut() else { continue };
        match line.as_bytes().first() {
            Some(b'+') => hunk.new.push(&line[1..]),
            Some(b'-') => hunk.old.push(&line[1..]),
            Some(b' ') | None => {
                let line = line.get(1..).unwrap_or_default();
                hunk.old.push(line);
                hunk.new.push(line);
            }
            Some(b'\\') => {}
            _ => bail!("not a line of a hunk: {line}"),
        }
    }
    if hunks.is_empty() { bail!("there is no hunk in it") } else { Ok(hunks) }
}

/// The position of `old` in `lines` that is nearest to `wanted`.
fn find(lines: &[&str], old: &[&str], wanted: usize) -> Option<usize> {
    let places = (0..=lines.len().checked_sub(old.len())?).filter(|at| lines[*at..].starts_with(old));
    places.min_by_key(|at| at.abs_diff(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunks_are_applied_where_their_lines_are() {
        let diff = "--- a\n+++ b\n@@ -1,2 +1,3 @@\n a\n+x\n b\n@@ -9,2 +10,1 @@\n-c\n d\n";
        assert_eq!(apply("a\nb\nc\nd\n", diff).expect("applied"), "a\nx\nb\nd\n");
        for (diff, message) in [("@@ -1 +1 @@\n-z\n", "hunk 1 does not fit"), ("", "no hunk"), ("@@ -1 +1 @@\n*z\n", "not a line")] {
            let error = format!("{:#}", apply("a\n", diff).expect_err("refused"));
            assert!(error.contains(message), "{error}");
        }
    }
}
