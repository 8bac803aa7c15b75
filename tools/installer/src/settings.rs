//! The settings of an installation: words `eve_…` of the kernel's command line, and of grub.cfg in CONFIG.

use anyhow::{Result, bail};

/// What a word takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing, or y or n.
    Switch,
    /// A text.
    Text,
    /// One disk.
    Disk,
    /// Disks separated by commas.
    Disks,
}

/// A word that the installer obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallWord {
    /// The disk to install on.
    InstallDisk,
    /// Another disk for P3.
    PersistDisk,
    /// Disks whose partition tables are removed first.
    NukeDisks,
    /// Removes those of all disks, and installs nothing.
    NukeAllDisks,
    /// Installs nothing, only reports.
    Blackbox,
    /// A shell before; the script that starts the program obeys it.
    PauseBefore,
    /// The same afterwards.
    PauseAfter,
    /// The machine starts again instead of going off; the script obeys it.
    Reboot,
    /// Random GUIDs.
    RandomUuids,
    /// Keeps CONFIG.
    SkipConfig,
    /// Keeps P3.
    SkipPersist,
    /// Keeps IMGA and IMGB.
    SkipRootfs,
    /// The content of `server` in CONFIG.
    Server,
    /// The machine's serial number.
    SoftSerial,
    /// Has the firmware take the keys of the medium.
    EnrollKeys,
    /// Checks the machine, too; the script runs the checks that need a program.
    Verify,
}

/// All words with their names and what they take.
#[rustfmt::skip]
const WORDS: &[(InstallWord, &str, Takes)] = &[
    (InstallWord::InstallDisk, "eve_install_disk", Takes::Disk),
    (InstallWord::PersistDisk, "eve_persist_disk", Takes::Disk),
    (InstallWord::NukeDisks, "eve_nuke_disks", Takes::Disks),
    (InstallWord::NukeAllDisks, "eve_nuke_all_disks", Takes::Switch),
    (InstallWord::Blackbox, "eve_blackbox", Takes::Switch),
    (InstallWord::PauseBefore, "eve_pause_before_install", Takes::Switch),
    (InstallWord::PauseAfter, "eve_pause_after_install", Takes::Switch),
    (InstallWord::Reboot, "eve_reboot_after_install", Takes::Switch),
    (InstallWord::RandomUuids, "eve_install_random_disk_uuids", Takes::Switch),
    (InstallWord::SkipConfig, "eve_install_skip_config", Takes::Switch),
    (InstallWord::SkipPersist, "eve_install_skip_persist", Takes::Switch),
    (InstallWord::SkipRootfs, "eve_install_skip_rootfs", Takes::Switch),
    (InstallWord::Server, "eve_install_server", Takes::Text),
    (InstallWord::SoftSerial, "eve_soft_serial", Takes::Text),
    (InstallWord::EnrollKeys, "eve_enroll_keys", Takes::Switch),
    (InstallWord::Verify, "eve_verify", Takes::Switch),
];

impl InstallWord {
    /// The word itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        WORDS.iter().find(|(word, ..)| *word == self).map_or("", |(_, name, _)| name)
    }
}

/// Starts of names that are the installer's, known or not.
const OURS: &[&str] = &["eve_nuke", "eve_pause", "eve_persist", "eve_blackbox", "eve_reboot", "eve_soft", "eve_enrol"];

/// Words of others on the command line that look like one of ours: the initrd of a signed medium obeys this one.
const OF_OTHERS: &[&str] = &["eve_verity"];

/// The settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallSettings {
    values: Vec<(InstallWord, &'static str, String)>,
}

impl InstallSettings {
    /// Reads the kernel's command line, and grub.cfg of CONFIG for what the command line does not have. A word of the installer that nobody
    /// knows is an error.
    pub fn read(cmdline: &str, grub_cfg: &str) -> Result<Self> {
        let mut settings = Self::default();
        let words = cmdline.split_whitespace().filter(|word| !OF_OTHERS.contains(word));
        let words = words.map(|word| word.split_once('=').unwrap_or((word, "y")));
        settings.add(words, "the kernel's command line")?;
        let mut of_config = Self::default();
        let mut blocks = Blocks::default();
        for (number, line) in (1..).zip(grub_cfg.lines()) {
            let place = format!("CONFIG's grub.cfg, line {number}");
            for command in without_comment(line).split(';') {
                match blocks.read(&command.replace(['"', '\''], "")) {
                    Ok(words) => of_config.add(words.iter().map(|(name, value)| (name.as_str(), value.as_str())), &place)?,
                    Err(name) => bail!(
                        "{place}: {name} stands in a condition, a menu entry or another command, which the installer does not follow; `set_global {name} VALUE` in a line of its own is obeyed"
                    ),
                }
            }
        }
        for (word, name, value) in of_config.values {
            if settings.value(word).is_none() {
                settings.values.push((word, name, value));
            }
        }
        Ok(settings)
    }

