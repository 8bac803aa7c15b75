//! `target`: the targets of a tree's Makefile that only call containers and scripts, from the profile's `[targets]`.

use crate::commands::{build, sources};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Cmd, Output, Tool, itself::Itself};
use common::error::{did_you_mean, usage};
use plan::{Goal, PackageWork, TargetCommand, TargetTable};
use std::{collections::BTreeMap, path::Path};

/// The target and its variables.
#[derive(clap::Args)]
pub struct TreeTarget {
    /// a target of the tree's Makefile [default: print all]
    name: Option<String>,
    /// a variable of the target
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// `target`.
pub fn run(ctx: &Ctx, TreeTarget { name, set }: TreeTarget) -> Result<()> {
    let Some(name) = name else {
        for (name, row) in &ctx.profile.targets {
            println!("{name:<28} {}", row.about);
        }
        return Ok(());
    };
    let set = set.iter().map(|word| word.split_once('=').unwrap_or((word, "")));
    run_named(ctx, &name, &set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Runs the target `name` with the variables `set`.
pub fn run_named(ctx: &Ctx, name: &str, set: &BTreeMap<String, String>) -> Result<()> {
    let (row, rest) = ctx.profile.target(name).ok_or_else(|| {
        let near = did_you_mean(name, ctx.profile.targets.keys().map(String::as_str));
        let hint = near.map_or_else(|| "`cargo xtask target` lists all".to_owned(), |near| format!("did you mean {near}?"));
        usage(format!("the profile of {} has no target {name}\nhint: {hint}", ctx.profile.tree.name))
    })?;
    if let Some(unknown) = set.keys().find(|name| !row.takes(name)) {
        let known = row.variables.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let hint = if known.is_empty() { "it has none".to_owned() } else { format!("it has {known}") };
        return Err(usage(format!("the target {name} has no variable {unknown}\nhint: {hint}")));
    }
    for before in &row.after {
        run_named(ctx, before, &BTreeMap::new())?;
    }
    if !row.packages.is_empty() {
        build::build(ctx, &Goal::Packages(row.packages.clone(), PackageWork::Build))?;
    }
    let variables = variables(ctx, row, rest, set)?;
    for command in &row.run {
        let cmd = command_of(ctx, command, &variables)?;
        let cmd = set.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
        match ctx.globals.dry_run {
            true => println!("{cmd}"),
            false => cmd.step(format!("running the target {name}")).foreground().run()?,
        }
    }
    Ok(())
}

/// The values of the names that texts of `row` may have in braces.
fn variables(ctx: &Ctx, row: &TargetTable, rest: &str, set: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let image = &ctx.knobs.image;
    let mut own = vec![
        ("ROOT", ctx.root.display().to_string()),
        ("DIST", ctx.dist().arch(image.arch).display().to_string()),
        ("HV", image.hv.clone()),
        ("ZARCH", image.arch.to_string()),
        ("PLATFORM", image.platform.clone()),
        ("*", rest.to_owned()),
    ];
    // Only git knows the version that is in these paths.
    if row.run.iter().flat_map(|command| &command.words).any(|word| word.contains("{SBOM}") || word.contains("{COLLECTED_SOURCES}")) {
        own.push(("SBOM", sources::sbom_path(ctx)?.display().to_string()));
        own.push(("COLLECTED_SOURCES", sources::place(ctx, &ctx.tree()?).display().to_string()));
    }
    let mut values: BTreeMap<String, String> = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for (name, default) in &row.variables {
        let given = set.get(name).map(String::as_str).or_else(|| ctx.environment.get(name));
        values.insert(name.clone(), given.unwrap_or(default).to_owned());
    }
    Ok(values)
}

fn command_of(ctx: &Ctx, command: &TargetCommand, values: &BTreeMap<String, String>) -> Result<Cmd> {
    let words = command.words.iter().filter_map(|word| fill_word(word, values)).collect::<Vec<_>>();
    let (program, arguments) = words.split_first().context("a command of a target names a program")?;
    let cmd = match program.as_str() {
        "docker" => ctx.tools.cmd(Tool::Docker)?,
        "go" => ctx.tools.cmd(Tool::Go)?,
        "xtask" => Itself::new(&ctx.tools, &ctx.root)?.command(),
        script if script.contains('/') => Cmd::new(ctx.root.join(script), ctx.tools.environment()),
        other => ctx.tools.helper(other)?,
    };
    let dir = ctx.root.join(command.dir.as_deref().unwrap_or(Path::new("")));
    let cmd = cmd.args(arguments).dir(dir).output(&Output::default());
    Ok(command.env.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, fill(value, values))))
}

/// `word` with its names filled in; none for a `{?NAME}word` whose NAME has no value.
fn fill_word(word: &str, values: &BTreeMap<String, String>) -> Option<String> {
    match word.strip_prefix("{?").and_then(|rest| rest.split_once('}')) {
        Some((name, _)) if !is_set(name, values) => None,
        Some((_, word)) => Some(fill(word, values)),
        None => Some(fill(word, values)),
    }
}

/// Whether a variable has a value that does not say no.
fn is_set(name: &str, values: &BTreeMap<String, String>) -> bool {
    values.get(name).is_some_and(|value| !["", "n", "no", "0", "false"].contains(&value.as_str()))
}

/// Replaces `{NAME}` by its value and `{NAME?a:b}` by `a` or `b`. Other braces stay.
fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let inner = after.split_once('}').and_then(|(inner, after)| Some((value_of(inner, values)?, after)));
        match inner {
            Some((value, after)) => {
                out.push_str(&value);
                rest = after;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out + rest
}

fn value_of(inner: &str, values: &BTreeMap<String, String>) -> Option<String> {
    let Some((name, choice)) = inner.split_once('?') else { return values.get(inner).cloned() };
    let (yes, no) = choice.split_once(':')?;
    values.contains_key(name).then(|| if is_set(name, values) { yes.to_owned() } else { no.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_filled_in() {
        let values: BTreeMap<String, String> =
            [("A", "1"), ("OFF", "n"), ("NONE", "")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for (word, want) in [
            ("x{A}y", Some("x1y")),
            ("{?A}--a={A}", Some("--a=1")),
            ("{?NONE}--a={NONE}", None),
            ("{?OFF}-f", None),
            ("{A?true:false}{OFF?true:false}", Some("truefalse")),
            ("{} {;} {OTHER}", Some("{} {;} {OTHER}")),
        ] {
            assert_eq!(fill_word(word, &values).as_deref(), want, "{word}");
        }
    }
}
