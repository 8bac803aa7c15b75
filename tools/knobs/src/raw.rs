//! The values that a person set, as text with their sources, and how they are passed to clap.

use crate::{
    kinds::{SECRET, SWITCH, value_name},
    known::{Knob, all, find, is_knob},
};
use anyhow::Result;
use clap::{
    Arg, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};
use common::error::{did_you_mean, usage};
use std::{error::Error as _, fmt};

/// The file with a person's own knobs, in the root of a tree.
pub const LOCAL: &str = "xtask.local.toml";

/// Switches whose variables other programs read too, with values of their own: `DEBUG=app:*`, `V=sc`.
const SHARED: [&str; 2] = ["DEBUG", "V"];

/// The source of a knob's value, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The name of the target: `live-gcp`.
    Target,
    /// A flag or a `VAR=value` word.
    Command,
    /// The environment.
    Environment,
    /// `xtask.local.toml`, at this line.
    Local(usize),
    /// `xtask.toml` or the tree's profile.
    File,
    /// Not set.
    Default,
}

impl Source {
    /// Its place in the order of precedence; 0 is the strongest.
    #[must_use]
    pub fn rank(self) -> u8 {
        match self {
            Self::Target => 0,
            Self::Command => 1,
            Self::Environment => 2,
            Self::Local(_) => 3,
            Self::File => 4,
            Self::Default => 5,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Target => "target's name",
            Self::Command => "command line",
            Self::Environment => "environment",
            Self::Local(line) => return write!(f, "{LOCAL}, line {line}"),
            Self::File => "xtask.toml",
            Self::Default => "default",
        })
    }
}

impl serde::Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Target => "target",
            Self::Command => "command",
            Self::Environment => "environment",
            Self::Local(_) => "local",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// A knob's value and its source, for printing: the value of a secret is `(hidden)`, that of an unset knob is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The knob's name, not an alias.
    pub name: String,
    /// The value; `y` or `n` for a switch.
    pub value: String,
    /// Its source.
    pub source: Source,
}

/// The values that were set, by the knobs' names, as unchecked text.
#[derive(Clone, Debug, Default)]
pub struct RawKnobs(Vec<Origin>);

/// The knob of this name, alias or flag; fails if there is none.
pub fn named(name: &str) -> Result<&'static Knob> {
    find(name).ok_or_else(|| {
        let hint = did_you_mean(name, all().iter().map(|knob| knob.name.as_str()))
            .map_or_else(|| "`cargo xtask summary` lists the knobs".to_owned(), |near| format!("did you mean {near}?"));
        usage(format!("there is no knob {name}\nhint: {hint}"))
    })
}

impl RawKnobs {
    /// Sets a knob by any of its names. The first source wins, so set in order of precedence. Two different values from one source are an
    /// error.
    pub fn set(&mut self, name: &str, value: &str, source: Source) -> Result<()> {
        let knob = named(name)?;
        // An empty value means unset, so it does not contradict another value from the same source.
        match self.0.iter_mut().find(|origin| origin.name == knob.name) {
            Some(old) if old.source.rank() == source.rank() && old.value.is_empty() => {
                value.clone_into(&mut old.value);
                Ok(())
            }
            Some(old) if old.source.rank() == source.rank() && !value.is_empty() && !knob.is_same(&old.value, value) => {
                Err(two_values(&knob.name, &old.value, value, source))
            }
            Some(_) => Ok(()),
            None => {
                self.0.push(Origin { name: knob.name.clone(), value: value.to_owned(), source });
                Ok(())
            }
        }
    }

    /// Sets every knob that `lookup` returns, the environment of the process or of a test. Returns the variables that were left out: those
    /// that other programs read too, with a value that is meant for these.
    pub fn set_from_environment(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Vec<&'static str>> {
        let mut left_out = Vec::new();
        for name in all().iter().flat_map(|knob| knob.names()) {
            let Some(value) = lookup(name) else { continue };
            if SHARED.contains(&name) && !value.is_empty() && crate::parse::switch(&value).is_err() {
                left_out.push(name);
                continue;
            }
            self.set(name, &value, Source::Environment)?;
        }
        Ok(left_out)
    }

    /// The hypervisor that was set, if any.
    #[must_use]
    pub fn hypervisor(&self) -> Option<&str> {
        self.get("HV").map(|hv| hv.value.as_str()).filter(|hv| !hv.is_empty())
    }

    /// The value that was set for the knob `name`, which is not an alias.
    fn get(&self, name: &str) -> Option<&Origin> {
        self.0.iter().find(|origin| origin.name == name)
    }

    /// All values that were set.
    pub fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter()
    }

    /// Turns the set values into the defaults of `command`'s knobs. An empty text means unset, as in make; an empty switch on the command
    /// line means off.
    #[must_use]
    pub fn inject(&self, mut command: Command) -> Command {
        let set: Vec<(clap::Id, String)> =
            command.get_arguments().filter_map(|arg| Some((arg.get_id().clone(), self.value_for(arg)?))).collect();
        for (id, value) in set {
            command = command.mut_arg(id, |arg| arg.default_value(value));
        }
        command
    }

    fn value_for(&self, arg: &Arg) -> Option<String> {
        let origin = self.get(arg.get_id().as_str())?;
        let is_off = value_name(arg) == SWITCH && origin.source == Source::Command;
        match origin.value.as_str() {
            "" if is_off => Some("n".to_owned()),
            "" => None,
            value => Some(value.to_owned()),
        }
    }
}

