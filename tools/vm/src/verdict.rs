//! What a guest of EVE says of its boot on the console: `EVE-FAILED what: why` is its last word, unless the machine starts again by itself.

use super::text::readable;
use std::{fmt, time::Duration};

/// What a check that failed begins with.
pub(super) const FAILED: &str = "EVE-FAILED ";
/// How long to wait for what follows a check that failed: other checks, or the word that the machine starts again.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(3);
/// The same for an onboot container that failed. The boot goes on, and only its end says whether the machine starts again.
const BOOT_ENDS: Duration = Duration::from_secs(90);
/// What a boot that succeeded begins with.
const READY: &str = "EVE-READY ";

/// Whether a guest that has given up will never print `text`: only the words of a boot that succeeds are sure to be missing then. A login
/// prompt may still come.
#[must_use]
pub fn ends_with_failure(text: &str) -> bool {
    text.starts_with("EVE-") && !text.starts_with("EVE-FAIL")
}

/// The guest's last words, if it has given up: why, in its order. `printed` is what its console printed.
#[must_use]
pub fn last_words(printed: &[u8]) -> Option<String> {
    // A line without an end may still grow.
    let whole = &printed[..printed.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)];
    let mut words: Vec<String> = Vec::new();
    for line in readable(whole) {
        if line.contains(READY) {
            words.clear();
        }
        // A login prompt may stand in the line already.
        let Some((_, why)) = line.split_once(FAILED) else { continue };
        if starts_again(why) {
            words.clear();
        } else if !is_script(why) && !words.iter().any(|word| word == why) {
            words.push(why.to_owned());
        }
    }
    (!words.is_empty()).then(|| words.join("; "))
}

/// How long to wait after the last words `why` for one that takes them back.
#[must_use]
pub fn patience(why: &str) -> Duration {
    if why.split("; ").all(|word| word.starts_with("onboot ")) { BOOT_ENDS } else { LAST_WORDS }
}

/// Whether the machine goes on to something else: GRUB, the initrd and a system on trial try the other slot. GRUB that finds nothing to boot
/// starts again too, but to the same end.
fn starts_again(why: &str) -> bool {
    let finds_nothing = why.starts_with("boot: no ") || why.contains("this medium has no ");
    ["slot: ", "initrd: "].iter().any(|start| why.starts_with(start)) || (why.starts_with("boot: ") && !finds_nothing)
}

/// Whether this is the exit status of a script of the init system, `010-onboot: exit status 1`. What counts is what that script said.
fn is_script(why: &str) -> bool {
    let number = why.split('-').next().unwrap_or_default();
    number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// What to say of a guest that has given up before it printed `text`.
#[must_use]
pub fn describe(text: &str, why: &str) -> String {
    if text.starts_with("EVE-READY") { format!("the machine is not ready: {why}") } else { format!("no `{text}` from the machine: {why}") }
}

/// The guest has said that it has given up: the message, with the last lines of its console.
#[derive(Debug)]
pub struct NotReady(String);

impl NotReady {
    pub(super) const fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotReady {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_the_last_one() {
        let words = |text: &str| last_words(text.as_bytes());
        assert_eq!(words("Welcome to GRUB!\r\nEVE-FAILING service a: ended 3 times\r\n"), None);
        let failed = "\r\n\reve login: EVE-FAILED onboot 000-x: exit status 1: no \u{1b}[1mfile\u{1b}[0m \r\nEVE-FAILED 999-ready: exit status 1\r\n";
        assert_eq!(words(failed).as_deref(), Some("onboot 000-x: exit status 1: no file"));
        assert_eq!(words("EVE-FAILED network: no lea"), None, "the line goes on");
        let two = "EVE-FAILED network: no lease\nEVE-FAILED service a: not running\nEVE-FAILED network: no lease\n";
        assert_eq!(words(two).as_deref(), Some("network: no lease; service a: not running"));
        assert_eq!(words(&format!("{two}EVE-FAILED slot: late; this was a trial, the machine starts again\n")), None);
        assert_eq!(words(&format!("{two}EVE-READY 1 hv=kvm\n")), None);
        assert_eq!(words("EVE-FAILED boot: slot A did not come up in five starts; B is on trial\n"), None);
        assert!(words("EVE-FAILED boot: no slot of hd0 has a root file system that boots\n").is_some());
        assert!(words("EVE-FAILED boot: Secure Boot is on, and this medium has no /EFI/Linux/eve.efi that is signed\n").is_some());
        assert!(patience("onboot 000-x: exit status 1: no file; onboot 001-y: exit status 1") > Duration::from_secs(60));
        assert_eq!(patience("onboot 000-x: exit status 1; network: no lease"), LAST_WORDS, "the boot has ended");
    }

    #[test]
    fn only_the_words_of_a_good_boot_are_ended_by_a_failure() {
        assert!(ends_with_failure("EVE-READY") && ends_with_failure("EVE-INSTALLED"));
        assert!(!ends_with_failure("EVE-FAILED boot: no ") && !ends_with_failure("EVE-FAILING") && !ends_with_failure("login:"));
        assert_eq!(describe("EVE-READY next", "network: no lease"), "the machine is not ready: network: no lease");
    }
}
