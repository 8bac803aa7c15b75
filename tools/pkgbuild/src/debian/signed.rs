//! Whose signature under a Release file is believed: Debian's archive keys, from the folder `keys` of this crate, while they are not
//! expired.

use super::control::Stanza;
use anyhow::{Context as _, Result, bail};
use std::path::Path;

/// What to do about a Release file that is not believed.
pub(super) const UNTRUSTED: &str =
    "hint: nothing of this mirror is taken; name another one: DEBIAN_MIRROR=http://…, DEBIAN_SECURITY_MIRROR=http://…";

/// A key that signs Debian's archives.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Fingerprint of the primary key, in hex.
    pub fingerprint: &'static str,
    /// The day on which the key, or its subkey for signatures, expires.
    pub expires: &'static str,
    /// Its owner.
    pub name: &'static str,
    bytes: &'static [u8],
}

macro_rules! keys {
    ($($file:literal $fingerprint:literal $expires:literal $name:literal;)*) => {
        /// The keys; `keys/README.md` says where they are from.
        pub const KEYS: &[Key] = &[$(Key {
            fingerprint: $fingerprint, expires: $expires, name: $name, bytes: include_bytes!(concat!("../../keys/", $file)),
        }),*];
    };
}

keys! {
    "debian-archive-bookworm-automatic.gpg" "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8" "2031-01-19" "Debian Archive Automatic Signing Key (12/bookworm)";
    "debian-archive-bookworm-security-automatic.gpg" "05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0" "2031-01-19" "Debian Security Archive Automatic Signing Key (12/bookworm)";
    "debian-archive-bookworm-stable.gpg" "4D64FEC119C2029067D6E791F8D2585B8783D481" "2031-01-21" "Debian Stable Release Key (12/bookworm)";
    "debian-archive-trixie-automatic.gpg" "04B54C3CDCA79751B16BC6B5225629DF75B188BD" "2035-03-28" "Debian Archive Automatic Signing Key (13/trixie)";
    "debian-archive-trixie-security-automatic.gpg" "5E04A1E3223A19A20706E20F9904613D4CCE68C6" "2035-03-28" "Debian Security Archive Automatic Signing Key (13/trixie)";
    "debian-archive-trixie-stable.gpg" "41587F7DB8C774BCCF131416762F67A0B2C39DE4" "2033-03-22" "Debian Stable Release Key (13/trixie)";
}

/// A file whose signature was checked.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The text that is signed, and nothing else.
    pub text: Vec<u8>,
    /// Fingerprints of the primary keys that made a good signature.
    pub signers: Vec<String>,
}

/// Checks signatures.
pub trait Verifier {
    /// Checks the signatures of the file `signed`, which are in `signature` or, without it, in the file itself, against the keys in
    /// `keyring`. An error if one is wrong, or none is by these keys. Looks at no expiry.
    fn verify(&self, keyring: &Path, signed: &Path, signature: Option<&Path>) -> Result<Verified>;
}

/// What decides whether a Release file is believed.
#[derive(Clone, Copy)]
pub struct Trust<'a> {
    /// Checks signatures.
    pub verifier: &'a dyn Verifier,
    /// The present time as a Unix timestamp.
    pub now: i64,
}

impl Trust<'_> {
    /// The signed text of a file in a folder of our own, if a key of [`KEYS`] that is not expired has signed it.
    pub(super) fn verify(&self, signed: &Path, signature: Option<&Path>) -> Result<Vec<u8>> {
        let keyring = signed.with_file_name("keyring.gpg");
        let bytes: Vec<u8> = KEYS.iter().flat_map(|key| key.bytes).copied().collect();
        std::fs::write(&keyring, bytes).with_context(|| format!("cannot write `{}`", keyring.display()))?;
        let verified = self.verifier.verify(&keyring, signed, signature)?;
        let signers = || KEYS.iter().filter(|key| verified.signers.iter().any(|signer| signer.eq_ignore_ascii_case(key.fingerprint)));
        let mut expired = Vec::new();
        for key in signers() {
            let expires = day(key.expires).with_context(|| format!("`{}` is not a day", key.expires))?;
            if self.now < expires {
                return Ok(verified.text);
            }
            expired.push(format!("the key of {}, {}, has expired on {}", key.name, key.fingerprint, key.expires));
        }
        if expired.is_empty() {
            bail!("none of Debian's archive keys has signed it\n{UNTRUSTED}");
        }
        bail!(
            "{}\nhint: take the new keys of Debian's package debian-archive-keyring, as tools/pkgbuild/keys/README.md says",
            expired.join("; ")
        )
    }
}

