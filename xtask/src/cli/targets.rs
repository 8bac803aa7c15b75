//! The page of the old Makefile's targets: which of them work in this repository and in checkouts of lf-edge/eve. A cell is found by asking
//! what refuses the target when it is typed: its verb, the checks of HV, the plan, and the engine for each step.

mod imagined;

use super::{context, make, verbs};
use crate::commands::{Action, Verb, build};
use anyhow::{Context as _, Result};
use checkout::{Ahead, context::Ctx};
use common::Arch;
use executor::making;
use imagined::Imagined;
use knobs::{Knobs, RawKnobs, Source};
use plan::{EngineKind, Facts, Profile, plan_goal};
use std::fmt::Write as _;

/// Names of targets that stand for a family, with one member of the family.
const FAMILIES: [(&str, &str); 8] = [
    ("pkg/NAME", "pkg/grub"),
    ("eve-NAME", "eve-grub"),
    ("NAME-show-tag", "grub-show-tag"),
    ("NAME-cache-export-docker-load", "grub-cache-export-docker-load"),
    ("pillar-TARGET", "pillar-fmt"),
    ("proto-LANGUAGE", "proto-go"),
    ("rootfs-HV", "rootfs-kvm"),
    ("build-tools/bin/TOOL", "build-tools/bin/linuxkit"),
];

/// A tree and an engine: a column of the page.
struct Column {
    heading: &'static str,
    profile: Profile,
    engine: EngineKind,
    /// Whether it is this tree, whose packages can be looked at.
    here: bool,
}

fn columns(ctx: &Ctx) -> [Column; 4] {
    let column = |heading, profile: Profile, engine, here| Column { heading, profile, engine, here };
    let eve = |name| Profile::named(name, &ctx.root);
    [
        column("here", ctx.profile.clone(), EngineKind::Native, true),
        column("here, `--engine linuxkit`", ctx.profile.clone(), EngineKind::Linuxkit, true),
        column("lf-edge/eve of May 2023", eve("eve-2023"), EngineKind::Linuxkit, false),
        column("lf-edge/eve of today", eve("eve"), EngineKind::Linuxkit, false),
    ]
}

/// The names of all old targets, in the order of the Makefile's list, then families and files.
fn targets(ctx: &Ctx) -> Result<Vec<(String, String)>> {
    let path = ctx.root.join("Makefile");
    let makefile = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let list = makefile.split(".PHONY:").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let listed = list.split_whitespace().filter(|word| *word != "\\").map(|word| (word.to_owned(), word.to_owned()));
    let families = FAMILIES.iter().map(|(shown, asked)| ((*shown).to_owned(), (*asked).to_owned()));
    let mut all: Vec<_> = listed.chain(families).collect();
    for name in make::old_names().filter(|name| !name.ends_with(['/', '-']) && !name.starts_with('-')) {
        if all.iter().all(|(_, asked)| asked != name) {
            all.push((name.to_owned(), name.to_owned()));
        }
    }
    for profile in columns(ctx).map(|column| column.profile) {
        for name in profile.targets.into_keys().filter(|name| !name.ends_with('*')) {
            if all.iter().all(|(_, asked)| *asked != name) {
                all.push((name.clone(), name));
            }
        }
    }
    Ok(all)
}