    /// Adds words; a later one replaces an earlier one.
    fn add<'w>(&mut self, words: impl Iterator<Item = (&'w str, &'w str)>, place: &str) -> Result<()> {
        for (name, value) in words.filter(|(name, _)| name.starts_with("eve_")) {
            let Some((word, name, takes)) = WORDS.iter().find(|(_, known, _)| *known == name) else {
                if name.contains("install") || OURS.iter().any(|start| name.starts_with(start)) || near(name).is_some() {
                    bail!("{place}: unknown word {name}; {}", advice(name));
                }
                continue;
            };
            let value = match (takes, value) {
                (Takes::Switch, "" | "y" | "yes" | "1" | "true") => "y".to_owned(),
                (Takes::Switch, "n" | "no" | "0" | "false") => "n".to_owned(),
                (Takes::Switch, other) => bail!("{place}: {name}={other}: it is y or n"),
                (_, "" | "y") => bail!("{place}: {name} needs a value: {name}=VALUE"),
                (Takes::Text, value) => value.to_owned(),
                (Takes::Disk, value) if value.contains(',') => bail!("{place}: {name}={value}: it names one disk"),
                (Takes::Disk | Takes::Disks, value) => {
                    value.split(',').map(|disk| disk.strip_prefix("/dev/").unwrap_or(disk)).collect::<Vec<_>>().join(",")
                }
            };
            self.values.retain(|(known, ..)| known != word);
            self.values.push((*word, name, value));
        }
        Ok(())
    }

    /// The value of a word.
    #[must_use]
    pub fn value(&self, word: InstallWord) -> Option<&str> {
        self.values.iter().find(|(known, ..)| *known == word).map(|(.., value)| value.as_str())
    }

    /// Whether a switch is on.
    #[must_use]
    pub fn is_on(&self, word: InstallWord) -> bool {
        self.value(word) == Some("y")
    }

    /// The words that are set, each as `name=value`.
    pub fn words(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|(_, name, value)| format!("{name}={value}"))
    }
}

/// What to write instead of `name`.
fn advice(name: &str) -> String {
    if name.contains("zfs") || name.contains("k3s") {
        return "this installer makes no ZFS".to_owned();
    }
    match near(name) {
        Some(known) => format!("did you mean {known}?"),
        None => format!("known are {}", WORDS.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(", ")),
    }
}

/// The known word that is almost `name`.
fn near(name: &str) -> Option<&'static str> {
    let near = WORDS.iter().map(|(_, known, _)| *known).min_by_key(|known| distance(known, name));
    near.filter(|known| distance(known, name) <= 3)
}

/// The number of changes of single bytes between two words.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, byte) in left.bytes().enumerate() {
        let mut before = std::mem::replace(&mut row[0], at + 1);
        for (column, other) in right.bytes().enumerate() {
            let change = before + usize::from(byte != other);
            let least = change.min(row[column] + 1).min(row[column + 1] + 1);
            before = std::mem::replace(&mut row[column + 1], least);
        }
    }
    row.pop().unwrap_or(0)
}

/// A line without its comment, which begins with a `#` that begins a word outside of quotes.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, letter) in line.char_indices() {
        match (quote, letter) {
            (None, '#') if before.is_whitespace() || before == ';' => return &line[..at],
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            _ => {}
        }
        before = letter;
    }
    line
}

/// Reads commands of a configuration for GRUB. GRUB itself is not asked: over the network it does not see CONFIG.
#[derive(Default)]
struct Blocks {
    /// How many conditions, loops, functions and menu entries are open; the installer does not follow them.
    depth: usize,
}

impl Blocks {
    /// The words `eve_…` with their values in a command without quotes. Fails with the first word of the installer if GRUB may or may not
    /// run the command, or if it is no `set`.
    fn read(&mut self, command: &str) -> Result<Vec<(String, String)>, &'static str> {
        let words: Vec<&str> = command.split_whitespace().collect();
        // A condition may begin behind the word that ends the one before.
        let opens = words.iter().position(|word| !matches!(*word, "then" | "else" | "do" | "{"));
        let Some((first, rest)) = opens.and_then(|at| words[at..].split_first()) else { return Ok(Vec::new()) };
        if matches!(*first, "if" | "for" | "while" | "until" | "function" | "menuentry" | "submenu") {
            self.depth += 1;
        }
        let is_followed = self.depth == 0 && matches!(*first, "set" | "set_global" | "echo");
        if matches!(*first, "fi" | "done" | "}") {
            self.depth = self.depth.saturating_sub(1);
        }
        let mut names = words.iter().flat_map(|word| word.split('='));
        match names.find_map(|name| WORDS.iter().map(|(_, known, _)| *known).find(|known| *known == name)) {
            Some(name) if !is_followed => Err(name),
            _ => Ok(words_set_by(first, rest)),
        }
    }
}

