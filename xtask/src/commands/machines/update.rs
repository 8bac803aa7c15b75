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
use common::{digest::sha256_of, display::size, error::usage};
use imagefs::{delta, open_file};
use knobs::{KeyKnobs, PortKnobs};
use plan::Layout;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use vm::Machines;

/// Where the image is while the machine writes it.
const REMOTE: &str = "/persist/eve-update/rootfs.img";
/// The same for a delta, from which the machine makes the image.
const REMOTE_DELTA: &str = "/persist/eve-update/rootfs.delta";
/// The file of an image that has its version.
const RELEASE: &str = "etc/eve-release";
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
    /// send only what differs from the image that the machine runs: that of its version in dist/, or OLD
    #[arg(long, value_name = "OLD", num_args = 0..=1, require_equals = true)]
    delta: Option<Option<PathBuf>>,
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
        Some(file) if !file.is_file() => {
            return Err(usage(format!(
                "there is no file `{}` to send\nhint: without FILE, the rootfs.img of the last build",
                file.display()
            )));
        }
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
    let old = update.delta.map(|old| old.map_or_else(|| Old::OfVersion(ctx.dist().arch(ctx.knobs.image.arch)), Old::File));
    if let Some(Old::File(old)) = &old {
        check_old(old)?;
    }
    let sent = Sent { file, old, statement, tries: update.tries, older: update.older };
    if !ctx.globals.dry_run {
        ensure(ctx, &[Tool::Ssh])?;
    }
    if let Some(ToSend::Made(_)) = to_send {
        update_statement::sign(ctx, &sent.file, &update_statement::key(ctx), None)?;
    }
    if ctx.globals.dry_run {
        if sent.old.is_some() {
            println!("make the delta from the image that the machine runs to {}", sent.file.display());
        }
        show(&machine.commands(&sent));
        return Ok(());
    }
    println!("{}", machine.update(&sent, Duration::from_secs(update.timeout))?);
    Ok(())
}

/// What is sent, and how the machine is to take it.
struct Sent {
    file: PathBuf,
    /// The image that the machine runs, if only the delta from it is sent.
    old: Option<Old>,
    /// The statement of its owner, if there is one.
    statement: Option<PathBuf>,
    tries: u8,
    older: bool,
}

/// The image from which a delta is made.
enum Old {
    File(PathBuf),
    /// The one of the version that the machine runs, in this folder of builds.
    OfVersion(PathBuf),
}

impl Old {
    /// The image for a machine that runs `version` and gets `new`.
    fn find(&self, version: &str, new: &Path) -> Result<PathBuf> {
        let builds = match self {
            Self::File(file) => return Ok(file.clone()),
            Self::OfVersion(builds) => builds,
        };
        let images = fs::read_dir(builds).into_iter().flatten().flatten();
        // `current` is a link to one of the others.
        let images = images
            .filter(|build| build.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|build| Layout::at(build.path()).part("rootfs.img"));
        let is_it = |image: &PathBuf| {
            let text = open_file(image, None).ok().and_then(|volume| volume.text(RELEASE));
            text.is_some_and(|text| text.trim() == version)
        };
        let found = images.filter(is_it).min().ok_or_else(|| {
            usage(format!(
                "the machine runs {version}, and {} has no rootfs.img of that version\n\
                 hint: --delta=FILE names it; without --delta the whole image is sent",
                builds.display()
            ))
        })?;
        if found.canonicalize().is_ok_and(|found| Some(found) == new.canonicalize().ok()) {
            return Err(usage(format!(
                "the machine runs {version}, and `{}` is to be sent, which has that version, too\n\
                 hint: --delta=OLD names the image that the machine runs; without --delta the whole image is sent",
                new.display()
            )));
        }
        Ok(found)
    }
}

/// Fails if `old` is no image that a machine can run.
fn check_old(old: &Path) -> Result<()> {
    let what = match old.is_file() {
        false => "is no file",
        true if !update_statement::is_root_file_system(old)? => "is no root file system",
        true => return Ok(()),
    };
    Err(usage(format!("--delta: `{}` {what}\nhint: OLD is the rootfs.img that the machine runs", old.display())))
}

/// What arrives at the machine, and where: the image, or the delta, which is there until this is dropped.
struct Payload {
    file: PathBuf,
    to: &'static str,
    _folder: Option<TempDir>,
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

    /// Makes the delta if one is to be sent; the machine runs `version`.
    fn payload(sent: &Sent, version: &str) -> Result<Payload> {
        let Some(old) = &sent.old else { return Ok(Payload { file: sent.file.clone(), to: REMOTE, _folder: None }) };
        let old = old.find(version, &sent.file)?;
        let folder = tempfile::tempdir().context("cannot make a folder for the delta")?;
        let file = folder.path().join("rootfs.delta");
        let made = delta::make(&old, &sent.file, &file)?;
        eprintln!("the delta from {}: {} for an image of {}", old.display(), size(made.size), size(made.new.size));
        Ok(Payload { file, to: REMOTE_DELTA, _folder: Some(folder) })
    }