/// Checks that a Release file is that of the suite `name` and has not been replaced by a newer one long ago.
pub(super) fn check_release(release: &Stanza<'_>, name: &str, now: i64) -> Result<()> {
    let (codename, suite) = (release.get("Codename").unwrap_or_default(), release.get("Suite").unwrap_or_default());
    if name != codename && name != suite {
        bail!("its Release file is that of another suite, {codename} ({suite})\n{UNTRUSTED}");
    }
    let Some(until) = release.get("Valid-Until") else { return Ok(()) };
    let end = date(until).with_context(|| format!("its Release file is valid until `{until}`, which is not a date"))?;
    if now > end {
        bail!(
            "its Release file was valid until {until}: the mirror is no longer renewed, or hides newer versions\n{UNTRUSTED}\n\
             hint: or the clock of this machine is wrong"
        );
    }
    Ok(())
}

/// The Unix timestamp of the start of a day `2031-01-19`.
fn day(text: &str) -> Option<i64> {
    let [year, month, day] = text.split('-').map(|part| part.parse().ok()).collect::<Option<Vec<i64>>>()?[..] else { return None };
    Some(days(year, month, day)? * 86_400)
}

/// The Unix timestamp of `Wed, 02 Dec 2026 22:33:12 UTC`, the form of dates in a Release file.
fn date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let [_, day, month, year, time, "UTC" | "GMT" | "+0000"] = text.split_ascii_whitespace().collect::<Vec<_>>()[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let [hour, minute, second] = time.split(':').map(|part| part.parse().ok()).collect::<Option<Vec<i64>>>()?[..] else { return None };
    let is_time = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..61).contains(&second);
    let days = days(year.parse().ok()?, month, day.parse().ok()?)?;
    is_time.then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The year begins in March, so that a leap day is its last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    Some(year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::debian::stanzas;

    #[test]
    fn dates_are_those_of_date() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", 0),
            ("Thu, 29 Feb 2024 23:59:59 UTC", 1_709_251_199),
            ("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200),
            ("Wed, 02 Dec 2026 22:33:12 UTC", 1_796_250_792),
            ("Thu, 31 Dec 2099 12:00:00 +0000", 4_102_401_600),
        ] {
            assert_eq!(date(text), Some(seconds), "{text}");
        }
        assert_eq!(day("2031-01-19"), Some(1_926_547_200));
        for bad in ["", "Wed, 02 Dec 2026 22:33:12 CET", "Wed, 02 Foo 2026 22:33:12 UTC", "Wed, 40 Dec 2026 22:33:12 UTC", "2 Dec 2026"] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_release_file_is_of_its_suite_and_of_its_time() {
        let check = |text: &str, now: i64| {
            let release = stanzas(text, "Release").next().unwrap().unwrap();
            check_release(&release, "bookworm-security", now).map_err(|error| error.to_string())
        };
        let good = "Suite: oldstable-security\nCodename: bookworm-security\nValid-Until: Wed, 02 Dec 2026 22:33:12 UTC\n";
        assert_eq!(check(good, 1_796_250_792), Ok(()));
        assert_eq!(check("Suite: bookworm-security\n", 0), Ok(()));
        let error = check(good, 1_796_250_793).unwrap_err();
        assert!(
            error.starts_with("its Release file was valid until Wed, 02 Dec 2026 22:33:12 UTC: ") && error.contains("\nhint: "),
            "{error}"
        );
        let error = check("Suite: stable\nCodename: bookworm\n", 0).unwrap_err();
        assert!(error.starts_with("its Release file is that of another suite, bookworm (stable)\nhint: "), "{error}");
        let error = check("Codename: bookworm-security\nValid-Until: soon\n", 0).unwrap_err();
        assert_eq!(error, "its Release file is valid until `soon`, which is not a date");
    }

    /// gpg reads the files: each holds the key that the table says.
    #[test]
    fn the_keys_are_those_of_the_table() {
        for key in KEYS {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("key.gpg");
            std::fs::write(&file, key.bytes).unwrap();
            let arguments = ["--show-keys", "--with-colons", "--fixed-list-mode", "--homedir"];
            let Ok(output) = std::process::Command::new("gpg").args(arguments).arg(folder.path()).arg(&file).output() else {
                skips::missing("gpg", "gpg");
                return;
            };
            let text = String::from_utf8(output.stdout).unwrap();
            let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(':').collect()).collect();
            let of = |kind: &str| lines.iter().filter(|line| line[0] == kind).cloned().collect::<Vec<_>>();
            assert_eq!(of("fpr")[0][9], key.fingerprint, "{text}");
            assert_eq!(of("pub").len(), 1, "{text}");
            assert!(of("uid")[0][9].starts_with(key.name), "{text}");
            // Keys that sign: the primary one, or its subkeys.
            let ends = [of("pub"), of("sub")].concat().iter().map(|line| line[6].parse::<i64>().unwrap() / 86_400).min();
            assert_eq!(ends, Some(day(key.expires).unwrap() / 86_400), "{text}");
        }
    }
}
