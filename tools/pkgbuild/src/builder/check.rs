//! Refuses what the builder does not do as BuildKit does, with file and line, before the first step of a build runs.

use super::{HINT, Request, copy};
use crate::dockerfile::{Copy, Dockerfile, Instruction, Run};
use anyhow::{Context as _, Result, bail};
use filetree::Node;
use std::collections::{BTreeMap, BTreeSet};

/// Checks the stages `needed`; `args` are the variables of all stages.
pub(super) fn check(request: &Request<'_>, needed: &BTreeSet<usize>, args: &BTreeMap<String, String>) -> Result<()> {
    let file = request.dockerfile;
    let place = |line: usize| format!("{}:{line}", file.path);
    check_items(file, needed)?;
    for (line, word) in file.added(needed, args, request.build_args)? {
        refuse_remote(&word).with_context(|| place(line))?;
        // What does not exist is an error of the instruction itself.
        for source in copy::find_sources(request.context, &word, "the context").unwrap_or_default() {
            refuse_archive(&source.name, source.node).with_context(|| place(line))?;
        }
    }
    Ok(())
}

/// Checks the instructions of the last stage and of those that it needs, without the context of a build: before the first step of any
/// package runs.
pub fn check_early(file: &Dockerfile) -> Result<()> {
    check_items(file, &file.needed_stages(file.stages.len().saturating_sub(1), &BTreeMap::new()))
}

fn check_items(file: &Dockerfile, needed: &BTreeSet<usize>) -> Result<()> {
    let place = |line: usize| format!("{}:{line}", file.path);
    for index in needed {
        let mut user = "";
        for item in &file.stages[*index].items {
            let checked = match &item.instruction {
                Instruction::Healthcheck(_) => refuse("HEALTHCHECK is not supported"),
                Instruction::Onbuild(_) => refuse("ONBUILD is not supported"),
                Instruction::Copy(copy) => check_copy(copy, "COPY"),
                Instruction::Add(copy) => check_copy(copy, "ADD"),
                Instruction::Run(run) => check_run(run).and_then(|()| refuse_user(user)),
                Instruction::User(given) => {
                    user = if given.contains('$') { "" } else { given };
                    Ok(())
                }
                _ => Ok(()),
            };
            checked.with_context(|| place(item.line))?;
        }
    }
    Ok(())
}

fn refuse(what: impl std::fmt::Display) -> Result<()> {
    bail!("{what}\n{HINT}")
}

fn check_copy(copy: &Copy, name: &str) -> Result<()> {
    if let Some((flag, _)) = copy.flags.first() {
        return refuse(format_args!("{name} --{flag} is not supported"));
    }
    match &copy.chmod {
        Some(mode) if !mode.contains('$') => copy::parse_mode(mode).map(drop),
        _ => Ok(()),
    }
}

fn check_run(run: &Run) -> Result<()> {
    for (flag, value) in &run.flags {
        if !matches!((flag.as_str(), value.as_deref()), ("network", Some("none" | "default"))) {
            let value = value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
            return refuse(format_args!("RUN --{flag}{value} is not supported"));
        }
    }
    for mount in &run.mounts {
        let kind = mount.get(&["type"]).unwrap_or("bind");
        if !matches!(kind, "bind" | "cache" | "tmpfs") {
            return refuse(format_args!("RUN --mount=type={kind} is not supported"));
        }
    }
    match &run.heredocs[..] {
        [only] if run.command.to_string() == only.word && only.body.starts_with("#!") => {
            refuse("RUN with a `#!` line in its here-document is not supported")
        }
        _ => Ok(()),
    }
}

/// Every step runs as root.
pub(super) fn refuse_user(user: &str) -> Result<()> {
    match user {
        "" | "0" | "root" | "0:0" | "root:root" => Ok(()),
        user => refuse(format_args!("RUN as the user `{user}` is not supported")),
    }
}

pub(super) fn refuse_remote(word: &str) -> Result<()> {
    if word.contains("://") || word.starts_with("git@") {
        return refuse(format_args!("ADD of the URL `{word}` is not supported"));
    }
    Ok(())
}

/// `ADD` would unpack an archive, which is not implemented.
pub(super) fn refuse_archive(name: &[u8], node: &Node) -> Result<()> {
    let filetree::Kind::File { content, .. } = &node.kind else { return Ok(()) };
    let mut start = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(content.open()?, 512), &mut start)?;
    let compressed = [&b"\x1f\x8b\x08"[..], b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    if compressed.iter().any(|magic| start.starts_with(magic)) || start.get(257..262) == Some(b"ustar") {
        bail!("ADD cannot unpack the archive `{}`\nhint: COPY copies it without unpacking", String::from_utf8_lossy(name));
    }
    Ok(())
}
