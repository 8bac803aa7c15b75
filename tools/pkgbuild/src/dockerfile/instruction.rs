//! The instructions of a Dockerfile, and their parser.

use super::{
    lines::{Heredoc, Logical},
    words::{json_array, name_values, split_words, take_flags},
};
use anyhow::{Context as _, Result, bail};

/// An instruction of a stage. Words are unexpanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Names and defaults.
    Arg(Vec<(String, Option<String>)>),
    /// Names and values.
    Env(Vec<(String, String)>),
    /// Names and values.
    Label(Vec<(String, String)>),
    /// Copies from the context, a stage or an image.
    Copy(Copy),
    /// Like `COPY`, but may fetch and unpack.
    Add(Copy),
    /// Working directory.
    Workdir(String),
    /// First part of the command line.
    Entrypoint(Command),
    /// Rest of the command line.
    Cmd(Command),
    /// Runs a command in the stage.
    Run(Run),
    /// Shell of later shell forms.
    Shell(Vec<String>),
    /// `user[:group]`.
    User(String),
    /// Ports.
    Expose(Vec<String>),
    /// Paths.
    Volume(Vec<String>),
    /// Stop signal.
    StopSignal(String),
    /// Parsed, but not supported by the builder.
    Healthcheck(String),
    /// Parsed, but not supported by the builder.
    Onbuild(String),
    /// Author; not part of the image configuration.
    Maintainer(String),
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A JSON array: executed without a shell.
    Exec(Vec<String>),
    /// Text for the shell.
    Shell(String),
}

/// A `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The command. Its text includes the `<<NAME` words of here-documents.
    pub command: Command,
    /// Parsed `--mount=` flags.
    pub mounts: Vec<MountFlag>,
    /// All other flags, such as `--network=`.
    pub flags: Vec<(String, Option<String>)>,
    /// Here-documents, in order.
    pub heredocs: Vec<Heredoc>,
}

/// A `--mount=`: `type=bind,target=/x,rw` as pairs, `rw` with an empty value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountFlag {
    /// Keys in lower case, in order.
    pub options: Vec<(String, String)>,
}

impl MountFlag {
    /// The value of the first given key of `keys`.
    #[must_use]
    pub fn get(&self, keys: &[&str]) -> Option<&str> {
        self.options.iter().find(|(key, _)| keys.contains(&key.as_str())).map(|(_, value)| value.as_str())
    }
}

/// A `COPY` or `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Source words, or `<<NAME` of a here-document.
    pub sources: Vec<String>,
    /// Destination path, unexpanded.
    pub destination: String,
    /// `--from=`.
    pub from: Option<String>,
    /// `--chmod=`.
    pub chmod: Option<String>,
    /// `--chown=`.
    pub chown: Option<String>,
    /// `--link`.
    pub link: bool,
    /// All other flags.
    pub flags: Vec<(String, Option<String>)>,
    /// Here-documents, in order.
    pub heredocs: Vec<Heredoc>,
}

pub(super) enum Parsed {
    From { base: String, platform: Option<String>, name: Option<String> },
    Other(Instruction),
}

pub(super) fn parse(line: &Logical, escape: char) -> Result<Parsed> {
    let rest = line.rest.as_str();
    if rest.is_empty() {
        bail!("{} needs an argument", line.keyword);
    }
    let one = || rest.to_owned();
    Ok(Parsed::Other(match line.keyword.as_str() {
        "FROM" => return parse_from(rest, escape),
        "ARG" => Instruction::Arg(parse_arg(rest, escape)?),
        "ENV" => Instruction::Env(name_values(rest, escape, "ENV")?),
        "LABEL" => Instruction::Label(name_values(rest, escape, "LABEL")?),
        "COPY" => Instruction::Copy(parse_copy(line, escape)?),
        "ADD" => Instruction::Add(parse_copy(line, escape)?),
        "WORKDIR" => Instruction::Workdir(one()),
        "ENTRYPOINT" => Instruction::Entrypoint(command(rest)),
        "CMD" => Instruction::Cmd(command(rest)),
        "RUN" => Instruction::Run(parse_run(line, escape)?),
        "SHELL" => match json_array(rest) {
            Some(shell) if !shell.is_empty() => Instruction::Shell(shell),
            _ => bail!("SHELL needs a JSON array such as [\"/bin/sh\", \"-c\"], not `{rest}`"),
        },
        "USER" => Instruction::User(one()),
        "EXPOSE" => Instruction::Expose(split_words(rest, escape)),
        "VOLUME" => Instruction::Volume(json_array(rest).unwrap_or_else(|| split_words(rest, escape))),
        "STOPSIGNAL" => Instruction::StopSignal(one()),
        "HEALTHCHECK" => Instruction::Healthcheck(one()),
        "ONBUILD" => Instruction::Onbuild(one()),
        "MAINTAINER" => Instruction::Maintainer(one()),
        other => bail!("`{other}` is not a Dockerfile instruction{}", did_you_mean(other)),
    }))
}

