//! The command line: global options, a verb, the verb's arguments, and knobs as flags or `VAR=value` words.

use crate::{commands, commands::Verb, commands::verbs};
use anyhow::{Context as _, Result};
use checkout::{context::Ctx, context::Globals};
use child::{Tools, environment::Environment};
use clap::{Arg, ArgAction, ArgMatches, Command};
use common::{error::did_you_mean, error::usage};
use knobs::{Knobs, RawKnobs, Source, table::Kind, table::TABLE};
use plan::{EngineKind, Profile};
use std::path::{Path, PathBuf};

/// What a person types to start us.
const NAME: &str = "cargo xtask";

/// Options of all commands, which stand before them.
const GLOBAL: &[&str] = &["--root", "--engine", "--dry-run", "--offline", "--locked", "--verbose", "--json", "-n", "-v", "-j"];

/// Those of them that take no value.
const SWITCHES: &[&str] = &["--dry-run", "--offline", "--locked", "--verbose", "--json"];

/// Parses `words` (without the program's name) and runs the verb.
pub fn run(words: &[String], environment: &Environment) -> Result<()> {
    if let Some(at) = words.iter().position(|word| word == "make").filter(|at| verb_at(words) == *at) {
        return commands::make::run(&words[..at], &words[at + 1..], environment);
    }
    let (assignments, words) = split_assignments(words);
    let words = commands::make::expand_old_name(globals_first(asks_for_help(words)));
    let wanted = words.get(verb_at(&words)).cloned();
    let matches = match command(wanted.as_deref()).try_get_matches_from(std::iter::once(NAME.to_owned()).chain(words)) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            print!("{}", error.render());
            return Ok(());
        }
        Err(error) => return Err(refusal(&error)),
    };
    let (name, arguments) = matches.subcommand().context("clap asks for a verb")?;
    let verb = verbs().find(|verb| verb.name == name).context("clap knows the same verbs")?;
    if let Some(run) = verb.without_tree {
        return run(arguments, environment);
    }
    let ctx = context(&matches, arguments, verb, &assignments, environment)?;
    (verb.run)(&ctx, arguments)
}

/// Options without a value are understood behind the verb too, unless it has one of that name; and `-j` alone before it.
fn globals_first(mut words: Vec<String>) -> Vec<String> {
    let at = verb_at(&words);
    for index in 0..at.min(words.len()) {
        let alone = words.get(index + 1).is_none_or(|next| next.parse::<usize>().is_err());
        if words[index] == "-j" && alone {
            words[index] = "-j0".to_owned();
        }
    }
    let Some(verb) = words.get(at).and_then(|word| verbs().find(|verb| verb.name == *word)) else { return words };
    let command = (verb.arguments)(Command::new(verb.name));
    let has = |option: &str| command.get_arguments().any(|arg| arg.get_long() == Some(option.trim_start_matches('-')));
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let late = |(index, word): (usize, &String)| index > at && index < end && SWITCHES.contains(&word.as_str()) && !has(word);
    let (moved, rest): (Vec<_>, Vec<_>) =
        words.iter().enumerate().map(|(index, word)| (late((index, word)), word.clone())).partition(|(late, _)| *late);
    moved.into_iter().chain(rest).map(|(_, word)| word).collect()
}

/// `help`, `help VERB` and no word at all ask for help as `--help` does.
fn asks_for_help(words: Vec<String>) -> Vec<String> {
    let help = || "--help".to_owned();
    match words.as_slice() {
        [] => vec![help()],
        [help_verb, verb, ..] if help_verb == "help" => vec![verb.clone(), help()],
        _ => words,
    }
}

/// All verbs with their headings, for the help.
fn families() -> String {
    let mut text = String::new();
    for (heading, verbs) in commands::FAMILIES {
        text.push_str(&format!("{heading}:\n"));
        for verb in *verbs {
            text.push_str(&format!("  {:<28} {}\n", verb.name, verb.about));
        }
        text.push('\n');
    }
    text + "`cargo xtask VERB --help` tells more of one; knobs follow the verb, as flags or as VAR=value (`cargo xtask summary`)."
}

