//! `update`: sends a rootfs.img to a running machine over ssh, has it written to the slot that does not run, restarts the machine, and
//! says which slot runs then. The machine itself checks the image and chooses the slot (pkg/gpt-tools, pkg/grub).

use super::{
    super::{
        release::key_for_login,
        update_statement::{self, ToSend},
    },
    ensure,
    machine::Place,
    reach::port_of,
    require, show,
    waiting::Waiting,
};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Cmd, Tool, Tools, interrupt, ssh::Login};
use clap::value_parser;
use common::{digest::sha256_of, error::usage};
use knobs::{KeyKnobs, PortKnobs};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use vm::Machines;

/// Where the image is while the machine writes it.
const REMOTE: &str = "/persist/eve-update/rootfs.img";
/// What tells one start of the machine from another, and how it is. A line for each field of [`State`].
const ASK: &str = "cat /proc/sys/kernel/random/boot_id; [ -e /run/eve/ready ] && echo ready || echo starting; \
                   zboot curpart && zboot partstate $(zboot otherpart) && cat /etc/eve-release";
/// The time between two looks at a machine that starts.
const PAUSE: Duration = Duration::from_secs(2);

/// The image, and the machine.
#[derive(clap::Args)]
pub struct Update {
    /// the rootfs.img to send [default: that of the last build]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// name or address of the machine
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// name of a machine of `run`, instead of its host and port
    #[arg(long, value_name = "NAME", conflicts_with = "host")]
    name: Option<String>,
    /// also if it is older than what the machine runs, where the machine checks that
    #[arg(long)]
    older: bool,
    /// how many starts the new system has to become ready: 1 to 3
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u8).range(1..=3))]
    tries: u8,
    /// fail if the machine is not ready again after this many seconds
    #[arg(long, value_name = "SECS", default_value_t = 900, value_parser = value_parser!(u64).range(1..=86400))]
    timeout: u64,
    #[command(flatten)]
    key: KeyKnobs,
    #[command(flatten)]
    port: PortKnobs,
}

/// `update`.
pub fn run(ctx: &Ctx, update: Update) -> Result<()> {
    let file = match &update.file {
        Some(file) if !file.is_file() => return Err(usage(format!("there is no file `{}` to send", file.display()))),
        Some(file) => std::path::absolute(file)?,
        None => Place::find(ctx)?.current.part("rootfs.img"),
    };
    require(ctx, &file, "rootfs")?;
    let key = key_for_login(ctx, &update.key);
    let port = match &update.name {
        Some(name) => port_of(&Machines::at(ctx.dist().machines()).find(Some(name))?)?,
        None => update.port.ssh_port,
    };
    let login = Login { host: &update.host, port, key: &key, root: &ctx.root };
    let machine = Machine { tools: &ctx.tools, login };
    let to_send = update_statement::for_sending(ctx, &file)?;
    let statement = to_send.as_ref().map(|(ToSend::There(statement) | ToSend::Made(statement))| statement.clone());
    let sent = Sent { file, statement, tries: update.tries, older: update.older };
    if !ctx.globals.dry_run {
        ensure(ctx, &[Tool::Ssh])?;
    }
    if let Some(ToSend::Made(_)) = to_send {
        update_statement::sign(ctx, &sent.file, &update_statement::key(ctx), None)?;
    }
    if ctx.globals.dry_run {
        show(&machine.commands(&sent));
        return Ok(());
    }
    println!("{}", machine.update(&sent, Duration::from_secs(update.timeout))?);
    Ok(())
}

/// What is sent, and how the machine is to take it.
struct Sent {
    file: PathBuf,
    /// The statement of its owner, if there is one.
    statement: Option<PathBuf>,
    tries: u8,
    older: bool,
}

/// The machine that is updated.
struct Machine<'m> {
    tools: &'m Tools,
    login: Login<'m>,
}