const KEYWORDS: [&str; 18] = [
    "FROM",
    "ARG",
    "ENV",
    "LABEL",
    "COPY",
    "ADD",
    "WORKDIR",
    "ENTRYPOINT",
    "CMD",
    "RUN",
    "SHELL",
    "USER",
    "EXPOSE",
    "VOLUME",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "ONBUILD",
    "MAINTAINER",
];

/// A hint with the keyword that differs from `word` in one letter.
fn did_you_mean(word: &str) -> String {
    let near = |a: &str, b: &str| {
        let front = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
        let back = a[front..].bytes().rev().zip(b[front..].bytes().rev()).take_while(|(x, y)| x == y).count();
        a.len().max(b.len()) - front - back <= 1
    };
    match KEYWORDS.iter().find(|keyword| word.is_ascii() && near(keyword, word)) {
        Some(keyword) => format!("\nhint: did you mean {keyword}?"),
        None => String::new(),
    }
}

fn parse_from(rest: &str, escape: char) -> Result<Parsed> {
    let (flags, rest) = take_flags(rest, escape);
    let mut platform = None;
    for (flag, value) in flags {
        match (flag.as_str(), value) {
            ("platform", Some(value)) => platform = Some(value),
            _ => bail!("FROM has no flag --{flag}"),
        }
    }
    let words = split_words(&rest, escape);
    let (base, name) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [base] => (base, None),
        [base, middle, name] if middle.eq_ignore_ascii_case("as") => (base, Some(name.to_lowercase())),
        _ => bail!("FROM needs IMAGE or IMAGE AS NAME, not `{rest}`"),
    };
    if let Some(name) = &name {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(good) {
            bail!("invalid stage name `{name}`: it must start with a letter; letters, digits, - _ . may follow");
        }
    }
    Ok(Parsed::From { base: base.to_owned(), platform, name })
}

fn parse_arg(rest: &str, escape: char) -> Result<Vec<(String, Option<String>)>> {
    let mut args = Vec::new();
    for word in split_words(rest, escape) {
        let (name, default) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
        if name.is_empty() {
            bail!("ARG: `{word}` has no name before `=`");
        }
        args.push((name.to_owned(), default));
    }
    Ok(args)
}

fn command(rest: &str) -> Command {
    json_array(rest).map_or_else(|| Command::Shell(rest.to_owned()), Command::Exec)
}

fn parse_run(line: &Logical, escape: char) -> Result<Run> {
    let (flags, rest) = take_flags(&line.rest, escape);
    let mut run = Run { command: command(&rest), mounts: Vec::new(), flags: Vec::new(), heredocs: line.heredocs.clone() };
    for (flag, value) in flags {
        match (flag.as_str(), value) {
            ("mount", Some(value)) => run.mounts.push(parse_mount(&value)),
            (_, value) => run.flags.push((flag, value)),
        }
    }
    if rest.is_empty() {
        bail!("RUN needs a command");
    }
    Ok(run)
}

fn parse_mount(value: &str) -> MountFlag {
    let pair = |option: &str| {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        (key.trim().to_lowercase(), value.to_owned())
    };
    MountFlag { options: value.split(',').filter(|option| !option.is_empty()).map(pair).collect() }
}

fn parse_copy(line: &Logical, escape: char) -> Result<Copy> {
    let (flags, rest) = take_flags(&line.rest, escape);
    let mut words = json_array(&rest).unwrap_or_else(|| split_words(&rest, escape));
    let destination = words.pop().with_context(|| format!("{} needs a source and a destination", line.keyword))?;
    if words.is_empty() {
        bail!("{} {destination} needs a source and a destination", line.keyword);
    }
    let (from, chmod, chown, flags_left) = (None, None, None, Vec::new());
    let heredocs = line.heredocs.clone();
    let mut copy = Copy { sources: words, destination, from, chmod, chown, link: false, flags: flags_left, heredocs };
    for (flag, value) in flags {
        match (flag.as_str(), value) {
            ("from", Some(value)) if line.keyword == "COPY" => copy.from = Some(value),
            ("chmod", Some(value)) => copy.chmod = Some(value),
            ("chown", Some(value)) => copy.chown = Some(value),
            ("link", None) => copy.link = true,
            ("link", Some(value)) if value == "true" || value == "false" => copy.link = value == "true",
            (_, value) => copy.flags.push((flag, value)),
        }
    }
    Ok(copy)
}
