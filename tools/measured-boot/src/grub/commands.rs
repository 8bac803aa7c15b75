//! GRUB's commands, as far as configurations of ours use them: what they change, and which files they read.

use super::{
    Loaded, condition,
    interpreter::{Entry, Flow, Interpreter},
};
use crate::event::ExpectedEvent;
use anyhow::{Context as _, Result, bail};
use regex::Regex;

/// What every block of environment begins with.
const BLOCK: &str = "# GRUB Environment Block\n";

impl Interpreter<'_> {
    /// Runs the command `name` of GRUB; none if GRUB has none of this name that is known here.
    pub(super) fn builtin(&mut self, name: &str, args: &[String]) -> Result<Option<Flow>> {
        let first = args.first().map(String::as_str);
        let done = |result| Ok(Some(Flow::Next(result)));
        match name {
            "true" | "echo" | "sleep" | "serial" | "terminal_input" | "terminal_output" => done(true),
            "false" => done(false),
            "set" => match first.and_then(|word| word.split_once('=')) {
                Some((name, value)) => {
                    self.environment.set(name, value);
                    done(true)
                }
                None => bail!("`set` without a value is not known here"),
            },
            "unset" => {
                args.iter().for_each(|name| self.environment.unset(name));
                done(true)
            }
            "export" => {
                args.iter().for_each(|name| self.environment.export(name));
                done(true)
            }
            "[" | "test" => {
                let args = if name == "[" { args.strip_suffix(&["]".to_owned()]).context("`[` without `]`")? } else { args };
                done(condition::holds(args, &|path| self.has(path))?)
            }
            "return" => Ok(Some(Flow::Return(first.is_none_or(|word| word == "0")))),
            "break" if first.is_none() => Ok(Some(Flow::Break)),
            "continue" if first.is_none() => Ok(Some(Flow::Continue)),
            "exit" | "reboot" | "halt" => Ok(Some(Flow::Exit)),
            "setparams" => {
                if let Some(arguments) = self.arguments.last_mut() {
                    *arguments = args.to_vec();
                }
                done(true)
            }
            "regexp" => done(self.regexp(args)?),
            "probe" => done(self.probe(args)?),
            "load_env" => done(self.load_env(args)?),
            "save_env" => done(self.save_env(args)?),
            "source" | "." | "configfile" => self.read_configuration(name, args).map(Some),
            "menuentry" => {
                self.entries.push(entry(args)?);
                done(true)
            }
            "chainloader" | "linux" | "linuxefi" | "initrd" | "initrdefi" => done(self.load(name, args)?),
            "boot" => Ok(Some(if self.loaded.is_some() { Flow::Boot } else { Flow::Next(false) })),
            _ => Ok(None),
        }
    }

    fn read_configuration(&mut self, name: &str, args: &[String]) -> Result<Flow> {
        let [path] = args else { bail!("`{name}` with {} files is not known here", args.len()) };
        let Some(bytes) = self.measured(path)? else { return Ok(Flow::Next(false)) };
        let text = String::from_utf8(bytes).ok().with_context(|| format!("`{path}` is not UTF-8"))?;
        let flow = if name == "configfile" { self.configuration(&text) } else { self.text(&text) };
        Ok(match flow.with_context(|| format!("in `{path}`"))? {
            Flow::Return(result) => Flow::Next(result),
            flow => flow,
        })
    }

    /// The partition and the path that `path` means.
    fn place<'p>(&self, path: &'p str) -> Result<(u32, &'p str)> {
        let root = self.environment.get("root")?;
        let (device, path) = match path.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            Some((device, path)) => (device, path),
            None => (root.as_str(), path),
        };
        Ok((self.partition(device)?, path.trim_start_matches('/')))
    }

    /// The number of the partition that GRUB calls `device`.
    fn partition(&self, device: &str) -> Result<u32> {
        let number = device.strip_prefix(&self.disk_name).and_then(|rest| rest.strip_prefix(",gpt"));
        match number.map(str::parse) {
            Some(Ok(number)) => Ok(number),
            _ => bail!("`({device})` is no partition of the disk `{}`", self.disk_name),
        }
    }

    /// Whether there is a file at `path`.
    fn has(&self, path: &str) -> Result<bool> {
        let (partition, path) = self.place(path)?;
        Ok(self.written.contains_key(&(partition, path.to_owned())) || self.disk.has(partition, path)?)
    }

    /// The content of a file.
    fn file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let (partition, path) = self.place(path)?;
        match self.written.get(&(partition, path.to_owned())) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => self.disk.read(partition, path).with_context(|| format!("cannot read `{path}` as GRUB does")),
        }
    }

    /// The content of a file that GRUB measures as it reads it.
    fn measured(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        let bytes = self.file(path)?;
        if let Some(bytes) = &bytes {
            self.events.push(ExpectedEvent::loader(9, bytes, path));
        }
        Ok(bytes)
    }

    fn regexp(&mut self, args: &[String]) -> Result<bool> {
        let (mut sets, mut words) = (Vec::new(), Vec::new());
        for arg in args {
            match arg.strip_prefix("--set=") {
                Some(set) => sets.push(set.split_once(':').unwrap_or(("1", set))),
                None if arg.starts_with("--") => bail!("`regexp {arg}` is not known here"),
                None => words.push(arg.as_str()),
            }
        }
        let [pattern, text] = words[..] else { bail!("`regexp` with {} words is not known here", words.len()) };
        let pattern = Regex::new(pattern).with_context(|| format!("the pattern `{pattern}` is not read here"))?;
        let Some(found) = pattern.captures(text) else { return Ok(false) };
        for (number, name) in sets {
            let number: usize = number.parse().with_context(|| format!("`regexp --set={number}:{name}`"))?;
            self.environment.set(name, found.get(number).map_or("", |part| part.as_str()));
        }
        Ok(true)
    }

    fn probe(&mut self, args: &[String]) -> Result<bool> {
        let [set, what, device] = args else { bail!("`probe {}` is not known here", args.join(" ")) };
        let Some(name) = set.strip_prefix("--set=") else { bail!("`probe {set}` is not known here") };
        let device = device.strip_prefix('(').and_then(|device| device.strip_suffix(')')).unwrap_or(device);
        let number = self.partition(device)?;
        let value = match what.as_str() {
            "--part-uuid" => self.disk.partition_guid(number),
            "--fs" => self.disk.file_system(number)?.map(str::to_owned),
            _ => bail!("`probe {what}` is not known here"),
        };
        if let Some(value) = &value {
            self.environment.set(name, value);
        }
        Ok(value.is_some())
    }

    fn load_env(&mut self, args: &[String]) -> Result<bool> {
        let [skip, file, path, names @ ..] = args else { bail!("`load_env {}` is not known here", args.join(" ")) };
        if skip != "--skip-sig" || file != "--file" {
            bail!("`load_env` without `--skip-sig --file` is not known here");
        }
        let text = self.file(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let Some(lines) = text.as_deref().and_then(|text| text.strip_prefix(BLOCK)) else { return Ok(false) };
        for line in lines.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.split_once('=') else { continue };
            if names.is_empty() || names.iter().any(|wanted| wanted == name) {
                self.environment.set(name, value);
            }
        }
        Ok(true)
    }

    /// Writes variables into a block of environment that is there. GRUB does not measure it.
    fn save_env(&mut self, args: &[String]) -> Result<bool> {
        let [file, path, names @ ..] = args else { bail!("`save_env {}` is not known here", args.join(" ")) };
        if file != "--file" {
            bail!("`save_env` without `--file` is not known here");
        }
        let Some(bytes) = self.file(path)? else { return Ok(false) };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some(old) = text.strip_prefix(BLOCK) else { return Ok(false) };
        let mut lines: Vec<String> = old.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        for name in names {
            let line = format!("{name}={}", self.environment.get(name)?);
            match lines.iter_mut().find(|line| line.split_once('=').is_some_and(|(known, _)| known == name)) {
                Some(known) => *known = line,
                None => lines.push(line),
            }
        }
        let mut block = BLOCK.to_owned();
        lines.iter().for_each(|line| block.extend([line, "\n"]));
        if block.len() > bytes.len() {
            bail!("`{path}` has no room for {}", names.join(", "));
        }
        block.extend(std::iter::repeat_n('#', bytes.len() - block.len()));
        let (partition, place) = self.place(path)?;
        self.written.insert((partition, place.to_owned()), block.into_bytes());
        Ok(true)
    }

    fn load(&mut self, command: &str, args: &[String]) -> Result<bool> {
        let [path, ..] = args else { bail!("`{command}` without a file is not known here") };
        if command == "initrd" || command == "initrdefi" {
            let [path] = args else { bail!("`{command}` with {} files is not known here", args.len()) };
            let Some(bytes) = self.measured(path)? else { return Ok(false) };
            return Ok(match &mut self.loaded {
                Some(Loaded::Linux { initrd, .. }) => {
                    *initrd = Some(bytes);
                    true
                }
                _ => false,
            });
        }
        let (partition, place) = self.place(path)?;
        let Some(bytes) = self.measured(path)? else { return Ok(false) };
        if command == "chainloader" {
            if args.len() > 1 {
                bail!("`chainloader` with arguments is not known here");
            }
            let path = place.to_owned();
            self.loaded = Some(Loaded::Program { partition, path, bytes });
        } else {
            let line = command_line(args);
            self.events.push(ExpectedEvent::loader(8, line.as_bytes(), format!("kernel_cmdline: {line}")));
            self.loaded = Some(Loaded::Linux { kernel: bytes, command_line: line, initrd: None });
        }
        Ok(true)
    }
}

