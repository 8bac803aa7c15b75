//! A stage during its build: configuration, variables and tree, changed by one instruction after another.

use super::{
    Builder, Finished, PATH, check,
    copy::{self, Changes, Source},
    hidden,
    host::{Mount, MountKind, Step},
};
use crate::dockerfile::{Command, Copy, Heredoc, Instruction, Item, MountFlag, Run, expand};
use anyhow::{Context as _, Result, bail};
use filetree::{Content, Node, Tree};
use oci::Config;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Build arguments that `RUN` gets without `ARG`.
const PROXIES: [&str; 10] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"];

pub(super) struct Stage<'b, 'a> {
    builder: &'b mut Builder<'a>,
    index: usize,
    config: Config,
    tree: Tree,
    arch: String,
    /// The variables of `ARG` and `ENV`: the last that sets one decides, as in BuildKit.
    variables: BTreeMap<String, String>,
    /// Whether this stage has its own CMD, which a later ENTRYPOINT does not clear.
    has_cmd: bool,
    /// The archive's packages, which only a deploy sees.
    packages: Option<Node>,
}

impl<'b, 'a> Stage<'b, 'a> {
    pub(super) fn new(builder: &'b mut Builder<'a>, index: usize, base: Finished) -> Self {
        let Finished { config, tree, arch, mut variables, packages } = base;
        variables
            .extend(config.env.iter().filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())));
        Self { builder, index, config, tree, arch, variables, has_cmd: false, packages }
    }

    pub(super) fn finish(self) -> Finished {
        Finished { config: self.config, tree: self.tree, arch: self.arch, variables: self.variables, packages: self.packages }
    }

    pub(super) fn execute(&mut self, item: &Item) -> Result<()> {
        match &item.instruction {
            Instruction::Arg(args) => self.arg(args)?,
            Instruction::Env(pairs) => self.env(pairs)?,
            Instruction::Label(pairs) => {
                let expanded: Result<Vec<_>> = pairs.iter().map(|(name, value)| Ok((self.text(name)?, self.text(value)?))).collect();
                self.config.labels.extend(expanded?);
            }
            Instruction::Workdir(path) => self.workdir(path)?,
            Instruction::Entrypoint(command) => {
                self.config.entrypoint = self.command_line(command);
                if !self.has_cmd {
                    self.config.cmd.clear();
                }
            }
            Instruction::Cmd(command) => {
                self.config.cmd = self.command_line(command);
                self.has_cmd = true;
            }
            Instruction::Shell(shell) => drop(self.config.other.insert("Shell".to_owned(), json!(shell))),
            Instruction::User(user) => self.config.user = self.text(user)?,
            Instruction::StopSignal(signal) => self.config.stop_signal = self.text(signal)?,
            Instruction::Expose(ports) => {
                for port in ports {
                    let port = self.text(port)?;
                    let port = if port.contains('/') { port } else { format!("{port}/tcp") };
                    self.config.exposed_ports.insert(port, json!({}));
                }
            }
            Instruction::Volume(paths) => {
                for path in paths {
                    let path = self.text(path)?;
                    self.config.volumes.insert(path, json!({}));
                }
            }
            Instruction::Copy(copy) => self.copy(copy, false)?,
            Instruction::Add(copy) => self.copy(copy, true)?,
            Instruction::Run(run) => self.run(run, item.line)?,
            // `check` refuses the last two.
            Instruction::Maintainer(_) | Instruction::Healthcheck(_) | Instruction::Onbuild(_) => {}
        }
        Ok(())
    }

    /// Expands the variables of a word.
    fn text(&self, word: &str) -> Result<String> {
        expand(word, self.builder.request.dockerfile.escape, &|name| self.variables.get(name).cloned())
    }

    fn arg(&mut self, args: &[(String, Option<String>)]) -> Result<()> {
        for (name, default) in args {
            let value = match (self.builder.request.build_args.get(name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.text(default)?),
                (None, None) => self.builder.args.get(name).cloned(),
            };
            if let Some(value) = value {
                self.variables.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    fn env(&mut self, pairs: &[(String, String)]) -> Result<()> {
        // All values of one instruction use the variables before it.
        let expanded: Result<Vec<_>> = pairs.iter().map(|(name, value)| Ok((self.text(name)?, self.text(value)?))).collect();
        for (name, value) in expanded? {
            let pair = format!("{name}={value}");
            match self.config.env.iter_mut().find(|old| old.split_once('=').is_some_and(|(key, _)| key == name)) {
                Some(old) => *old = pair,
                None => self.config.env.push(pair),
            }
            self.variables.insert(name, value);
        }
        Ok(())
    }

    fn workdir(&mut self, path: &str) -> Result<()> {
        let path = self.text(path)?;
        let clean = self.absolute(&path)?;
        let at = self.tree.resolve(&clean, true)?;
        let user = Some(self.config.user.as_str()).filter(|user| !user.is_empty());
        let owner = user.map(|user| copy::parse_owner("USER ", user, &self.tree)).transpose()?;
        let changes = Changes { owner, ..self.changes() };
        copy::ensure_folder(&mut self.tree, &at, changes).with_context(|| format!("WORKDIR {path}"))?;
        self.config.working_dir = format!("/{clean}");
        Ok(())
    }

    /// A clean path relative to the stage's root; a relative `path` starts in the working directory.
    fn absolute(&self, path: &str) -> Result<String> {
        let joined = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.config.working_dir) };
        let clean = copy::clean_parts(&joined).join("/");
        copy::check_length(clean.as_bytes())?;
        Ok(clean)
    }

    fn changes(&self) -> Changes {
        Changes { mtime: self.builder.request.source_date_epoch, ..Changes::default() }
    }

    fn shell(&self) -> Vec<String> {
        let shell = self.config.other.get("Shell").and_then(Value::as_array);
        let words: Vec<String> = shell.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        if words.is_empty() { vec!["/bin/sh".to_owned(), "-c".to_owned()] } else { words }
    }

    fn command_line(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => [self.shell(), vec![text.clone()]].concat(),
        }
    }

    fn copy(&mut self, copy: &Copy, add: bool) -> Result<()> {
        let name = if add { "ADD" } else { "COPY" };
        let sources: Vec<String> = copy.sources.iter().map(|word| self.source_word(word, copy)).collect::<Result<_>>()?;
        let written = self.text(&copy.destination)?;
        let into_folder = written.ends_with('/') || written == "." || written.ends_with("/.");
        if sources.len() > 1 && !into_folder {
            bail!("{name} with several sources needs a destination that ends with `/`, not `{written}`");
        }
        let destination = self.absolute(&written)?;
        let changes = Changes {
            mode: copy.chmod.as_ref().map(|mode| copy::parse_mode(&self.text(mode)?)).transpose()?,
            owner: copy.chown.as_ref().map(|owner| copy::parse_owner("--chown=", &self.text(owner)?, &self.tree)).transpose()?,
            ..self.changes()
        };
        let from = copy.from.as_ref().map(|from| self.text(from)).transpose()?;
        self.fetch_image(from.as_deref())?;
        // A linked copy does not see the stage: it is made in an empty one, which then lies over it.
        let linked = copy.link.then(|| std::mem::take(&mut self.tree));
        for word in &sources {
            if let Some(heredoc) = copy.heredocs.iter().find(|heredoc| heredoc.word == *word) {
                let node = Node::file(0o644, changes.mtime, Content::from(self.heredoc_text(heredoc)?.as_str()));
                let source = Source { name: heredoc.name.clone().into_bytes(), node: &node };
                copy::copy_to(&mut self.tree, &source, &destination, into_folder, changes, &mut self.builder.links)?;
                continue;
            }
            if add {
                check::refuse_remote(word)?;
            }
            let (tree, what) = self.builder.origin(from.as_deref(), self.index, &self.arch);
            let found = copy::find_sources(tree, word, &what).with_context(|| format!("{name} {word} {written}"))?;
            // Ends the borrow of the source tree before the stage's tree changes.
            let found: Vec<(Vec<u8>, Node)> = found.into_iter().map(|source| (source.name, source.node.clone())).collect();
            for (file, node) in &found {
                if add {
                    check::refuse_archive(file, node)?;
                }
                let source = Source { name: file.clone(), node };
                copy::copy_to(&mut self.tree, &source, &destination, into_folder, changes, &mut self.builder.links)
                    .with_context(|| format!("{name} {word} {written}"))?;
            }
        }
        if let Some(stage) = linked {
            let copied = std::mem::replace(&mut self.tree, stage);
            copy::lay_over(&mut self.tree.root, copied.root);
        }
        Ok(())
    }

    /// Expands a source; the name of a here-document is not expanded.
    fn source_word(&self, word: &str, copy: &Copy) -> Result<String> {
        if copy.heredocs.iter().any(|heredoc| heredoc.word == word) { Ok(word.to_owned()) } else { self.text(word) }
    }

    /// In a here-document quotes are literal, so they are escaped before the expansion.
    fn heredoc_text(&self, heredoc: &Heredoc) -> Result<String> {
        if !heredoc.expand {
            return Ok(heredoc.body.clone());
        }
        let escape = self.builder.request.dockerfile.escape;
        let mut guarded = String::new();
        for c in heredoc.body.chars() {
            if c == '"' || c == '\'' {
                guarded.push(escape);
            }
            guarded.push(c);
        }
        self.text(&guarded)
    }

    /// Fetches the image that `from` names, if it names one, for [`Builder::origin`].
    fn fetch_image(&mut self, from: Option<&str>) -> Result<()> {
        let Some(from) = from else { return Ok(()) };
        let key = (from.to_owned(), self.builder.request.arch.to_owned());
        if self.builder.request.dockerfile.find_stage(from, self.index).is_some() || self.builder.images.contains_key(&key) {
            return Ok(());
        }
        if from.is_empty() || from == "scratch" {
            bail!("--from={from} is neither a stage nor an image");
        }
        let (_, mut tree) = self.builder.host.base_image(from, &key.1).with_context(|| format!("--from={from}"))?;
        if self.builder.hides_packages {
            hidden::hide(&mut tree, &key.1);
        }
        self.builder.images.insert(key, tree);
        Ok(())
    }

    fn run(&mut self, run: &Run, line: usize) -> Result<()> {
        let request = self.builder.request;
        let isolated = run.flags.iter().any(|(flag, value)| flag == "network" && value.as_deref() == Some("none"));
        let step = Step {
            place: format!("{}:{line}", request.dockerfile.path),
            command: run.command.to_string(),
            argv: self.run_argv(run)?,
            env: self.run_env(),
            workdir: if self.config.working_dir.is_empty() { "/".to_owned() } else { self.config.working_dir.clone() },
            arch: self.arch.clone(),
            network: request.network && !isolated,
            mounts: run.mounts.iter().map(|mount| self.mount(mount)).collect::<Result<_>>()?,
            source_date_epoch: request.source_date_epoch,
        };
        self.builder.links.renumber(&mut self.tree.root);
        let before = self.tree.clone();
        if !self.execute_builtin(&step)? {
            if !self.builder.host.can_execute(&step.arch) {
                bail!(
                    "this RUN executes programs for {}, but this machine is {}\nhint: a stage that only makes files can start with FROM --platform=$BUILDPLATFORM",
                    step.arch,
                    request.build_arch
                );
            }
            check::refuse_user(&self.config.user)?;
            let done = self.builder.host.run(&step, &mut self.tree);
            done.map_err(|error| if self.packages.is_some() { hidden::explain(error) } else { error })?;
        }
        clamp(&mut self.tree.root, Some(&before.root), request.source_date_epoch);
        Ok(())
    }

    /// Lets the host execute a step that it knows, with the hidden packages in their place.
    fn execute_builtin(&mut self, step: &Step) -> Result<bool> {
        let Some(packages) = self.packages.take() else { return self.builder.host.builtin(step, &mut self.tree) };
        if self.tree.get(hidden::PACKAGES).is_some() {
            bail!("an earlier line has made `/{}`, the folder of the archive's packages", hidden::PACKAGES);
        }
        self.tree.insert(hidden::PACKAGES, packages)?;
        let done = self.builder.host.builtin(step, &mut self.tree);
        self.packages = self.tree.remove(hidden::PACKAGES);
        done
    }

    fn run_argv(&self, run: &Run) -> Result<Vec<String>> {
        let text = match (&run.command, &run.heredocs[..]) {
            (_, []) => return Ok(self.command_line(&run.command)),
            (Command::Shell(text), [only]) if *text == only.word => only.body.clone(),
            // The shell reads the here-documents, so they are passed on with their delimiters.
            (command, all) => all.iter().fold(format!("{command}\n"), |text, heredoc| format!("{text}{}{}\n", heredoc.body, heredoc.name)),
        };
        Ok([self.shell(), vec![text]].concat())
    }

    /// The stage's variables override the caller's proxies.
    fn run_env(&self) -> BTreeMap<String, String> {
        let given = &self.builder.request.build_args;
        let proxies = PROXIES.iter().filter_map(|name| given.get(*name).map(|value| ((*name).to_owned(), value.clone())));
        let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned()), ("HOME".to_owned(), "/root".to_owned())]);
        env.extend(proxies);
        env.extend(self.variables.clone());
        env
    }

    fn mount(&mut self, flag: &MountFlag) -> Result<Mount> {
        let target = flag.get(&["target", "dst", "destination"]).context("RUN --mount needs `target=`")?;
        let target = format!("/{}", self.absolute(&self.text(target)?)?);
        let kind = match flag.get(&["type"]).unwrap_or("bind") {
            "bind" => {
                let from = flag.get(&["from"]).map(|from| self.text(from)).transpose()?;
                self.fetch_image(from.as_deref())?;
                let source = self.text(flag.get(&["source", "src"]).unwrap_or("/"))?;
                let (tree, what) = self.builder.origin(from.as_deref(), self.index, &self.arch);
                let found = copy::find_sources(tree, &source, &what).with_context(|| format!("RUN --mount=target={target}"))?;
                let node = found.first().with_context(|| format!("RUN --mount: `{source}` is not in {what}"))?.node.clone();
                let writable = flag.get(&["rw", "readwrite"]).is_some_and(|value| value != "false");
                MountKind::Bind { node, writable }
            }
            // `check` refuses all but cache and tmpfs.
            _ => MountKind::Scratch,
        };
        Ok(Mount { target, kind })
    }
}

