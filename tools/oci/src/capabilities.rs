//! The capabilities that Linux has, and which one is meant by a word that is none.

/// All capabilities of Linux, in numeric order (`linux/capability.h`).
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The word in `list`, the capabilities of a container, that is none, and the one that is meant if one is near. A list of one word may also say
/// `all` or `none`.
#[must_use]
pub fn unknown_capability(list: &[&str]) -> Option<(usize, Option<&'static str>)> {
    if let [word] = list
        && (word.eq_ignore_ascii_case("all") || word.eq_ignore_ascii_case("none"))
    {
        return None;
    }
    let at = list.iter().position(|word| !CAPABILITIES.contains(word))?;
    let word = list[at].to_ascii_uppercase();
    let full = if word.starts_with("CAP") { word } else { format!("CAP_{word}") };
    Some((at, CAPABILITIES.into_iter().find(|known| is_near(known, &full))))
}

/// Whether the words are the same but for one letter, or two neighbours that changed places.
fn is_near(known: &str, given: &str) -> bool {
    let longest = known.len().max(given.len());
    let start = known.bytes().zip(given.bytes()).take_while(|(a, b)| a == b).count();
    let end = known.bytes().rev().zip(given.bytes().rev()).take_while(|(a, b)| a == b).count();
    longest.saturating_sub(start + end) <= 1 || start + end + 2 == longest && known.len() == given.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_none_is_found_with_what_was_meant() {
        assert_eq!(unknown_capability(&["CAP_CHOWN", "CAP_SYS_ADMIN"]), None);
        assert_eq!(unknown_capability(&["ALL"]), None);
        assert_eq!(unknown_capability(&["all", "CAP_KILL"]), Some((0, None)), "alone it means every one");
        for (word, meant) in [
            ("CAP_NET_ADMN", "CAP_NET_ADMIN"),
            ("CAP_SYS_AMDIN", "CAP_SYS_ADMIN"),
            ("NET_RAW", "CAP_NET_RAW"),
            ("cap_kill", "CAP_KILL"),
            ("CAP_KILLL", "CAP_KILL"),
        ] {
            assert_eq!(unknown_capability(&["CAP_CHOWN", word]), Some((1, Some(meant))), "{word}");
        }
        assert_eq!(unknown_capability(&["CAP_FOO"]), Some((0, None)));
    }
}
