//! Durations, sizes and paths as text for people.

use std::{path::Path, time::Duration};

/// A duration: `0.04 s`, `12 s`, `3 min 5 s`.
#[must_use]
pub fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.2} s")
    } else if seconds < 60.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60)
    }
}

/// A size: `512 B`, `1.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

/// `path` relative to `root`, if it is below it.
#[must_use]
pub fn short<'p>(path: &'p Path, root: &Path) -> std::path::Display<'p> {
    path.strip_prefix(root).unwrap_or(path).display()
}

/// The user and password in a URL, or in an option or variable whose value is a URL. The user of ssh alone is no secret.
#[must_use]
pub fn login(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    let (login, _) = rest[..rest.find('/').unwrap_or(rest.len())].rsplit_once('@')?;
    (login.contains(':') || !scheme.ends_with("ssh")).then_some(login)
}

/// The URL without user and password, for messages.
#[must_use]
pub fn public_url(url: &str) -> String {
    login(url).map_or_else(|| url.to_owned(), |login| url.replacen(&format!("{login}@"), "", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_well() {
        assert_eq!(seconds(Duration::from_millis(40)), "0.04 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1 << 20), "1.0 MiB");
    }

    #[test]
    fn a_password_is_not_shown() {
        for (url, shown) in [
            ("http://me:s3cret@h:80/a@b", "http://h:80/a@b"),
            ("https://token@h/a", "https://h/a"),
            ("A=https://me:s3cret@h", "A=https://h"),
            ("ssh://git:s3cret@h/a", "ssh://h/a"),
            ("ssh://git@h/a", "ssh://git@h/a"),
            ("http://h/a@b", "http://h/a@b"),
            ("git@h:a", "git@h:a"),
        ] {
            assert_eq!(public_url(url), shown);
        }
    }
}
