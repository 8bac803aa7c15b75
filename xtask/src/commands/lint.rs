//! `lint`: checks the sources without a container: shell scripts, Dockerfiles, ymls and the form of Rust code. Prints `file:line: finding`.

use super::doctor;
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Tool, ToolNeed, cargo::Cargo, shellcheck};
use common::{display::short, error::usage};
use compose::Yml;
use pkgbuild::{build_yml::BuildYml, dockerfile::Dockerfile};
use std::path::{Path, PathBuf};

/// The place of a finding, and what was found.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    line: u32,
    text: String,
}

/// `lint`.
pub fn run(ctx: &Ctx) -> Result<()> {
    let has_rust = ctx.root.join("Cargo.toml").is_file();
    if ctx.globals.dry_run {
        println!("check shell scripts, Dockerfiles and ymls{}", if has_rust { ", and the form of Rust code" } else { "" });
        return Ok(());
    }
    let needs = [shellcheck::need()].into_iter().chain(has_rust.then(|| ToolNeed::new(Tool::Cargo, "check the form of Rust code")));
    doctor::ensure(ctx, &needs.collect::<Vec<_>>())?;
    let files = Files::of(ctx)?;
    let mut findings = Vec::new();
    for line in shellcheck::check(&ctx.tools, &ctx.root, &files.scripts)? {
        findings.push(parse_line(&line).with_context(|| format!("cannot read shellcheck's line `{line}`"))?);
    }
    findings.extend(files.problems(&ctx.root));
    let yml = check_templates(ctx);
    findings.extend(yml);
    if has_rust {
        findings.extend(unformatted(ctx)?);
    }
    findings.sort();
    report(ctx, &files, &findings)
}

fn report(ctx: &Ctx, files: &Files, findings: &[Finding]) -> Result<()> {
    if ctx.globals.json {
        let row = |found: &Finding| serde_json::json!({"file": found.file, "line": found.line, "text": found.text});
        println!("{}", serde_json::to_string_pretty(&findings.iter().map(row).collect::<Vec<_>>())?);
    } else {
        findings.iter().for_each(|found| println!("{}:{}: {}", found.file, found.line, found.text));
    }
    match findings.len() {
        0 => {
            let (scripts, dockerfiles, ymls) = (files.scripts.len(), files.dockerfiles.len(), files.build_ymls.len());
            eprintln!("nothing found in {scripts} shell scripts, {dockerfiles} Dockerfiles, {ymls} build.yml and the templates of images");
            Ok(())
        }
        1 => bail!("1 finding"),
        count => bail!("{count} findings"),
    }
}

/// The files to check, relative to the root.
struct Files {
    scripts: Vec<PathBuf>,
    dockerfiles: Vec<PathBuf>,
    build_ymls: Vec<PathBuf>,
}

impl Files {
    /// Those of packages, and the scripts of `tools`.
    fn of(ctx: &Ctx) -> Result<Self> {
        let mut files = Self { scripts: vec![], dockerfiles: vec![], build_ymls: vec![] };
        for folder in [&ctx.profile.packages.folder, &ctx.root.join("tools")] {
            let in_packages = *folder == ctx.profile.packages.folder;
            for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
                let entry = entry.with_context(|| format!("cannot read `{}`", folder.display()))?;
                if !entry.file_type().is_file() {
                    continue;
                }
                let path = entry.path().strip_prefix(&ctx.root).unwrap_or(entry.path()).to_owned();
                // Of a package, not of something inside it.
                let is_top = in_packages && entry.depth() == 2;
                match entry.file_name().to_str() {
                    Some("Dockerfile") if is_top => files.dockerfiles.push(path),
                    Some("build.yml") if is_top => files.build_ymls.push(path),
                    _ if is_shell(entry.path())? => files.scripts.push(path),
                    _ => {}
                }
            }
        }
        if files.dockerfiles.is_empty() {
            return Err(usage(format!("`{}` has no package with a Dockerfile", ctx.profile.packages.folder.display())));
        }
        Ok(files)
    }

    /// What our readers refuse.
    fn problems(&self, root: &Path) -> Vec<Finding> {
        let read = |path: &Path| std::fs::read_to_string(root.join(path)).map_err(anyhow::Error::from);
        let name = |path: &Path| path.display().to_string();
        let dockerfiles = self.dockerfiles.iter().flat_map(|path| {
            let parsed = read(path).and_then(|text| Dockerfile::parse(&text, &name(path)).map(drop));
            parsed.err().into_iter().flat_map(|error| of_error(&name(path), &error))
        });
        let ymls = self.build_ymls.iter().flat_map(|path| {
            let parsed = read(path).and_then(|text| BuildYml::parse(&text, &name(path)).map(drop));
            parsed.err().into_iter().flat_map(|error| of_error(&name(path), &error))
        });
        dockerfiles.chain(ymls).collect()
    }
}

/// Whether the file starts as a script of a shell that shellcheck knows.
fn is_shell(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, 64), &mut start)?;
    let Some(line) = start.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next()) else { return Ok(false) };
    let words = String::from_utf8_lossy(line).into_owned();
    let last = words.split_whitespace().rfind(|word| !word.starts_with('-')).unwrap_or_default();
    Ok(matches!(last.rsplit('/').next(), Some("sh" | "ash" | "dash" | "bash")))
}

