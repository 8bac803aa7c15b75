//! `make GOAL… VAR=value…`: the words of the old Makefile, and what they are now.

use super::verbs;
use crate::{cli, environment::Environment};
use anyhow::Result;
use clap::{Arg, ArgMatches, Command};

/// Old target names that are spelled otherwise now; a name with `%` stands for a family.
pub const OLD_NAMES: &[&str] =
    &["run-live", "rootfs.tar", "rootfs.img", "config.img", "live.raw", "live.qcow2", "help", "pkg/", "eve-", "-show-tag"];

/// The present words for one old target, or the target itself.
#[must_use]
pub fn modern(goal: &str) -> Vec<String> {
    let fixed: &[&str] = match goal {
        "run-live" => &["run"],
        "rootfs.tar" => &["rootfstar"],
        "rootfs.img" => &["rootfs"],
        "config.img" => &["config"],
        "live.raw" => &["live-raw"],
        "live.qcow2" => &["live-qcow2"],
        "help" | "all" => &["--help"],
        _ => &[],
    };
    if !fixed.is_empty() {
        return fixed.iter().map(|word| (*word).to_owned()).collect();
    }
    let family = goal
        .strip_prefix("pkg/")
        .or_else(|| goal.strip_prefix("eve-"))
        .map(|name| ["pkg", name])
        .or_else(|| goal.strip_suffix("-show-tag").map(|name| ["show-tag", name]));
    match family {
        Some(words) if !verbs().any(|verb| verb.name == goal) => words.map(str::to_owned).to_vec(),
        _ => vec![goal.to_owned()],
    }
}

/// Replaces the verb among `words` by its present spelling, so old names work without `make` too.
#[must_use]
pub fn expand_old_name(mut words: Vec<String>) -> Vec<String> {
    let at = cli::verb_at(&words);
    if let Some(goal) = words.get(at) {
        let modern = modern(goal);
        words.splice(at..=at, modern);
    }
    words
}

/// Its arguments: anything, as make takes it.
pub fn arguments(command: Command) -> Command {
    command.arg(Arg::new("words").value_name("GOAL|VAR=value|-n|-jN").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true))
}

/// What make has been told by its own options, from `MAKEFLAGS`: a first word of letters, then `-jN` and the like.
fn make_flags(flags: &str) -> Vec<String> {
    let mut options = Vec::new();
    for (at, word) in flags.split_whitespace().take_while(|word| *word != "--").enumerate() {
        if at == 0 && !word.starts_with('-') && !word.contains('=') {
            if word.contains('n') {
                options.push("-n".to_owned());
            }
        } else if word.starts_with("-j") && word[2..].parse::<usize>().is_ok() {
            options.push(word.to_owned());
        }
    }
    options
}

/// `make`: runs each goal in turn, with `globals` (the words before `make`) and the assignments among `words` for all of them.
pub fn run(globals: &[String], words: &[String], environment: &Environment) -> Result<()> {
    let mut options = globals.to_vec();
    options.extend(environment.get("MAKEFLAGS").map_or_else(Vec::new, make_flags));
    let (mut goals, mut assignments) = (Vec::new(), Vec::new());
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-n" | "--just-print" | "--dry-run" => options.push("-n".to_owned()),
            "-s" | "--silent" | "-k" => {}
            "-j" => options.extend(words.next_if(|next| next.parse::<usize>().is_ok()).map(|jobs| format!("-j{jobs}"))),
            _ if word.starts_with('-') => options.push(word.clone()),
            _ if word.contains('=') => assignments.push(word.clone()),
            _ => goals.push(word.clone()),
        }
    }
    if goals.is_empty() {
        goals.push("help".to_owned());
    }
    for goal in goals {
        let line: Vec<String> = options.iter().cloned().chain(modern(&goal)).chain(assignments.iter().cloned()).collect();
        cli::run(&line, environment)?;
    }
    Ok(())
}

/// For verbs that are run without a tree: the table wants a function, and this one is not called.
pub fn never(_: &crate::context::Ctx, _: &ArgMatches) -> Result<()> {
    anyhow::bail!("this command runs without a tree")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_have_present_ones() {
        for (old, new) in [
            ("pkg/grub", "pkg grub"),
            ("eve-grub", "pkg grub"),
            ("grub-show-tag", "show-tag grub"),
            ("rootfs.tar", "rootfstar"),
            ("show-tag", "show-tag"),
            ("live-raw", "live-raw"),
        ] {
            assert_eq!(modern(old).join(" "), new);
        }
        let words = ["--root", "d", "-n", "run-live", "--tpm"].map(str::to_owned).to_vec();
        assert_eq!(expand_old_name(words).join(" "), "--root d -n run --tpm");
    }

    #[test]
    fn makes_own_flags_are_understood() {
        assert_eq!(make_flags("n -j4 --jobserver-auth=3,4 -- HV=xen"), ["-n", "-j4"]);
        assert_eq!(make_flags(" -j2"), ["-j2"]);
        assert!(make_flags("").is_empty());
    }
}
