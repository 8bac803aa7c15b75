//! `doctor`: prints which tools this machine has, which are needed and for what, and the command that installs missing ones.
//! `child::provide` looks for tools and installs them.

use anyhow::Result;
use checkout::context::Ctx;
use child::{For, Output, Tool, ToolNeed, apt, apt::Manager, provide, provide::ToolState, qemu, version::Found};
use common::error::missing_tool;
use knobs::InstallTools;
use vm::accel;

const OCCASIONS: &[(&str, &[For])] = &[
    ("live", &[For::Live]),
    ("run", &[For::Run]),
    ("test", &[For::Live, For::Run, For::Test]),
    ("bench", &[For::Bench]),
    ("linuxkit", &[For::Linuxkit]),
    ("all", &[For::Live, For::Run, For::Test, For::Bench, For::Linuxkit]),
];

/// The tools to check, and whether to install them.
#[derive(clap::Args)]
pub struct Doctor {
    /// install missing tools, in one transaction
    #[arg(long)]
    install: bool,
    /// check only the tools for this work
    #[arg(long = "for", value_name = "WORK", default_value = "all", value_parser = ["live", "run", "test", "bench", "linuxkit", "all"])]
    work: String,
}

/// `doctor`.
pub fn run(ctx: &Ctx, Doctor { install, work: word }: Doctor) -> Result<()> {
    let occasions = OCCASIONS.iter().find(|(name, _)| *name == word).map_or(&[][..], |(_, occasions)| *occasions);
    let wanted: Vec<Tool> = provide::usual_needs(occasions).into_iter().map(|need| need.tool).collect();
    let mut states = provide::survey(&ctx.tools, &wanted);
    let missing: Vec<Tool> = lacking(&states);
    if install && !missing.is_empty() && !ctx.globals.dry_run {
        provide::install_missing(&ctx.tools, &missing, &talk())?;
        states = provide::survey(&ctx.tools, &wanted);
    }
    if ctx.globals.json {
        println!("{}", serde_json::to_string_pretty(&to_json(&states))?);
    } else {
        print!("{}", to_text(&states));
        print!("{}", advice(ctx, &states));
        if occasions.contains(&For::Run) {
            print!("{}", acceleration(ctx)?);
        }
    }
    let vital: Vec<&str> =
        states.iter().filter(|state| !state.serves() && is_vital(state.tool, &word)).map(|state| state.tool.info().name).collect();
    if vital.is_empty() { Ok(()) } else { Err(missing_tool(format!("{} cannot be done without {}", work(&word), vital.join(", ")))) }
}

/// Installs the missing tools of `needs` if INSTALL_TOOLS allows that; else fails and names all of them.
pub fn ensure(ctx: &Ctx, needs: &[ToolNeed]) -> Result<()> {
    provide::ensure(&ctx.tools, needs, ctx.knobs.host.install_tools == InstallTools::Auto, &talk())
}

/// Installs the tools of the tests if INSTALL_TOOLS allows that; else warns, and the tests that need them are skipped.
pub fn provide_for_tests(ctx: &Ctx) -> Result<()> {
    let needs = provide::usual_needs(&[For::Live, For::Run, For::Test]);
    if let Err(error) = provide::ensure(&ctx.tools, &needs, ctx.knobs.host.install_tools == InstallTools::Auto, &talk()) {
        eprintln!("{}tests that need them will be skipped", common::error::render(&error).replacen("error: ", "warning: ", 1));
    }
    Ok(())
}

/// Shows a package manager's lines after the word `install`.
fn talk() -> Output {
    Output::to(|line| eprintln!("install | {line}"))
}

fn lacking(states: &[ToolState]) -> Vec<Tool> {
    states.iter().filter(|state| !state.serves()).map(|state| state.tool).collect()
}

/// Whether work fails without `tool`. For `all`, only the tools of builds and runs count.
fn is_vital(tool: Tool, word: &str) -> bool {
    let info = tool.info();
    !info.optional && (word != "all" || info.needs.iter().any(|need| matches!(need, For::Live | For::Run)))
}

fn work(word: &str) -> &str {
    if word == "all" { "live and run" } else { word }
}

