//! Runs scripts: what each command is after its words are expanded, and which command is next.

use super::{
    GrubDisk, GrubRun, GrubStart, Loaded, Written,
    environment::Environment,
    script::{Command, Piece, Script, Word, parse},
};
use crate::event::ExpectedEvent;
use anyhow::{Context as _, Result, bail};
use std::{collections::BTreeMap, rc::Rc};

/// Commands of a run: a loop without end is an error.
const MOST_COMMANDS: usize = 20_000;
/// Bytes of all commands and configurations of a run: variables that double in a loop are an error, too.
const MOST_BYTES: usize = 16 << 20;
/// What a word of a command costs besides its letters.
const WORD: usize = 24;
/// How deep functions and configurations may be in each other.
const MOST_DEPTH: usize = 64;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next command follows; whether this one succeeded.
    Next(bool),
    /// The function ends, with this result.
    Return(bool),
    /// The loop ends.
    Break,
    /// The next round of the loop.
    Continue,
    /// GRUB ends.
    Exit,
    /// What is loaded is started.
    Boot,
}

/// An entry of the menu.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) title: String,
    pub(super) id: String,
    pub(super) block: String,
}

/// A running GRUB.
pub(super) struct Interpreter<'d> {
    pub(super) disk: &'d dyn GrubDisk,
    /// GRUB's name of the disk.
    pub(super) disk_name: String,
    pub(super) environment: Environment,
    functions: BTreeMap<String, Rc<Script>>,
    /// `$1`, `$2` … of the functions that run.
    pub(super) arguments: Vec<Vec<String>>,
    pub(super) entries: Vec<Entry>,
    pub(super) loaded: Option<Loaded>,
    pub(super) events: Vec<ExpectedEvent>,
    pub(super) written: Written,
    commands: usize,
    bytes: usize,
    depth: usize,
}

impl<'d> Interpreter<'d> {
    pub(super) fn new(disk: &'d dyn GrubDisk, start: &GrubStart, written: Written) -> Self {
        Self {
            disk,
            disk_name: start.disk.clone(),
            environment: Environment::new(start),
            functions: BTreeMap::new(),
            arguments: Vec::new(),
            entries: Vec::new(),
            loaded: None,
            events: Vec::new(),
            written,
            commands: 0,
            bytes: 0,
            depth: 0,
        }
    }

    pub(super) fn run(mut self, configuration: &str) -> Result<GrubRun> {
        let flow = self.configuration(configuration).context("the configuration inside of GRUB")?;
        let loaded = self.loaded.filter(|_| flow == Flow::Boot);
        Ok(GrubRun { events: self.events, loaded, written: self.written })
    }

    /// Runs a configuration with variables of its own, and its menu if it has one.
    pub(super) fn configuration(&mut self, text: &str) -> Result<Flow> {
        self.environment.open();
        let outer = std::mem::take(&mut self.entries);
        let mut flow = self.text(text)?;
        if matches!(flow, Flow::Next(_) | Flow::Return(_)) && !self.entries.is_empty() {
            flow = self.menu()?;
        }
        self.entries = outer;
        self.environment.close();
        Ok(flow)
    }

    /// Runs the default entry of the menu.
    fn menu(&mut self) -> Result<Flow> {
        let default = self.environment.get("default")?;
        let named = self.entries.iter().find(|entry| entry.id == default || entry.title == default);
        let entry = default.parse().ok().and_then(|number: usize| self.entries.get(number)).or(named).or(self.entries.first());
        let Some(entry) = entry.cloned() else { bail!("the menu is empty") };
        let quoted = entry.title.replace('\'', "'\\''");
        // GRUB runs an entry as a text whose first line tells its title.
        self.arguments.push(Vec::new());
        let flow = self.text(&format!("setparams '{quoted}'\n{}", entry.block)).with_context(|| format!("the entry `{}`", entry.title));
        self.arguments.pop();
        match flow? {
            // What is loaded is booted at the end of an entry.
            Flow::Next(_) if self.loaded.is_some() => Ok(Flow::Boot),
            flow @ (Flow::Exit | Flow::Boot) => Ok(flow),
            _ => bail!("the entry `{}` starts nothing, and GRUB waits for a person", entry.title),
        }
    }

    pub(super) fn text(&mut self, text: &str) -> Result<Flow> {
        self.count(text.len())?;
        let script = parse(text)?;
        self.script(&script)
    }