/// Where the verb stands: after the global options and their values.
#[must_use]
pub fn verb_at(words: &[String]) -> usize {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let takes_value = matches!(word.as_str(), "--root" | "--engine")
            || word == "-j" && words.get(at + 1).is_some_and(|next| next.parse::<usize>().is_ok());
        match word.starts_with('-') {
            true if takes_value => at += 2,
            true => at += 1,
            false => break,
        }
    }
    at
}

/// Whether the tree that `options` (the words before a verb) choose is another than this repository, and is built by other engines.
#[must_use]
pub fn is_foreign(options: &[String], environment: &Environment) -> bool {
    let named = options.iter().position(|word| word == "--root").and_then(|at| options.get(at + 1).map(String::as_str));
    let named = named.or_else(|| options.iter().find_map(|word| word.strip_prefix("--root=")));
    let profile = root(named.map(Path::new), environment).and_then(|root| checkout::read_profile(&root));
    profile.is_ok_and(|profile| profile.packages.published)
}

/// A verb's words without `VAR=value`, which may stand anywhere after the verb as they may after `make`.
fn split_assignments(words: &[String]) -> (Vec<(String, String)>, Vec<String>) {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let (mut assignments, mut rest) = (Vec::<(String, String)>::new(), Vec::<String>::new());
    for word in words {
        // Behind an option, only a knob's name is one: `--until A=b` is a text.
        let is_value = rest.last().is_some_and(|before| before.starts_with("--") && !before.contains('='));
        match word.split_once('=') {
            Some((name, value)) if is_name(name) && (!is_value || knobs::table::find(name).is_some()) => {
                assignments.push((name.to_owned(), value.to_owned()))
            }
            _ => rest.push(word.clone()),
        }
    }
    (assignments, rest)
}

fn refusal(error: &clap::Error) -> anyhow::Error {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
    {
        let names = verbs().map(|verb| verb.name).chain(commands::make::old_names());
        let hint = did_you_mean(word, names)
            .map_or_else(|| "`cargo xtask help` lists what there is".to_owned(), |near| format!("did you mean `{near}`?"));
        return usage(format!("there is no target or command `{word}`\nhint: {hint}"));
    }
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
        && let Some(option) = GLOBAL.iter().find(|option| word.split('=').next() == Some(**option))
    {
        let value = match *option {
            "--root" => " DIR",
            "--engine" => " linuxkit",
            _ => "",
        };
        return usage(format!("`{option}` stands before the command\nhint: {NAME} {option}{value} live, for example"));
    }
    let text = error.render().to_string();
    usage(text.trim_start_matches("error: ").trim_end().to_owned())
}

