//! Differences of texts whose lines correspond: a new tag changes a line and never their number.

/// Unchanged lines around a change.
const AROUND: usize = 3;

/// The unified difference of `old` and `new`, which have the same number of lines, under the path `name`; empty if they are equal.
#[must_use]
pub fn unified(name: &str, old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let changed: Vec<usize> = (0..old.len().max(new.len())).filter(|at| old.get(*at) != new.get(*at)).collect();
    if changed.is_empty() {
        return String::new();
    }
    let mut text = format!("--- a/{name}\n+++ b/{name}\n");
    let mut rest = changed.as_slice();
    while let Some(first) = rest.first() {
        // A hunk goes on as long as the next change is near.
        let length = rest.windows(2).take_while(|pair| pair[1] - pair[0] <= 2 * AROUND + 1).count() + 1;
        let last = rest[length - 1];
        rest = &rest[length..];
        let from = first.saturating_sub(AROUND);
        let end = |lines: usize| (last + AROUND + 1).min(lines);
        let (old_end, new_end) = (end(old.len()), end(new.len()));
        text.push_str(&format!("@@ -{},{} +{},{} @@\n", from + 1, old_end - from, from + 1, new_end - from));
        let mut at = from;
        while at < old_end.max(new_end) {
            let run = (at..).take_while(|at| *at < old_end.max(new_end) && old.get(*at) != new.get(*at)).count();
            if run == 0 {
                push(&mut text, ' ', old[at]);
                at += 1;
                continue;
            }
            old.iter().take(old_end).skip(at).take(run).for_each(|line| push(&mut text, '-', line));
            new.iter().take(new_end).skip(at).take(run).for_each(|line| push(&mut text, '+', line));
            at += run;
        }
    }
    text
}

fn push(text: &mut String, mark: char, line: &str) {
    text.push(mark);
    text.push_str(line);
    if !line.ends_with('\n') {
        text.push_str("\n\\ No newline at end of file\n");
    }
}