/// How a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    /// Another one after each start.
    boot: String,
    /// Whether it has printed EVE-READY.
    is_ready: bool,
    /// The label of the slot that runs.
    label: String,
    /// zboot's word for the state of the other slot.
    other: String,
    /// The version that runs.
    version: String,
}

impl State {
    /// Reads the lines that [`ASK`] prints.
    fn parse(text: &str) -> Result<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let [boot, ready, label, other, version] = lines[..] else { bail!("the machine answers `{}`", text.trim()) };
        let owned = str::to_owned;
        Ok(Self { boot: owned(boot), is_ready: ready == "ready", label: owned(label), other: owned(other), version: owned(version) })
    }

    /// The letter of the slot that runs.
    fn slot(&self) -> &str {
        self.label.strip_prefix("IMG").unwrap_or(&self.label)
    }
}

impl Machine<'_> {
    fn address(&self) -> String {
        format!("{}:{}", self.login.host, self.login.port)
    }

    fn command(&self, command: &str) -> Cmd {
        self.login.run(self.tools, command)
    }

    fn state(&self) -> Result<State> {
        State::parse(&self.command(ASK).timeout(Duration::from_secs(60)).stdout()?)
    }

    /// The files to send, and where they go: the image first.
    fn files(sent: &Sent) -> Vec<(&Path, String)> {
        let image = (sent.file.as_path(), REMOTE.to_owned());
        let statement = sent.statement.as_deref().map(|statement| (statement, format!("{REMOTE}.update.jsonl")));
        std::iter::once(image).chain(statement).collect()
    }

    fn send(&self, file: &Path, to: &str) -> Cmd {
        // What an update that broke off left there must not be taken for a part of this one.
        let begin = if to == REMOTE { "rm -rf /persist/eve-update && " } else { "" };
        self.command(&format!("{begin}mkdir -p /persist/eve-update && cat > {to} && sha256sum {to}")).stdin_file(file)
    }

    /// All commands of an update.
    fn commands(&self, sent: &Sent) -> Vec<Cmd> {
        let sends = Self::files(sent).into_iter().map(|(file, to)| self.send(file, &to));
        sends.chain([self.write(sent), self.command("reboot"), self.command(ASK)]).collect()
    }

    fn write(&self, Sent { tries, older, .. }: &Sent) -> Cmd {
        let older = if *older { " --older" } else { "" };
        self.command(&format!("eve update{older} --tries {tries} {REMOTE}; status=$?; rm -rf /persist/eve-update; exit $status"))
    }

    /// Brings the image to the machine and waits until it runs there; what came of it.
    fn update(&self, sent: &Sent, limit: Duration) -> Result<String> {
        let before = self.state().with_context(|| format!("cannot ask the machine at {} for its slots\nhint: cargo xtask run starts a machine; `update` logs in with the key of cargo xtask ssh-key, if the image was built with CONF_DIR=dist/conf", self.address()))?;
        eprintln!("{} runs {} from slot {}", self.address(), before.version, before.slot());
        self.install(sent)?;
        self.command("reboot").run().context("cannot restart the machine")?;
        eprintln!("the machine starts again");
        outcome(&before, &self.wait(&before, limit)?)
    }

    /// Sends the image and has it written.
    fn install(&self, sent: &Sent) -> Result<()> {
        for (file, to) in Self::files(sent) {
            eprintln!("sending {}", file.display());
            let waiting = Waiting::start(format!("sending {}", file.file_name().unwrap_or_default().display()));
            let sums = self.send(file, &to).stdout().with_context(|| format!("cannot send `{}` to {}", file.display(), self.address()))?;
            drop(waiting);
            let sum = sha256_of(file)?;
            if !sums.starts_with(&sum) {
                bail!("`{}` arrived as other bytes: sha256 {sum} here, {sums} there", file.display());
            }
        }
        let waiting = Waiting::start("the machine checks and writes the image");
        let (lines, written) = self.write(sent).lines();
        drop(waiting);
        lines.iter().for_each(|line| eprintln!("{line}"));
        match (written, lines.iter().find_map(|line| line.strip_prefix("eve update: "))) {
            (Err(_), Some(why)) => Err(usage(format!("the machine refuses the update: {why}"))),
            (written, _) => written.context("the machine cannot write the update"),
        }
    }

    /// Waits until the machine has started again and is ready.
    fn wait(&self, before: &State, limit: Duration) -> Result<State> {
        let since = Instant::now();
        let _waiting = Waiting::start("until the machine is ready");
        while since.elapsed() < limit {
            match self.state() {
                Ok(state) if state.boot != before.boot && state.is_ready => return Ok(state),
                _ if interrupt::is_interrupted() => bail!("interrupted; the machine goes on alone"),
                _ => std::thread::sleep(PAUSE),
            }
        }
        bail!("the machine was not ready within {} s after the update\nhint: its console shows why", limit.as_secs())
    }
}