/// The words `eve_…` that a command sets: `set_global eve_install_disk sda`, `set eve_install_disk=sda`, and words in the value of another
/// variable: `set_global dom0_extra_args eve_install_disk=sda`.
fn words_set_by(command: &str, words: &[&str]) -> Vec<(String, String)> {
    match (command, words) {
        ("set_global", [name, value @ ..]) if name.starts_with("eve_") && !name.contains('=') => {
            return vec![((*name).to_owned(), value.first().copied().unwrap_or("y").to_owned())];
        }
        ("set" | "set_global", _) => {}
        _ => return Vec::new(),
    }
    let split = |word: &&str| {
        let (name, value) = word.split_once('=').unwrap_or((word, "y"));
        // `set dom0_extra_args=eve_blackbox`
        let (name, value) = if name.starts_with("eve_") { (name, value) } else { value.split_once('=').unwrap_or((value, "y")) };
        name.starts_with("eve_").then(|| (name.to_owned(), value.to_owned()))
    };
    words.iter().filter_map(split).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(cmdline: &str, grub_cfg: &str) -> String {
        match InstallSettings::read(cmdline, grub_cfg) {
            Ok(settings) => settings.words().collect::<Vec<_>>().join(" "),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn words_come_from_the_command_line_and_from_grub_cfg() {
        let grub = "# set_global eve_install_disk no\nset timeout=5\nset_global eve_install_disk \"sda\"\nset_global eve_boot IMGB
            set eve_soft_serial='X1'; set_global dom0_extra_args \"$dom0_extra_args debug eve_reboot_after_install eve_nuke_disks=/dev/sda,sdb\"";
        assert_eq!(
            read("root=x eve_install_disk=/dev/nvme0n1 quiet", grub),
            "eve_install_disk=nvme0n1 eve_soft_serial=X1 eve_reboot_after_install=y eve_nuke_disks=sda,sdb"
        );
        assert_eq!(
            read("", "# was: set timeout=5; set_global eve_nuke_all_disks y\nset x='#'; set_global eve_blackbox # yes"),
            "eve_blackbox=y"
        );
        assert_eq!(read("eve_verity eve_enroll_keys", ""), "eve_enroll_keys=y");
        assert_eq!(read("", "if [ -n \"$x\" ]; then\n  set timeout=5\nfi\nset_global eve_install_disk vda"), "eve_install_disk=vda");
        assert_eq!(read("eve_blackbox=n eve_blackbox", "set_global eve_blackbox n"), "eve_blackbox=y");
        assert_eq!(read("evening eve_flavor=kvm eve_trial", "set_getty\nset_kvm_boot\n"), "");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        assert_eq!(
            read("eve_instal_disk=sda", ""),
            "error: the kernel's command line: unknown word eve_instal_disk; did you mean eve_install_disk?"
        );
        for (cmdline, grub, wanted) in [
            ("", "set_global eve_verity", "CONFIG's grub.cfg, line 1: unknown word eve_verity; did you mean eve_verify?"),
            ("eve_enrol_keys", "", "the kernel's command line: unknown word eve_enrol_keys; did you mean eve_enroll_keys?"),
            ("", "\nset_global eve_install_disc sda", "CONFIG's grub.cfg, line 2: unknown word eve_install_disc; did you mean"),
            (
                "",
                "set_global dom0_extra_args \"eve_pause\"",
                "CONFIG's grub.cfg, line 1: unknown word eve_pause; known are eve_install_disk, ",
            ),
            ("", "if [ \"$x\" = y ]; then\n  set_global eve_install_disk sda\nfi", "line 2: eve_install_disk stands in a condition"),
            ("", "if true; then set_global eve_nuke_all_disks; fi", "line 1: eve_nuke_all_disks stands in a condition"),
            ("", "if true; then\necho \"done\"\nset_global eve_install_disk sdb\nfi", "line 3: eve_install_disk stands in a condition"),
            (
                "",
                "if true\nthen if true; then x; fi\nset_global eve_install_disk sdb\nfi",
                "line 3: eve_install_disk stands in a condition",
            ),
            ("", "function x {\n}\nexport eve_blackbox", "line 3: eve_blackbox stands in a condition, a menu entry or another command"),
            ("eve_install_zfs_with_raid_level=raid1", "", "makes no ZFS"),
            ("eve_install_disk", "", "eve_install_disk needs a value"),
            ("eve_install_disk=sda,sdb", "", "names one disk"),
            ("eve_blackbox=maybe", "", "it is y or n"),
        ] {
            let found = read(cmdline, grub);
            assert!(found.starts_with("error: ") && found.contains(wanted), "{found}");
        }
    }

    #[test]
    fn distances_count_changes() {
        assert_eq!([distance("", "ab"), distance("abc", "abc"), distance("abc", "axc"), distance("abc", "bc")], [2, 0, 1, 1]);
    }
}
