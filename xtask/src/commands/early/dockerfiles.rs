//! Finds, before the first step, what a Dockerfile asks for and there is not: files of its folder, and Debian packages of its archive.

use super::{lock_files, package_of, paths_in};
use anyhow::Result;
use checkout::context::Ctx;
use common::{
    display::short,
    eprintln,
    error::{did_you_mean, usage},
};
use executor::{State, States};
use pkgbuild::{
    build_yml::BuildYml,
    dockerfile::{Command, Dockerfile, Instruction},
};
use plan::{EngineKind, Plan, steps::BuildPackage};
use std::path::Path;

/// Fails if the Dockerfile of a package that is due names a file or a Debian package that is not there; says it of all of them. Warns of a
/// CMD that is meant as JSON and is none. Reads no Dockerfile of other packages.
pub fn check(ctx: &Ctx, plan: &Plan, states: &States) -> Result<()> {
    if ctx.engine != EngineKind::Native {
        return Ok(());
    }
    let mut problems = Vec::new();
    for node in plan.nodes.iter().filter(|node| matches!(states.get(&node.id), Some(State::Stale(_)))) {
        let Some(package) = node.step.package() else { continue };
        let path = package.dir.join("Dockerfile");
        let shown = short(&path, &ctx.root).to_string();
        // The build reports other errors of a Dockerfile.
        let Ok(Ok(file)) = std::fs::read_to_string(&path).map(|text| Dockerfile::parse(&text, &shown)) else { continue };
        let checked = Checked { ctx, package, file: &file, is_whole: is_whole(ctx, package) };
        for (number, stage) in file.stages.iter().enumerate() {
            for item in &stage.items {
                let found = checked.problem(number, &item.instruction);
                problems.extend(found.map(|(what, hint)| format!("{shown}:{}: {what}\nhint: {hint}", item.line)));
                if let Instruction::Cmd(Command::Shell(text)) | Instruction::Entrypoint(Command::Shell(text)) = &item.instruction
                    && text.trim_start().starts_with('[')
                {
                    eprintln!("warning: {shown}:{}: `{}` is no JSON array, so /bin/sh runs it", item.line, text.trim());
                }
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(usage(problems.join("\n"))) }
}

/// Whether the context of a package is its folder and nothing else.
fn is_whole(ctx: &Ctx, package: &BuildPackage) -> bool {
    let packages = &ctx.profile.packages;
    let has_program = packages.programs.contains_key(&package.name) || packages.tool_images.contains(&package.name);
    let yml = BuildYml::read(&package.dir.join(&package.build_yml));
    !has_program && yml.is_ok_and(|yml| yml.extra_sources.is_empty())
}

/// A Dockerfile that is looked at.
struct Checked<'c> {
    ctx: &'c Ctx,
    package: &'c BuildPackage,
    file: &'c Dockerfile,
    is_whole: bool,
}

impl Checked<'_> {
    /// What is wrong with an instruction of a stage, and what to do.
    fn problem(&self, stage: usize, instruction: &Instruction) -> Option<(String, String)> {
        match instruction {
            Instruction::Copy(copy) | Instruction::Add(copy) if copy.from.is_none() && self.is_whole => {
                copy.sources.iter().find_map(|source| self.missing_file(source))
            }
            Instruction::Env(pairs) => pairs.iter().find_map(|(name, value)| self.missing_packages(stage, name, value)),
            _ => None,
        }
    }

    fn missing_file(&self, source: &str) -> Option<(String, String)> {
        // Patterns, variables, here-documents, addresses, and names that leave the folder are for the build.
        if source.contains(['$', '*', '?', '[', '<', '\\', ':', '@']) || source.split('/').any(|part| part == "..") {
            return None;
        }
        let place = self.package.dir.join(source.trim_start_matches('/'));
        if place.symlink_metadata().is_ok() {
            return None;
        }
        let name = place.file_name().and_then(|name| name.to_str())?;
        let folder = place.parent()?;
        let names: Vec<String> = names_in(folder);
        let near = did_you_mean(name, names.iter().map(String::as_str));
        let folder = short(folder, &self.ctx.root).to_string();
        let hint = match near {
            Some(near) => format!("did you mean {near}?"),
            None if names.is_empty() => format!("there is no folder {folder}"),
            None => format!("{folder} has {}", names.join(", ")),
        };
        Some((format!("`{source}` is not in the package's folder"), hint))
    }

    fn missing_packages(&self, stage: usize, name: &str, value: &str) -> Option<(String, String)> {
        let is_list =
            ["PKGS", "BUILD_PKGS"].iter().any(|list| name.strip_prefix(list).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')));
        // What is quoted or escaped within the list, or expanded, is for the build.
        let value = value.trim_matches('"');
        if !is_list || value.contains(['$', '\\', '"', '\'']) {
            return None;
        }
        let (archive, locks) = self.archive(stage)?;
        let pinned = |word: &&str| locks.iter().any(|lock| lock.starts_with(&format!("{word} ")) || lock.contains(&format!("\n{word} ")));
        let unknown = value.split_ascii_whitespace().find(|word| !pinned(word))?;
        let names =
            locks.iter().flat_map(|lock| lock.lines()).filter_map(|line| line.split(' ').next()).filter(|name| !name.starts_with('#'));
        let hint = match did_you_mean(unknown, names) {
            Some(near) => format!("did you mean {near}? Else cargo xtask pins --add {unknown} --archive {archive}"),
            None => format!("if the name is right: cargo xtask pins --add {unknown} --archive {archive}"),
        };
        Some((format!("{name}: pkg/{archive} has no Debian package `{unknown}`"), hint))
    }

    /// The archive of Debian packages from which a stage starts, and the texts of its locks; none if it starts from none.
    fn archive(&self, mut stage: usize) -> Option<(String, Vec<String>)> {
        // A stage starts only from earlier ones.
        while let Some(earlier) =
            self.file.stages[..stage].iter().position(|earlier| earlier.name.as_deref() == Some(&self.file.stages[stage].base))
        {
            stage = earlier;
        }
        let archive = package_of(&self.file.stages[stage].base)?.to_owned();
        let locks = lock_files(&self.ctx.profile.packages.folder.join(&archive).join("mirrors")).into_iter();
        let locks: Vec<String> = locks.filter_map(|lock| std::fs::read_to_string(lock).ok()).collect();
        (!locks.is_empty()).then_some((archive, locks))
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    paths_in(folder).iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
}
