//! Order of Debian versions (policy §5.6.12).

use std::cmp::Ordering;

/// Compares two versions `[epoch:]upstream[-revision]`. Defined for any texts; validity is not checked.
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left_epoch, left_upstream, left_revision) = split(left);
    let (right_epoch, right_upstream, right_revision) = split(right);
    digits(left_epoch, right_epoch)
        .then_with(|| compare_part(left_upstream, right_upstream))
        .then_with(|| compare_part(left_revision, right_revision))
}

/// Epoch (empty counts as 0), upstream version, revision (empty counts as `0`).
fn split(version: &str) -> (&str, &str, &str) {
    let version = version.trim();
    let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Compares alternating runs of non-digits and digits.
fn compare_part(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = left.split_at(run(left, false));
        let (right_text, right_rest) = right.split_at(run(right, false));
        let (left_number, left_rest) = left_rest.split_at(run(left_rest, true));
        let (right_number, right_rest) = right_rest.split_at(run(right_rest, true));
        let order = compare_text(left_text, right_text).then_with(|| digits(left_number, right_number));
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

/// Length of the leading run of digits, or of non-digits.
fn run(text: &str, of_digits: bool) -> usize {
    text.bytes().position(|b| b.is_ascii_digit() != of_digits).unwrap_or(text.len())
}

/// Order: `~`, end of the text, letters, everything else.
fn compare_text(left: &str, right: &str) -> Ordering {
    let rank = |byte: Option<&u8>| match byte {
        None => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    let (left, right) = (left.as_bytes(), right.as_bytes());
    (0..left.len().max(right.len()))
        .map(|at| rank(left.get(at)).cmp(&rank(right.get(at))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Compares decimal numbers of any length; the empty text is 0.
fn digits(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_debians_order() {
        let table = [
            ("1.0", "1.0", Ordering::Equal),
            ("1.0", "1.0-0", Ordering::Equal),
            ("0:1.0", "1.0", Ordering::Equal),
            ("1.0", "1.00", Ordering::Equal),
            ("1.0-1", "1.0-2", Ordering::Less),
            ("1.9", "1.10", Ordering::Less),
            ("1:0.1", "2.0", Ordering::Greater),
            ("1.0~rc1", "1.0", Ordering::Less),
            ("1.0~~", "1.0~", Ordering::Less),
            ("1.0~rc1-1", "1.0~rc1~-1", Ordering::Greater),
            ("1.0", "1.0a", Ordering::Less),
            ("1.0a", "1.0+", Ordering::Less),
            ("1.0+b4", "1.0+deb12u1", Ordering::Less),
            ("1.35.0-4+b4", "1.35.0-4+deb12u1", Ordering::Less),
            ("2.36-9+deb12u10", "2.36-9+deb12u9", Ordering::Greater),
            ("1.0-1-1", "1.0-1", Ordering::Greater),
            ("6.1.176-1", "6.1.192-2", Ordering::Less),
            ("1.0.", "1.0", Ordering::Greater),
            ("99999999999999999999999", "100000000000000000000000", Ordering::Less),
            ("1:1.2:3-4", "1:1.2:4-1", Ordering::Less),
            ("a", "1", Ordering::Greater),
            ("", "0", Ordering::Equal),
            ("1.2é", "1.2z", Ordering::Greater),
        ];
        for (left, right, order) in table {
            assert_eq!(compare(left, right), order, "{left} against {right}");
            assert_eq!(compare(right, left), order.reverse(), "{right} against {left}");
        }
    }

    /// Every pair of the table above that dpkg accepts has dpkg's answer too.
    #[test]
    fn dpkg_agrees() {
        let all = [
            "1.0",
            "1.0-0",
            "1.0~rc1",
            "1.0~",
            "1.0a",
            "1.0+b1",
            "1:0.1",
            "1.0.",
            "1.10",
            "1.9",
            "0+deb12u10",
            "0+deb12u9",
            "1.0-1~bpo12+1",
        ];
        for left in all {
            for right in all {
                let Ok(status) = std::process::Command::new("dpkg").args(["--compare-versions", left, "lt", right]).status() else {
                    skips::missing("dpkg", "dpkg");
                    return;
                };
                assert_eq!(status.success(), compare(left, right).is_lt(), "{left} < {right}");
            }
        }
    }
}