/// The table of tools, one on each line.
fn to_text(states: &[ToolState]) -> String {
    let mut text = format!("  {:<20} {:<10} {:<8} {}\n", "tool", "found", "needed", "to");
    for state in states {
        let info = state.tool.info();
        let mark = match (state.serves(), info.optional) {
            (true, _) => ' ',
            (false, true) => '-',
            (false, false) => '!',
        };
        let needed = info.minimum.map_or("any", |(version, _)| version);
        let optional = if info.optional { " (optional)" } else { "" };
        text.push_str(&format!("{mark} {:<20} {:<10} {needed:<8} {}{optional}\n", info.name, state.found, info.purpose));
        if let Found::Unknown(why) = &state.found {
            text.push_str(&format!("  {:<20} {}\n", "", why.lines().next().unwrap_or_default()));
        }
    }
    if states.iter().any(|state| !state.serves()) {
        text.push_str("!: missing or too old; -: the same, and most people need it not\n");
    }
    text
}

/// The command that installs missing tools, and the tools that no package of this system has.
fn advice(ctx: &Ctx, states: &[ToolState]) -> String {
    let missing = lacking(states);
    if missing.is_empty() {
        return "nothing is missing\n".to_owned();
    }
    let Some(manager) = Manager::find(&ctx.tools) else {
        return "this machine has no apt-get, dnf or brew: install the missing tools by hand\n".to_owned();
    };
    let mut text = String::new();
    let packages = manager.packages(&missing);
    if !packages.is_empty() {
        text.push_str(&format!("to install the missing tools:\n  {}\n", manager.command_line(&packages, apt::is_root())));
    }
    for tool in missing.iter().filter(|tool| manager.packages(&[**tool]).is_empty()) {
        match tool {
            Tool::Linuxkit => text.push_str("linuxkit: `cargo xtask build-tools` builds the pinned version\n"),
            _ => text.push_str(&format!("no package of this system has {}\n", tool.info().name)),
        }
    }
    text
}

/// The line about virtual machines of this machine's architecture: accelerated, or emulated and why.
fn acceleration(ctx: &Ctx) -> Result<String> {
    let arch = ctx.knobs.host_arch;
    if ctx.tools.find(qemu::tool(arch)).is_err() {
        return Ok(String::new());
    }
    Ok(match accel::choose(&ctx.tools, arch)? {
        (accel, None) => format!("virtual machines run with {}\n", accel.as_str()),
        (_, Some(why)) => format!("virtual machines are emulated: {why}\n"),
    })
}

fn to_json(states: &[ToolState]) -> serde_json::Value {
    let rows = states.iter().map(|state| {
        let info = state.tool.info();
        let found = match &state.found {
            Found::Version(_) => Some(state.found.to_string()),
            _ => None,
        };
        serde_json::json!({
            "tool": info.name,
            "present": !matches!(state.found, Found::Missing),
            "found": found,
            "needed": info.minimum.map(|(version, _)| version),
            "serves": state.serves(),
            "optional": info.optional,
            "purpose": info.purpose,
            "packages": {"debian": info.packages.debian, "fedora": info.packages.fedora, "brew": info.packages.brew},
        })
    });
    serde_json::Value::Array(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_marks_missing_and_optional_tools() {
        let states = [
            ToolState { tool: Tool::Git, found: Found::Version([2, 47, 3]) },
            ToolState { tool: Tool::QemuImg, found: Found::Version([4, 2, 0]) },
            ToolState { tool: Tool::Swtpm, found: Found::Missing },
            ToolState { tool: Tool::Docker, found: Found::Unknown("it says nothing".into()) },
        ];
        assert_eq!(
            to_text(&states),
            "  tool                 found      needed   to\n  \
               git                  2.47.3     2.11     know the version and the tags of packages\n\
             ! qemu-img             4.2        5.1      give a machine that is run here a disk; other formats\n\
             ! swtpm                —          0.1      give the virtual machine a TPM\n  \
               docker               ?          any      build packages with the engine linuxkit (optional)\n                       it says nothing\n\
             !: missing or too old; -: the same, and most people need it not\n"
        );
        assert!(
            is_vital(Tool::Swtpm, "all")
                && !is_vital(Tool::Xorriso, "all")
                && is_vital(Tool::Xorriso, "test")
                && !is_vital(Tool::Docker, "all")
        );
    }
}