/// The findings in the templates of root file systems, with each hypervisor's patches.
fn check_templates(ctx: &Ctx) -> Vec<Finding> {
    let templates = &ctx.profile.templates;
    let mut findings = Vec::new();
    for (template, patches) in std::iter::once((&templates.rootfs, &templates.patches))
        .chain(templates.installer.iter().map(|installer| (installer, &templates.installer_patches)))
    {
        let name = short(template, &ctx.root).to_string();
        let text = match std::fs::read_to_string(template) {
            Ok(text) => text,
            Err(error) => {
                findings.push(Finding { file: name, line: 1, text: error.to_string() });
                continue;
            }
        };
        findings.extend(Yml::parse(&text, &name).err().into_iter().flat_map(|error| of_error(&name, &error)));
        for hv in &ctx.profile.tree.hypervisors {
            for patch in checkout::programs(patches, &ctx.root, hv, &ctx.knobs.image.platform) {
                let file = short(&patch, &ctx.root).to_string();
                let patched = checkout::patch_template(&text, &patch, ctx.profile.templates.patch_language)
                    .and_then(|text| Yml::parse(&text, &file).map(drop));
                findings.extend(patched.err().into_iter().flat_map(|error| of_error(&file, &error)));
            }
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Lines of Rust code that rustfmt would change.
fn unformatted(ctx: &Ctx) -> Result<Vec<Finding>> {
    let cargo = Cargo::new(&ctx.tools, &ctx.root)?;
    if !cargo.has("fmt") {
        return Err(usage("`rustfmt` is needed to check the form of Rust code\nhint: rustup component add rustfmt"));
    }
    let (lines, outcome) = cargo.lines(&["fmt", "--all", "--check"]);
    let findings: Vec<Finding> = lines.iter().filter_map(|line| parse_diff(line, &ctx.root)).collect();
    // It also fails for code that it cannot parse.
    if findings.is_empty() { outcome.map(|()| findings) } else { Ok(findings) }
}

/// The finding in rustfmt's line `Diff in /tree/x.rs:12:`; older versions print ` at line 12:`.
fn parse_diff(line: &str, root: &Path) -> Option<Finding> {
    let place = line.strip_prefix("Diff in ")?.trim_end_matches(':');
    let (file, number) = place.split_once(" at line ").or_else(|| place.rsplit_once(':'))?;
    let file = short(Path::new(file), root).to_string();
    Some(Finding { file, line: number.parse().ok()?, text: "not as `cargo fmt` writes it".to_owned() })
}

/// The finding in a line `file:3:5: text`.
fn parse_line(line: &str) -> Option<Finding> {
    let mut parts = line.splitn(4, ':');
    let (file, number, _) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Finding { file: file.to_owned(), line: number.parse().ok()?, text: parts.next()?.trim().to_owned() })
}

/// The findings in an error of one of our readers, which names lines as `file:3: text`, `line 3: text` or `at line 3 column 5`.
fn of_error(file: &str, error: &anyhow::Error) -> Vec<Finding> {
    let text = format!("{error:#}");
    let listed: Vec<Finding> = text
        .lines()
        .filter_map(|line| {
            let (number, text) = line.trim_start().strip_prefix("line ")?.split_once(": ")?;
            Some(Finding { file: file.to_owned(), line: number.parse().ok()?, text: text.to_owned() })
        })
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    let text = text.lines().next().unwrap_or_default();
    let rest = text.strip_prefix(file).and_then(|rest| rest.strip_prefix(':')).unwrap_or(text).trim_start();
    if let Some((number, rest)) = rest.split_once(':').and_then(|(number, rest)| Some((number.parse().ok()?, rest))) {
        return vec![Finding { file: file.to_owned(), line: number, text: rest.trim().to_owned() }];
    }
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let line = text.split_once("line ").and_then(|(_, rest)| digits(rest)).unwrap_or(1);
    vec![Finding { file: file.to_owned(), line, text: text.to_owned() }]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(file: &str, line: u32, text: &str) -> Finding {
        Finding { file: file.to_owned(), line, text: text.to_owned() }
    }

    #[test]
    fn a_finding_has_a_file_and_a_line() {
        assert_eq!(parse_line("pkg/a/a.sh:3:5: note: quote [SC2086]").unwrap(), found("pkg/a/a.sh", 3, "note: quote [SC2086]"));
        assert_eq!(parse_line("no place"), None);
        let form = "not as `cargo fmt` writes it";
        for line in ["Diff in /t/x/a.rs:12:", "Diff in /t/x/a.rs at line 12:"] {
            assert_eq!(parse_diff(line, Path::new("/t")).unwrap(), found("x/a.rs", 12, form));
        }
        assert_eq!(parse_diff("+    let x = 1;", Path::new("/t")), None);
    }

    #[test]
    fn the_errors_of_our_readers_become_findings() {
        let error = Dockerfile::parse("FROM scratch\nCPOY a b\n", "pkg/a/Dockerfile").unwrap_err();
        let findings = of_error("pkg/a/Dockerfile", &error);
        assert_eq!((findings.len(), findings[0].line), (1, 2), "{findings:?}");
        let error = Yml::parse("kernel:\n  image: x\n  cmdlin: y\ninit: 3\n", "a.yml").unwrap_err();
        let lines: Vec<u32> = of_error("a.yml", &error).iter().map(|found| found.line).collect();
        assert_eq!(lines, [3, 4]);
        let error = BuildYml::parse("image: a\norgg: b\n", "build.yml").unwrap_err();
        assert_eq!(of_error("build.yml", &error)[0].line, 2, "{error:#}");
    }

    #[test]
    fn scripts_are_known_by_their_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (text, is) in [
            ("#!/bin/sh\n", true),
            ("#!/bin/busybox ash\n", true),
            ("#!/usr/bin/env bash\n", true),
            ("#!/bin/sh -e\n", true),
            ("#!/usr/bin/python3\n", false),
            ("echo\n", false),
            ("", false),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(is_shell(&path).unwrap(), is, "{text}");
        }
    }
}