/// The command line that GRUB makes of the words behind `linux`: a word with blanks is in quotes, and quotes in it have a backslash.
fn command_line(args: &[String]) -> String {
    let word = |arg: &String| {
        let escaped: String =
            arg.chars().flat_map(|letter| matches!(letter, '\\' | '\'' | '"').then_some('\\').into_iter().chain([letter])).collect();
        if arg.contains(' ') { format!("\"{escaped}\"") } else { escaped }
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// An entry of the menu from the words of `menuentry`.
fn entry(args: &[String]) -> Result<Entry> {
    let (Some(block), mut words) = (args.last(), args[..args.len().saturating_sub(1)].iter()) else { bail!("`menuentry` without a block") };
    let block = block.strip_prefix('{').and_then(|block| block.strip_suffix('}')).context("`menuentry` without a block")?.to_owned();
    let (mut title, mut id) = (None, String::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--id" => id = words.next().cloned().unwrap_or_default(),
            "--class" | "--hotkey" | "--users" => _ = words.next(),
            "--unrestricted" => {}
            option if option.starts_with("--") => bail!("`menuentry {option}` is not known here"),
            _ if title.is_none() => title = Some(word.clone()),
            _ => bail!("`menuentry` with arguments is not known here"),
        }
    }
    Ok(Entry { title: title.context("`menuentry` without a title")?, id, block })
}