/// What came of an update; an error if the new system does not run.
fn outcome(before: &State, after: &State) -> Result<String> {
    let (slot, version) = (after.slot(), &after.version);
    if after.label != before.label {
        return Ok(format!("updated: slot={slot} version={version}"));
    }
    if after.other == "updating" {
        bail!(
            "the machine has not tried the new system: slot={slot} version={version} runs again\nhint: `eve status` on the machine shows its slots"
        );
    }
    bail!(
        "the new system did not become ready: the machine fell back to slot={slot} version={version}\nhint: EVE-FAILED on its console says why"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use child::fake;
    use std::fs;

    /// What an update says if the machine answers to `eve update` as in `write`, and runs from `label` then.
    fn update(write: &str, label: &str, other: &str) -> Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        fs::write(dir.path().join("rootfs.img"), "image").unwrap();
        fs::write(dir.path().join("state"), "one\nready\nIMGA\nunused\n1.0\n").unwrap();
        fs::write(dir.path().join("next"), format!("two\nready\n{label}\n{other}\n2.0\n")).unwrap();
        let script = format!(
            "for word in \"$@\"; do command=$word; done\ncase $command in\n\
             *boot_id*) cat {at}/state;;\n*'cat >'*) sha256sum;;\n*'eve update'*) {write};;\nreboot) cp {at}/next {at}/state;;\nesac"
        );
        fake::tool(dir.path(), Tool::Ssh, &script);
        let tools = fake::tools(dir.path());
        let login = Login { host: "localhost", port: 22, key: Path::new("key"), root: dir.path() };
        let sent = Sent { file: dir.path().join("rootfs.img"), statement: None, tries: 1, older: false };
        Machine { tools: &tools, login }.update(&sent, Duration::from_secs(20))
    }

    #[test]
    fn the_slot_that_runs_afterwards_decides_what_came_of_it() {
        assert_eq!(update("true", "IMGB", "unused").unwrap(), "updated: slot=B version=2.0");
        let fell = update("true", "IMGA", "inprogress").unwrap_err().to_string();
        assert!(fell.contains("fell back to slot=A version=2.0"), "{fell}");
        let untried = update("true", "IMGA", "updating").unwrap_err().to_string();
        assert!(untried.contains("has not tried"), "{untried}");
    }

    #[test]
    fn a_refusal_is_told_in_one_line_and_nothing_is_restarted() {
        let refused = update("echo 'eve update: x is no squashfs' >&2; exit 1", "IMGB", "unused").unwrap_err();
        assert_eq!(common::error::render(&refused), "error: the machine refuses the update: x is no squashfs\n");
        let broken = update("echo 'no space'; exit 3", "IMGB", "unused").unwrap_err();
        assert!(format!("{broken:#}").starts_with("the machine cannot write the update"), "{broken:#}");
    }

    #[test]
    fn an_answer_without_slots_is_an_error() {
        assert!(!State::parse("id\nstarting\nIMGB\nactive\n1\n").unwrap().is_ready);
        assert!(State::parse("id\nready\n").unwrap_err().to_string().contains("the machine answers `id"));
    }
}