    /// The files to send, and where they go: the image first.
    fn files<'p>(payload: &'p Payload, sent: &'p Sent) -> Vec<(&'p Path, String)> {
        let image = (payload.file.as_path(), payload.to.to_owned());
        let statement = sent.statement.as_deref().map(|statement| (statement, format!("{}.update.jsonl", payload.to)));
        std::iter::once(image).chain(statement).collect()
    }

    fn send(&self, file: &Path, to: &str) -> Cmd {
        // What an update that broke off left there must not be taken for a part of this one.
        let begin = if [REMOTE, REMOTE_DELTA].contains(&to) { "rm -rf /persist/eve-update && " } else { "" };
        self.command(&format!("{begin}mkdir -p /persist/eve-update && cat > {to} && sha256sum {to}")).stdin_file(file)
    }

    /// All commands of an update.
    fn commands(&self, sent: &Sent) -> Vec<Cmd> {
        let payload = match sent.old {
            None => Payload { file: sent.file.clone(), to: REMOTE, _folder: None },
            Some(_) => Payload { file: "rootfs.delta".into(), to: REMOTE_DELTA, _folder: None },
        };
        let sends: Vec<Cmd> = Self::files(&payload, sent).into_iter().map(|(file, to)| self.send(file, &to)).collect();
        sends.into_iter().chain([self.write(payload.to, sent), self.command("reboot"), self.command(ASK)]).collect()
    }

    fn write(&self, what: &str, Sent { tries, older, .. }: &Sent) -> Cmd {
        let older = if *older { " --older" } else { "" };
        self.command(&format!("eve update{older} --tries {tries} {what}; status=$?; rm -rf /persist/eve-update; exit $status"))
    }

    /// Brings the image to the machine and waits until it runs there; what came of it.
    fn update(&self, sent: &Sent, limit: Duration) -> Result<String> {
        let before = self.state().with_context(|| format!("cannot ask the machine at {} for its slots\nhint: cargo xtask run starts a machine; `update` logs in with the key of cargo xtask ssh-key, if the image was built with CONF_DIR=dist/conf", self.address()))?;
        eprintln!("{} runs {} from slot {}", self.address(), before.version, before.slot());
        self.install(&Self::payload(sent, &before.version)?, sent)?;
        self.command("reboot").run().context("cannot restart the machine")?;
        eprintln!("the machine starts again");
        outcome(&before, &self.wait(&before, limit)?)
    }

    /// Sends the image, or the delta, and has it written.
    fn install(&self, payload: &Payload, sent: &Sent) -> Result<()> {
        for (file, to) in Self::files(payload, sent) {
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
        let (lines, written) = self.write(payload.to, sent).lines();
        drop(waiting);
        let why = lines.iter().find_map(|line| line.strip_prefix("eve update: ")).filter(|_| written.is_err());
        lines.iter().filter(|line| why.is_none() || !line.starts_with("eve update: ")).for_each(|line| eprintln!("{line}"));
        match (written, why) {
            (Err(_), Some(why)) => {
                let hint = match sent.old {
                    Some(_) => "\nhint: --delta=OLD names the image that the machine runs; without --delta the whole image is sent",
                    None => "",
                };
                Err(usage(format!("the machine refuses the update: {why}{hint}")))
            }
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
    use diskimage::{recipes::pack_rootfs, squashfs::Compressor};
    use filetree::{Content, Node, Tree};

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
        let sent = Sent { file: dir.path().join("rootfs.img"), old: None, statement: None, tries: 1, older: false };
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
    fn an_old_image_that_is_none_is_refused_before_the_machine_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let said = |path: &Path| common::error::render(&check_old(path).unwrap_err()).replace(&format!("{}/", dir.path().display()), "");
        let hint = "\nhint: OLD is the rootfs.img that the machine runs\n";
        assert_eq!(said(&dir.path().join("nowhere")), format!("error: --delta: `nowhere` is no file{hint}"));
        fs::write(dir.path().join("grub.cfg"), "text").unwrap();
        assert_eq!(said(&dir.path().join("grub.cfg")), format!("error: --delta: `grub.cfg` is no root file system{hint}"));
    }

    #[test]
    fn a_delta_needs_the_image_that_the_machine_runs() {
        let dir = tempfile::tempdir().unwrap();
        let builds = dir.path().join("amd64");
        let image = |folder: &str, version: &str| {
            let path = Layout::at(builds.join(folder)).part("rootfs.img");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut tree = Tree::new();
            tree.insert(RELEASE, Node::file(0o644, 0, Content::from(format!("{version}\n").into_bytes()))).unwrap();
            pack_rootfs(tree, Compressor::Gzip, 0, &mut fs::File::create(&path).unwrap()).unwrap();
            path
        };
        let (old, new) = (image("1", "1.0"), image("2", "2.0"));
        let sent = |old| Sent { file: new.clone(), old: Some(old), statement: None, tries: 1, older: false };
        let refused = Machine::payload(&sent(Old::OfVersion(builds.clone())), "3.0").err().unwrap();
        let says = common::error::render(&refused);
        let wanted = format!("error: the machine runs 3.0, and {} has no rootfs.img of that version\nhint: --delta=FILE", builds.display());
        assert!(says.starts_with(&wanted), "{says}");
        let same = common::error::render(&Machine::payload(&sent(Old::OfVersion(builds.clone())), "2.0").err().unwrap());
        assert!(
            same.starts_with("error: the machine runs 2.0, and `") && same.contains("has that version, too\nhint: --delta=OLD"),
            "{same}"
        );
        for from in [Old::OfVersion(builds.clone()), Old::File(old.clone())] {
            let payload = Machine::payload(&sent(from), "1.0").unwrap();
            assert_eq!(payload.to, "/persist/eve-update/rootfs.delta");
            let summary = delta::read(&payload.file).unwrap();
            let digests = [&old, &new].map(|image| sha256_of(image).unwrap());
            assert_eq!([summary.old.sha256, summary.new.sha256], digests);
        }
    }

    #[test]
    fn an_answer_without_slots_is_an_error() {
        assert!(!State::parse("id\nstarting\nIMGB\nactive\n1\n").unwrap().is_ready);
        assert!(State::parse("id\nready\n").unwrap_err().to_string().contains("the machine answers `id"));
    }
}