    /// Counts `bytes` before they are kept.
    fn count(&mut self, bytes: usize) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MOST_BYTES {
            bail!("its commands have more than {MOST_BYTES} bytes");
        }
        Ok(())
    }

    pub(super) fn script(&mut self, script: &Script) -> Result<Flow> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            bail!("more than {MOST_DEPTH} functions and configurations are in each other");
        }
        let mut last = Flow::Next(true);
        for command in script {
            last = self.command(command)?;
            if !matches!(last, Flow::Next(_)) {
                break;
            }
        }
        self.depth -= 1;
        Ok(last)
    }

    fn command(&mut self, command: &Command) -> Result<Flow> {
        self.commands += 1;
        if self.commands > MOST_COMMANDS {
            bail!("it does not end within {MOST_COMMANDS} commands");
        }
        match command {
            Command::Simple(words) => self.simple(words),
            Command::If(branches, otherwise) => {
                for (condition, body) in branches {
                    match self.script(condition)? {
                        Flow::Next(true) => return self.script(body),
                        Flow::Next(false) => {}
                        flow => return Ok(flow),
                    }
                }
                self.script(otherwise)
            }
            Command::For { name, words, body } => {
                let mut last = Flow::Next(true);
                for value in self.expand(words)? {
                    self.environment.set(name, &value);
                    last = self.script(body)?;
                    match last {
                        Flow::Next(_) | Flow::Continue => {}
                        Flow::Break => return Ok(Flow::Next(true)),
                        flow => return Ok(flow),
                    }
                }
                Ok(if last == Flow::Continue { Flow::Next(true) } else { last })
            }
            Command::While { condition, body, until } => self.repeat(condition, body, *until),
            Command::Function { name, body } => {
                self.functions.insert(name.clone(), Rc::new(body.clone()));
                Ok(Flow::Next(true))
            }
        }
    }

    fn repeat(&mut self, condition: &Script, body: &Script, until: bool) -> Result<Flow> {
        loop {
            match self.script(condition)? {
                Flow::Next(holds) if holds == until => return Ok(Flow::Next(true)),
                Flow::Next(_) => {}
                flow => return Ok(flow),
            }
            match self.script(body)? {
                Flow::Next(_) | Flow::Continue => {}
                Flow::Break => return Ok(Flow::Next(true)),
                flow => return Ok(flow),
            }
        }
    }

    fn simple(&mut self, words: &[Word]) -> Result<Flow> {
        let words = self.expand(words)?;
        let Some(name) = words.first() else { return Ok(Flow::Next(true)) };
        let line = words.join(" ");
        self.events.push(ExpectedEvent::loader(8, line.as_bytes(), format!("grub_cmd: {line}")));
        let (name, arguments, inverted) = match (name.as_str(), words.get(1)) {
            ("!", Some(name)) => (name, &words[2..], true),
            _ => (name, &words[1..], false),
        };
        let flow = match self.builtin(name, arguments)? {
            Some(flow) => flow,
            None => match self.functions.get(name).cloned() {
                Some(body) => {
                    self.arguments.push(arguments.to_vec());
                    let flow = self.script(&body);
                    self.arguments.pop();
                    match flow? {
                        Flow::Return(result) => Flow::Next(result),
                        flow => flow,
                    }
                }
                None => match name.split_once('=') {
                    Some((variable, value)) => {
                        self.environment.set(variable, value);
                        return Ok(Flow::Next(true));
                    }
                    None => bail!("the command `{name}` is not known here"),
                },
            },
        };
        Ok(match flow {
            Flow::Next(result) => Flow::Next(result != inverted),
            flow => flow,
        })
    }

    /// The words with their variables replaced.
    fn expand(&mut self, words: &[Word]) -> Result<Vec<String>> {
        let mut expanded: Vec<String> = Vec::new();
        for word in words {
            // A word without anything in it, not even quotes, is none.
            let mut current: Option<String> = None;
            self.count(WORD)?;
            for piece in word {
                match piece {
                    Piece::Text(text) => {
                        self.count(text.len())?;
                        if text.contains(['*', '?']) {
                            bail!("`{text}`: patterns for names of files are not known here");
                        }
                        current.get_or_insert_default().push_str(text);
                    }
                    Piece::Quoted(text) => {
                        self.count(text.len())?;
                        current.get_or_insert_default().push_str(text);
                    }
                    Piece::Block(text) => {
                        self.count(text.len())?;
                        *current.get_or_insert_default() += &format!("{{{text}}}");
                    }
                    Piece::Variable { name, quoted: true } => {
                        let value = self.value(name)?;
                        self.count(value.len())?;
                        current.get_or_insert_default().push_str(&value);
                    }
                    Piece::Variable { name, quoted: false } => {
                        let value = self.value(name)?;
                        self.count(value.len() + WORD * value.split_ascii_whitespace().count())?;
                        if value.contains(['*', '?', '\\']) {
                            bail!("`${name}` is `{value}`: patterns for names of files are not known here");
                        }
                        split(&value, &mut current, &mut expanded);
                    }
                }
            }
            expanded.extend(current);
        }
        Ok(expanded)
    }

    fn value(&self, name: &str) -> Result<String> {
        let arguments = self.arguments.last().map_or(&[][..], Vec::as_slice);
        match name {
            "#" => Ok(arguments.len().to_string()),
            "?" | "@" | "*" => bail!("`${name}` is not known here"),
            _ => match name.parse::<usize>() {
                Ok(number) => Ok(number.checked_sub(1).and_then(|at| arguments.get(at)).cloned().unwrap_or_default()),
                Err(_) => self.environment.get(name),
            },
        }
    }
}

/// Puts `value`, split at blanks, behind the word `current`; words that end go to `words`.
fn split(value: &str, current: &mut Option<String>, words: &mut Vec<String>) {
    let is_blank = |letter: char| letter.is_ascii_whitespace();
    if value.starts_with(is_blank) {
        words.extend(current.take());
    }
    for (index, part) in value.split(is_blank).filter(|part| !part.is_empty()).enumerate() {
        if index > 0 {
            words.extend(current.take());
        }
        current.get_or_insert_default().push_str(part);
    }
    if value.ends_with(is_blank) && current.is_some() {
        words.extend(current.take());
    }
}