/// The page.
pub fn page(ctx: &Ctx) -> Result<String> {
    let columns = columns(ctx);
    let mut page = String::from(
        "# Targets of the old Makefile\n\nWritten by `cargo xtask reference`, which asks the code that refuses a target when it is typed: the verb, the \
         plan and the engine.\n\n`yes`: the target builds something, and each of its steps can be made, if the programs that it starts are there. `runs`: it builds \
         nothing itself. The tree has what the verb declares to work on, and what it boots or uploads can be built; the page cannot know \
         whether this machine, its network and an account in a cloud serve. `–`: there is no such target. A number: it is refused, for the reason below.\n\n",
    );
    let headings: Vec<&str> = columns.iter().map(|column| column.heading).collect();
    let _ = writeln!(page, "| target | command | {} |\n|---|---|{}", headings.join(" | "), "---|".repeat(columns.len()));
    let mut reasons: Vec<String> = Vec::new();
    for (shown, asked) in targets(ctx)? {
        let mut cells = Vec::new();
        for column in &columns {
            let words = make::modern(&asked, !column.here);
            if column.profile.target(&asked).is_some() && !column.here {
                cells.push("runs".to_owned());
                continue;
            }
            if verbs().all(|verb| words.first().is_none_or(|word| word != verb.name && word != "--help")) {
                cells.push("–".to_owned());
                continue;
            }
            cells.push(match refusal(ctx, column, &words)? {
                None => if builds(&words) { "yes" } else { "runs" }.to_owned(),
                Some(why) => {
                    let at = reasons.iter().position(|known| *known == why).unwrap_or_else(|| {
                        reasons.push(why);
                        reasons.len() - 1
                    });
                    format!("({})", at + 1)
                }
            });
        }
        let row = columns.iter().find_map(|column| column.profile.target(&asked)).is_some();
        let words = if row && verbs().all(|verb| verb.name != asked) {
            format!("target {shown}")
        } else if shown == asked {
            make::modern(&asked, false).join(" ")
        } else {
            make::family_command(&shown)
        };
        let _ = writeln!(page, "| `{shown}` | `cargo xtask {words}` | {} |", cells.join(" | "));
    }
    page.push_str("\n## Why not\n\n");
    for (at, why) in reasons.iter().enumerate() {
        let _ = writeln!(page, "{}. {why}", at + 1);
    }
    Ok(page)
}

/// Whether the verb `words` builds a goal, so that its plan and the engine were asked.
fn builds(words: &[String]) -> bool {
    verbs().any(|verb| words.first().is_some_and(|name| name == verb.name) && matches!(verb.action, Action::Builds(_)))
}

/// Why the verb `words` is refused in `column`; none if it works.
fn refusal(ctx: &Ctx, column: &Column, words: &[String]) -> Result<Option<String>> {
    let name = words.first().map(String::as_str).unwrap_or_default();
    if words.iter().any(|word| word == "--gui") && column.profile.machine.gui.is_empty() {
        let tree = if column.here { "this repository" } else { column.heading };
        return Ok(Some(format!("{tree} has no machine with a screen: its profile has no [machine.gui]")));
    }
    if name == "--help" {
        return Ok(None);
    }
    let verb = verbs().find(|verb| verb.name == name).with_context(|| format!("no verb for the target `{name}`"))?;
    // A person's values must not change the page.
    let mut raw = RawKnobs::default();
    for (knob, value) in [("ZARCH", "amd64")].iter().chain(verb.sets) {
        raw.set(knob, value, Source::Target)?;
    }
    let mut knobs = Knobs::resolve(&raw, &ctx.root)?;
    knobs.host_arch = Arch::Amd64;
    // Both profiles may say `eve`; a reason below the table must say which tree it means.
    let mut profile = column.profile.clone();
    let tree = if column.here { "this repository" } else { column.heading };
    tree.clone_into(&mut profile.tree.name);
    let ctx = Ctx {
        root: ctx.root.clone(),
        engine: column.engine,
        globals: ctx.globals.clone(),
        knobs,
        profile,
        tools: ctx.tools.clone(),
        environment: ctx.environment.clone(),
        ahead: Ahead::default(),
    };
    match refuse(&ctx, column, verb) {
        Ok(()) => Ok(None),
        Err(error) => Ok(Some(format!("{error:#}").lines().next().unwrap_or_default().replace('|', "\\|"))),
    }
}

fn refuse(ctx: &Ctx, column: &Column, verb: &Verb) -> Result<()> {
    if let Some(why) = verb.pointless(&ctx.profile, ctx.capabilities()) {
        return Err(common::error::usage(why));
    }
    context::check_hypervisor(&ctx.knobs.image.hv, Source::Target, &ctx.profile)?;
    if let Action::Builds(goal) = verb.action {
        let tree = ctx.tree()?;
        let imagined = Imagined { profile: &ctx.profile, engine: ctx.engine, root: &ctx.root };
        let facts: &dyn Facts = if column.here { &tree } else { &imagined };
        let plan = plan_goal(&goal(ctx)?, &ctx.knobs, facts)?;
        let engine = build::engine(ctx, &tree)?;
        for node in &plan.nodes {
            making(engine.as_ref(), &node.step)?;
        }
    }
    match verb.after.and_then(|name| verbs().find(|verb| verb.name == name)) {
        Some(maker) => refuse(ctx, column, maker),
        None => Ok(()),
    }
}