/// The command line, for parsing and help. Only `wanted` among the verbs gets its knobs, for there are many of both.
#[must_use]
pub fn command(wanted: Option<&str>) -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    // A verb that is known needs no others beside it: building them all takes longer than many a verb does.
    let known = verbs().any(|verb| wanted == Some(verb.name));
    let mut command = Command::new(NAME)
        .about("Builds EVE: packages, root file systems, disk images; and runs them")
        .help_template("{about-with-newline}\n{usage-heading} {usage}\n\nOptions, before the verb:\n{options}{after-help}\n")
        .override_usage("cargo xtask [OPTIONS] VERB [ARGUMENTS]")
        .term_width(0)
        .after_help(if known { String::new() } else { families() })
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .arg(Arg::new("root").long("root").value_name("DIR").help("build the tree in DIR instead of this one"))
        .arg(
            Arg::new("engine")
                .long("engine")
                .value_name("ENGINE")
                .value_parser(["native", "linuxkit"])
                .help("who makes things; the tree says when this does not"),
        )
        .arg(flag("dry-run", "print the plan and why each step is due; make nothing").short('n'))
        .arg(flag("offline", "never ask the network"))
        .arg(flag("locked", "fail when a pinned package has left the mirror"))
        .arg(
            Arg::new("jobs")
                .short('j')
                .value_name("N")
                .num_args(0..=1)
                .default_missing_value("0")
                .value_parser(clap::value_parser!(usize))
                .help("steps at once; the number of processors when unset"),
        )
        .arg(flag("verbose", "show the tools' output").short('v'))
        .arg(flag("json", "print data for programs, where a command has data to give"));
    for verb in verbs().filter(|verb| !known || wanted == Some(verb.name)) {
        let knobs = wanted == Some(verb.name) && verb.name != "make" && verb.without_tree.is_none();
        let sub = (verb.arguments)(Command::new(verb.name).about(verb.about));
        command = command.subcommand(if knobs { with_knobs(sub, verb) } else { sub });
    }
    command
}

/// Adds every knob as a flag; help shows those that the verb is known to heed.
fn with_knobs(mut command: Command, verb: &Verb) -> Command {
    for decl in TABLE {
        // A word of the verb's own goes before a knob's.
        if command.get_arguments().any(|arg| arg.get_long() == Some(decl.flag)) {
            continue;
        }
        let shown = verb.builds && decl.verbs.is_empty() || decl.verbs.contains(&verb.name);
        let default = if decl.default.is_empty() { String::new() } else { format!(" [default: {}]", decl.default) };
        let words = if let Kind::Choice(words) = decl.kind { format!(" [{}]", words.join(", ")) } else { String::new() };
        let mut arg = Arg::new(decl.name)
            .long(decl.flag)
            .help(format!("{}{words}{default} [{}=]", decl.help, decl.name))
            .hide(!shown)
            .help_heading("Knobs")
            .value_name(match decl.kind {
                Kind::Number { .. } => "N",
                Kind::Path => "PATH",
                Kind::Switch => "y|n",
                Kind::Text | Kind::Secret => "TEXT",
                Kind::Choice(_) => "WORD",
            });
        if matches!(decl.kind, Kind::Switch) {
            // `--tpm` alone means yes; `--tpm=n` takes it back.
            arg = arg.num_args(0..=1).require_equals(true).default_missing_value("y");
        }
        command = command.arg(arg);
    }
    command
}

fn context(
    globals: &ArgMatches,
    arguments: &ArgMatches,
    verb: &Verb,
    assignments: &[(String, String)],
    environment: &Environment,
) -> Result<Ctx> {
    let root = root(globals.get_one::<String>("root").map(Path::new), environment)?;
    let profile = checkout::read_profile(&root)?;
    let mut raw = RawKnobs::default();
    for (name, value) in verb.sets {
        raw.set(name, value, Source::Target)?;
    }
    for decl in TABLE {
        if let Ok(Some(value)) = arguments.try_get_one::<String>(decl.name) {
            raw.set(decl.name, value, Source::Command)?;
        }
    }
    for (name, value) in assignments {
        raw.set(name, value, Source::Command)?;
    }
    raw.set_from_environment(&|name| environment.get_raw(name))?;
    let hv = raw.text("HV").to_owned();
    for (name, value) in &profile.knobs {
        if let Some(value) = value.to_text(&hv) {
            raw.set(name, &value, Source::File).map_err(|error| usage(format!("[knobs] in {}: {error:#}", plan::PROFILE)))?;
        }
    }
    let knobs = Knobs::resolve(&raw, &root)?;
    check_hypervisor(&knobs.hv, knobs.source("HV"), &profile)?;
    check_platform(&knobs.platform, &profile)?;
    let engine = match globals.get_one::<String>("engine").unwrap_or(&profile.tree.engine).as_str() {
        "linuxkit" => EngineKind::Linuxkit,
        _ => EngineKind::Native,
    };
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Ctx {
        engine,
        globals: Globals {
            dry_run: globals.get_flag("dry-run"),
            offline: globals.get_flag("offline"),
            locked: globals.get_flag("locked"),
            json: globals.get_flag("json"),
            jobs: globals.get_one::<usize>("jobs").copied().filter(|jobs| *jobs > 0).unwrap_or_else(processors),
            verbose: globals.get_flag("verbose"),
        },
        tools: tools(engine, &knobs, &root, environment),
        knobs,
        profile,
        environment: environment.clone(),
        root,
    })
}