/// Whether a value must be hidden: a URI may contain a password.
fn is_secret(kind: &str, value: &str) -> bool {
    kind == SECRET || value.contains("://") && value.contains('@')
}

fn two_values(name: &str, old: &str, new: &str, source: Source) -> anyhow::Error {
    let kind = find(name).map_or("", |knob| if knob.values.contains("never printed") { SECRET } else { "" });
    let values = match is_secret(kind, old) || is_secret(kind, new) {
        true => "two values".to_owned(),
        false => format!("`{old}` and to `{new}`"),
    };
    usage(format!("{name} is set to {values} by the {source}"))
}

/// The value and source of each of `command`'s knobs.
pub fn origins(command: &Command, matches: &ArgMatches, raw: &RawKnobs) -> Result<Vec<Origin>> {
    command.get_arguments().filter(|arg| is_knob(arg)).map(|arg| origin(arg, matches, raw)).collect()
}

fn origin(arg: &Arg, matches: &ArgMatches, raw: &RawKnobs) -> Result<Origin> {
    let (name, kind) = (arg.get_id().as_str(), value_name(arg));
    let typed = matches.get_raw(name).and_then(|mut values| values.next()).map(|value| value.to_string_lossy().into_owned());
    let mut value = typed.unwrap_or_default();
    let set = raw.get(name).filter(|set| !set.value.is_empty() || set.source == Source::Command);
    let source = match (matches.value_source(name), set) {
        (Some(ValueSource::CommandLine), Some(set))
            if set.source == Source::Command
                && !set.value.is_empty()
                && find(name).is_none_or(|knob| !knob.is_same(&set.value, &value)) =>
        {
            return Err(two_values(name, &value, &set.value, Source::Command));
        }
        (Some(ValueSource::CommandLine), _) => Source::Command,
        (_, Some(set)) => set.source,
        (_, None) => Source::Default,
    };
    if kind == SWITCH && !value.is_empty() {
        value = if crate::parse::force(&value).unwrap_or(false) { "y" } else { "n" }.to_owned();
    }
    if is_secret(&kind, &value) && !value.is_empty() {
        "(hidden)".clone_into(&mut value);
    }
    Ok(Origin { name: name.to_owned(), value, source })
}

/// Rewrites clap's error about a value: the knob or option, its value and source, the allowed values, and what to type.
#[must_use]
pub fn refuse(error: &clap::Error, command: &Command, raw: &RawKnobs) -> anyhow::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let (typed, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    let flag = typed.split([' ', '=', '[']).next().unwrap_or_default().trim_start_matches("--");
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(flag));
    let takes = match error.kind() {
        ErrorKind::ValueValidation => error.source().map(ToString::to_string),
        ErrorKind::InvalidValue => match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(words)) if !words.is_empty() => Some(format!("takes {}", words.join(", "))),
            _ => None,
        },
        _ => None,
    };
    let place = command.get_positionals().find(|arg| value_name(arg) == typed.trim_matches(['<', '>', '[', ']', '.']));
    if let (Some(place), Some(takes)) = (place, &takes) {
        let words: Vec<String> = place.get_possible_values().iter().map(|word| word.get_name().to_owned()).collect();
        let near = did_you_mean(&value, words.iter().map(String::as_str)).or(words.first().map(String::as_str));
        let hint = near.map_or_else(String::new, |near| format!("\nhint: {near}"));
        return usage(format!("{} `{value}`: {takes}{hint}", value_name(place)));
    }
    let Some((arg, takes)) = arg.zip(takes) else { return usage(plain(error)) };
    let words: Vec<String> = arg.get_possible_values().iter().map(|word| word.get_name().to_owned()).collect();
    let near = did_you_mean(&value, words.iter().map(String::as_str));
    let example = near.map(str::to_owned).or_else(|| words.first().cloned()).or_else(|| match value_name(arg).as_str() {
        SWITCH => Some("y".to_owned()),
        _ => find(arg.get_id().as_str()).map(|knob| knob.default.clone()).filter(|default| !default.is_empty()),
    });
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
    let joint = if value_name(arg) == SWITCH { "=" } else { " " };
    let name = arg.get_id().as_str();
    match is_knob(arg) {
        true => {
            let source = raw.get(name).filter(|set| set.value == value).map_or(Source::Command, |set| set.source);
            let hint = example.map_or_else(String::new, |example| format!("\nhint: --{flag}{joint}{example} or {name}={example}"));
            usage(format!("{name}={value} ({source}): {takes}{near}{hint}"))
        }
        false => {
            let hint = example.map_or_else(String::new, |example| format!("\nhint: --{flag}{joint}{example}"));
            usage(format!("--{flag} {value}: {takes}{near}{hint}"))
        }
    }
}

/// Any other error of clap: its sentence, with its tips as hints.
fn plain(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut sentence = Vec::new();
    for line in text.trim_start_matches("error: ").lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("tip: ") {
            Some(tip) => sentence.push(format!("hint: {tip}")),
            None if line.starts_with("Usage:") && error.kind() == ErrorKind::ArgumentConflict => {
                sentence.push("hint: leave one of them away".to_owned());
            }
            None if line.starts_with("Usage:") => sentence.push(format!("hint: {}", line.trim_start_matches("Usage:").trim())),
            None if line.starts_with("For more information") => {}
            None => sentence.push(line.to_owned()),
        }
    }
    sentence.join("\n")
}
