//! Which lines of a text were removed and added, as `diff` finds them.

/// Limit of the lines in the middle, where the texts differ: the work grows with its square.
const MOST_LINES: usize = 2000;

/// The lines that differ, in order, with `-` or `+` in front.
#[must_use]
pub fn line_changes(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(one, two)| one == two).count();
    let (old, new) = (&old[same..], &new[same..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(one, two)| one == two).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let removed = |line: &&str| format!("-{line}");
    let added = |line: &&str| format!("+{line}");
    if old.len() > MOST_LINES || new.len() > MOST_LINES {
        return old.iter().map(removed).chain(new.iter().map(added)).collect();
    }
    // longest[i][j]: how many lines old[i..] and new[j..] have in common, in order.
    let mut longest = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i][j] = if old[i] == new[j] { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut changes, mut i, mut j) = (Vec::new(), 0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || longest[i + 1][j] >= longest[i][j + 1]) {
            changes.push(removed(&old[i]));
            i += 1;
        } else {
            changes.push(added(&new[j]));
            j += 1;
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::line_changes;

    #[test]
    fn changed_lines_are_found_and_no_others() {
        assert_eq!(line_changes("a\nb\nc\nd\n", "a\nc\nx\nd\n"), ["-b", "+x"]);
        assert_eq!(line_changes("", "a\nb"), ["+a", "+b"]);
        assert_eq!(line_changes("a\nb", "a\nb"), Vec::<String>::new());
        assert_eq!(line_changes("a\nb", "b\na"), ["-a", "+a"]);
    }
}