/// Where the tools are. The linuxkit engine prefers the linuxkit that `build-tools` installed, and leaves docker and its like all
/// settings that a person has in the environment, but for knobs, which they get from us or not at all.
fn tools(engine: EngineKind, knobs: &Knobs, root: &Path, environment: &Environment) -> Tools {
    let is_knob = |name: &str| knobs::table::find(name).is_some_and(|decl| !decl.name.ends_with("_PROXY"));
    let variables = environment.all().map(|(name, value)| (name.into(), value.into()));
    let tools = Tools::new(variables, engine == EngineKind::Linuxkit, &is_knob);
    let linuxkit = root.join("build-tools/bin/linuxkit");
    let tools = if linuxkit.is_file() { tools.prefer(child::Tool::Linuxkit, linuxkit) } else { tools };
    match knobs.text("DOCKER") {
        "docker" => tools,
        other => tools.prefer(child::Tool::Docker, other),
    }
}

/// HV is one of the tree's.
fn check_hypervisor(hv: &str, source: Source, profile: &Profile) -> Result<()> {
    let known = &profile.tree.hypervisors;
    if known.iter().any(|known| known == hv) {
        return Ok(());
    }
    let near = did_you_mean(hv, known.iter().map(String::as_str)).map_or_else(String::new, |near| format!("; did you mean {near}?"));
    Err(usage(format!("HV={hv} ({source}): {} takes {}{near}\nhint: --hv … or HV=…", profile.tree.name, known.join(", "))))
}

/// PLATFORM is nothing in a tree that has neither platforms nor boards.
fn check_platform(platform: &str, profile: &Profile) -> Result<()> {
    let has_some = profile.tree.platforms || profile.parts.contains_key("bsp-imx");
    if has_some || platform == "generic" {
        return Ok(());
    }
    Err(usage(format!(
        "PLATFORM={platform}: {} has no platforms but generic\nhint: lf-edge/eve has some: --root DIR names a checkout",
        profile.tree.name
    )))
}

/// The tree: the one that was named, else the first folder upwards from here with a profile, else the workspace.
fn root(named: Option<&Path>, environment: &Environment) -> Result<PathBuf> {
    if let Some(named) = named {
        return named.canonicalize().map_err(|error| usage(format!("--root {}: {error}", named.display())));
    }
    let here = std::env::current_dir().context("there is no current folder")?;
    let above = here.ancestors().find(|folder| checkout::is_tree(folder)).map(Path::to_owned);
    above.or_else(|| environment.workspace()).ok_or_else(|| {
        usage(format!(
            "no tree here: neither `{}` nor a folder above it has an {}\nhint: --root DIR names one",
            here.display(),
            plan::PROFILE
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        for verb in verbs() {
            command(Some(verb.name)).debug_assert();
        }
    }

    #[test]
    fn assignments_are_told_from_words() {
        let words = ["pkg", "HV=xen", "--until=x", "a=b", "A_1=2 3"].map(str::to_owned);
        let (assignments, rest) = split_assignments(&words);
        assert_eq!(assignments, [("HV".to_owned(), "xen".to_owned()), ("A_1".to_owned(), "2 3".to_owned())]);
        assert_eq!(rest, ["pkg", "--until=x", "a=b"]);
    }
}