impl Builder<'_> {
    /// The tree that `--from` refers to in stage `index`, and its name in error messages.
    fn origin(&self, from: Option<&str>, index: usize, arch: &str) -> (&Tree, String) {
        let Some(from) = from else { return (self.request.context, "the context".to_owned()) };
        let stage = self.request.dockerfile.find_stage(from, index).and_then(|stage| self.done.get(&stage));
        let image = || self.images.get(&(from.to_owned(), self.request.arch.to_owned()));
        match stage.map(|stage| &stage.tree).or_else(image) {
            Some(tree) => (tree, format!("`{from}`")),
            // Unreachable: needed stages are built first and images are fetched. If it happens, the error names the cause.
            None => (self.request.context, format!("the context (`{from}` for {arch} was not found)")),
        }
    }
}

/// Limits the mtime of nodes that a step made or changed to `epoch`.
fn clamp(node: &mut Node, before: Option<&Node>, epoch: i64) {
    if node.meta.mtime > epoch && before.is_none_or(|before| before.meta.mtime != node.meta.mtime) {
        node.meta.mtime = epoch;
    }
    if let filetree::Kind::Dir(children) = &mut node.kind {
        let old = before.and_then(Node::children);
        for (name, child) in children {
            clamp(child, old.and_then(|old| old.get(name)), epoch);
        }
    }
}
