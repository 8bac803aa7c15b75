//! `pins`: renews the lock files of the Debian archives from the mirror, or moves them to another release, and prints what changed. `--add`
//! puts packages into an archive, and then does what follows: pins, new tags, and a commit if asked to.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Tool, ToolNeed};
use common::{artifact::write_atomically, eprintln, error::usage};
use helpers::sources::debian;
use native::mirrors::{Gpgv, Origins};
use pkgbuild::debian::{IndexSource, Locks, Pinning, Prefer, Store, Trust, Wanted, update_locks, update_sources};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The pins to renew.
#[derive(clap::Args)]
pub struct Pins {
    /// move to this Debian release [default: each architecture keeps its own]
    #[arg(long, value_name = "NAME", conflicts_with = "sources")]
    release: Option<String>,
    /// only for this architecture; may be repeated [default: all that are pinned]
    #[arg(long, value_name = "ARCH")]
    arch: Vec<String>,
    /// also take security updates, which mirrors delete sooner
    #[arg(long)]
    security: bool,
    /// only the pins of the sources, of the present locks
    #[arg(long)]
    sources: bool,
    /// put this package into the archive, for the architectures of --arch, renew the pins, and write the archive's new tag everywhere; may be
    /// repeated
    #[arg(long, value_name = "PACKAGE", conflicts_with_all = ["sources", "release"])]
    add: Vec<String>,
    /// only this archive, a package with a folder `mirrors`; where --add puts packages [default: all; of --add: that of the system]
    #[arg(long, value_name = "NAME", conflicts_with = "sources")]
    archive: Option<String>,
    /// commit what --add changed
    #[arg(long, requires = "add")]
    commit: bool,
}

/// `pins`.
pub fn run(ctx: &Ctx, pins: Pins) -> Result<()> {
    if pins.add.is_empty() { renew_all(ctx, pins) } else { add(ctx, pins) }
}

/// The archives of Debian packages in the tree: that of the system first, then those of compilers. Each is a package with a folder
/// `mirrors`.
fn archives(ctx: &Ctx) -> Result<Vec<String>> {
    let packages = &ctx.profile.packages;
    let first = packages.archive.clone().context("this tree has no archive of Debian packages")?;
    let mut others = Vec::new();
    for entry in std::fs::read_dir(&packages.folder).with_context(|| format!("cannot read `{}`", packages.folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != first && !name.starts_with('.') && entry.path().join("mirrors").is_dir() {
            others.push(name);
        }
    }
    others.sort();
    Ok(std::iter::once(first).chain(others).collect())
}

/// The archive that `--archive` names.
fn chosen(ctx: &Ctx, name: &str) -> Result<String> {
    let all = archives(ctx)?;
    match all.iter().find(|archive| *archive == name) {
        Some(found) => Ok(found.clone()),
        None => Err(usage(format!("`{name}` is no archive of Debian packages\nhint: the archives are {}", all.join(", ")))),
    }
}

/// Adds packages to the lists, and does what follows. After an error the lists and locks are as they were.
fn add(ctx: &Ctx, mut pins: Pins) -> Result<()> {
    let archive = match &pins.archive {
        Some(name) => chosen(ctx, name)?,
        None => archives(ctx)?.swap_remove(0),
    };
    pins.archive = Some(archive.clone());
    let folder = ctx.profile.packages.folder.join(&archive);
    let (names, commit) = (pins.add.clone(), pins.commit);
    let lists = lists_with(&folder, &names, &pins.arch)?;
    if ctx.globals.dry_run {
        for (path, _) in &lists {
            println!("add {} to {}", names.join(", "), common::display::short(path, &ctx.root));
        }
        renew_all(ctx, pins)?;
        println!("write the new tag of pkg/{archive} into every file that names it{}", if commit { ", and commit" } else { "" });
        return Ok(());
    }
    let places = [folder.join("mirrors"), ctx.root.join("sources")];
    let (packages, sources) = (&ctx.profile.packages.folder, &places[1]);
    let status = || -> Result<Vec<u8>> {
        let words = ["--literal-pathspecs", "status", "--porcelain", "--"].map(std::ffi::OsStr::new);
        ctx.git(&ctx.root)?.look(words.into_iter().chain([packages.as_os_str(), sources.as_os_str()]))
    };
    // Files elsewhere that get the new tag: `follow` looks at them.
    if commit && let Some(changed) = String::from_utf8_lossy(&status()?).lines().next() {
        return Err(usage(format!(
            "uncommitted changes would be mixed with the new package: {}\nhint: commit them first; or `cargo xtask pins --add {}` without --commit, and one commit of everything",
            changed.trim(),
            names.join(" ")
        )));
    }
    let before = Snapshot::of(&places)?;
    let done =
        lists.iter().try_for_each(|(path, text)| write_atomically(path, text.as_bytes())).and_then(|()| renew_all(ctx, pins)).and_then(
            |()| {
                let subject = format!("{archive}: {}", names.join(", "));
                super::bump::follow(ctx, &archive, &before.changed(&places)?, commit.then_some(subject.as_str()))
            },
        );
    if done.is_err() {
        before.restore(&places)?;
    }
    done
}

/// The lists of packages of the releases of `arches` (all that are pinned, if empty), with `names` added: path and new text.
fn lists_with(folder: &Path, names: &[String], arches: &[String]) -> Result<Vec<(PathBuf, String)>> {
    for name in names {
        // As the list's own reader sees it: a comment, an empty word or one with an architecture is no name.
        if !Wanted::parse(name, "--add").is_ok_and(|wanted| wanted.names("") == [name.as_str()]) {
            return Err(usage(format!(
                "`{name}` is not the name of a Debian package\nhint: --add bc, and --arch amd64 for one architecture"
            )));
        }
    }
    let pinning = Pinning { folder, arches, release: None, prefer: Prefer::Stable };
    let mut releases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (arch, release) in pinning.releases()? {
        releases.entry(release).or_default().insert(arch);
    }
    let (mut lists, mut added) = (Vec::new(), BTreeSet::new());
    for (release, here) in releases {
        let path = folder.join("mirrors").join(&release).join("packages");
        let mut text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        for name in names {
            let wanted = Wanted::parse(&text, &path.display().to_string())?;
            let lacking: Vec<&str> = here.iter().map(String::as_str).filter(|arch| !wanted.names(arch).contains(&name.as_str())).collect();
            if lacking.is_empty() {
                continue;
            }
            // A line for all architectures serves the next one of this release, too.
            let is_for_all = arches.is_empty() && lacking.len() == here.len();
            let only = if is_for_all { String::new() } else { format!(" [{}]", lacking.join(" ")) };
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            text.push_str(&format!("{end}{name}{only}\n"));
            added.insert(name);
        }
        lists.push((path, text));
    }
    match names.iter().find(|name| !added.contains(name)) {
        Some(name) => Err(usage(format!("`{name}` is in the lists already\nhint: `cargo xtask pins` takes newer versions"))),
        None => Ok(lists),
    }
}

/// The files of some folders as they are.
struct Snapshot(BTreeMap<PathBuf, Vec<u8>>);

impl Snapshot {
    fn of(folders: &[PathBuf]) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in folders.iter().filter(|folder| folder.is_dir()).flat_map(walkdir::WalkDir::new) {
            let entry = entry.context("cannot read the lists of packages")?;
            if entry.file_type().is_file() {
                let bytes = std::fs::read(entry.path()).with_context(|| format!("cannot read `{}`", entry.path().display()))?;
                files.insert(entry.into_path(), bytes);
            }
        }
        Ok(Self(files))
    }

    /// The files that are others now, new or gone.
    fn changed(&self, folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
        let now = Self::of(folders)?;
        let all: BTreeSet<&PathBuf> = self.0.keys().chain(now.0.keys()).collect();
        Ok(all.into_iter().filter(|path| self.0.get(*path) != now.0.get(*path)).cloned().collect())
    }

    /// Makes all files as they were.
    fn restore(&self, folders: &[PathBuf]) -> Result<()> {
        for path in self.changed(folders)? {
            match self.0.get(&path) {
                Some(bytes) => write_atomically(&path, bytes)?,
                None => std::fs::remove_file(&path).with_context(|| format!("cannot delete `{}`", path.display()))?,
            }
        }
        Ok(())
    }
}

/// Renews pins. After an error the locks are as they were.
fn renew_all(ctx: &Ctx, Pins { release, arch, security, sources, add, archive, .. }: Pins) -> Result<()> {
    let folder = |name: &String| ctx.profile.packages.folder.join(name);
    let all: Vec<PathBuf> = archives(ctx)?.iter().map(folder).collect();
    let names = match &archive {
        Some(name) => vec![chosen(ctx, name)?],
        None => archives(ctx)?,
    };
    let prefer = if security { Prefer::Latest } else { Prefer::Stable };
    let mut renewals = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let before = Locks::read(&folder(name))?;
        // Compilers are not there for every architecture that the system is for.
        let is_pinned = |arch: &&String| archive.is_some() || at == 0 || before.arches().any(|known| known == *arch);
        let here: Vec<String> = arch.iter().filter(is_pinned).cloned().collect();
        if !here.is_empty() || arch.is_empty() {
            renewals.push(Renewal { name, folder: folder(name), arches: here, release: release.as_deref(), prefer });
        }
    }
    if !sources {
        renewals = with_lists(ctx, renewals)?;
    }
    let mut releases: BTreeSet<String> = BTreeSet::new();
    for renewal in &renewals {
        let (before, wanted) = (Locks::read(&renewal.folder)?, renewal.pinning().releases()?);
        // A release that an architecture leaves has fewer sources, or none.
        releases.extend(wanted.iter().filter_map(|(arch, _)| before.release_of(arch).ok().map(str::to_owned)));
        releases.extend(wanted.into_iter().map(|(_, release)| release));
    }
    if sources {
        renewals.clear();
    }
    if ctx.globals.dry_run {
        for renewal in &renewals {
            for (arch, release) in renewal.pinning().releases()? {
                println!("renew the lock of pkg/{} for {arch} from Debian's {release}", renewal.name);
            }
        }
        for release in &releases {
            println!("renew {}", debian::sources_lock(&ctx.root, release).display());
        }
        return Ok(());
    }
    for line in renew(ctx, &renewals, &all, &releases)? {
        println!("{line}");
    }
    if !sources && add.is_empty() {
        println!("then: commit, and `cargo xtask bump`");
    }
    Ok(())
}

/// The renewals whose lists of packages are there. Archives without a list of the release to which all move stay where they are; every other
/// missing list is an error, before anything is written.
fn with_lists<'r>(ctx: &Ctx, renewals: Vec<Renewal<'r>>) -> Result<Vec<Renewal<'r>>> {
    let (mut fine, mut lacking) = (Vec::new(), Vec::new());
    for renewal in renewals {
        match renewal.pinning().missing_lists()? {
            lists if lists.is_empty() => fine.push(renewal),
            lists => lacking.extend(lists.into_iter().map(|list| (renewal.release, renewal.name, list))),
        }
    }
    let shown = |list: &Path| common::display::short(list, &ctx.root).to_string();
    if !fine.is_empty() && lacking.iter().all(|(release, ..)| release.is_some()) {
        for (_, name, list) in &lacking {
            eprintln!("note: pkg/{name} keeps its release: there is no list of packages {}", shown(list));
        }
        return Ok(fine);
    }
    match lacking.as_slice() {
        [] => Ok(fine),
        lists => Err(usage(format!(
            "there is no list of packages {}\nhint: copy the list of another release and change the names that have changed",
            lists.iter().map(|(.., list)| shown(list)).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// What is renewed of an archive.
struct Renewal<'a> {
    name: &'a str,
    folder: PathBuf,
    arches: Vec<String>,
    release: Option<&'a str>,
    prefer: Prefer,
}

impl Renewal<'_> {
    fn pinning(&self) -> Pinning<'_> {
        Pinning { folder: &self.folder, arches: &self.arches, release: self.release, prefer: self.prefer }
    }
}

/// Renews locks and the pins of the sources of `releases`; what there is to say. `folders` are all archives.
fn renew(ctx: &Ctx, renewals: &[Renewal<'_>], folders: &[PathBuf], releases: &BTreeSet<String>) -> Result<Vec<String>> {
    if ctx.globals.offline {
        return Err(usage("pins are renewed from a mirror, and --offline forbids the network"));
    }
    super::doctor::ensure(ctx, &[ToolNeed::usual(Tool::Gpgv)])?;
    let origins = Origins::new(&ctx.knobs, &ctx.environment);
    let store = Store::open(&ctx.environment.cache().join("debs"), &origins.network(&ctx.tools))?;
    let mirrors = origins.mirrors()?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let trust = Trust { verifier: &Gpgv { tools: &ctx.tools }, now };
    let from = IndexSource { store: &store, mirrors: &mirrors, trust };
    let places: Vec<PathBuf> = folders.iter().map(|folder| folder.join("mirrors")).chain([ctx.root.join("sources")]).collect();
    let before = Snapshot::of(&places)?;
    let done = renew_locks(renewals, &from).and_then(|mut said| {
        for release in releases {
            said.extend(renew_sources(ctx, folders, release, &from)?);
        }
        Ok(said)
    });
    if done.is_err() {
        before.restore(&places)?;
    }
    done
}

/// Renews the locks of packages.
fn renew_locks(renewals: &[Renewal<'_>], from: &IndexSource<'_>) -> Result<Vec<String>> {
    let pinnings: Vec<Pinning<'_>> = renewals.iter().map(Renewal::pinning).collect();
    let mut said = Vec::new();
    for updated in update_locks(&pinnings, from)? {
        let bytes: u64 = updated.lock.pins.values().map(|pin| pin.size).sum();
        said.push(format!("{}: {} packages, {}", updated.path.display(), updated.lock.pins.len(), common::display::size(bytes)));
        said.extend(updated.replaced.iter().map(|path| format!("  instead of {}, which is deleted", path.display())));
        said.extend(updated.changes.iter().map(|change| format!("  {change}")));
    }
    Ok(said)
}

/// Renews the lock of a release's sources; deletes it if no archive has packages of the release any more.
fn renew_sources(ctx: &Ctx, folders: &[PathBuf], release: &str, from: &IndexSource<'_>) -> Result<Option<String>> {
    let lock = debian::sources_lock(&ctx.root, release);
    let has = folders.iter().map(|folder| Locks::read(folder).map(|locks| locks.has(release))).collect::<Result<Vec<bool>>>()?;
    if has.contains(&true) {
        let (packages, bytes) = update_sources(folders, release, &lock, from)?;
        return Ok(Some(format!("{}: the sources, {packages} packages, {}", lock.display(), common::display::size(bytes))));
    }
    if !lock.exists() {
        return Ok(None);
    }
    std::fs::remove_file(&lock).with_context(|| format!("cannot delete `{}`", lock.display()))?;
    Ok(Some(format!("{}: deleted, {release} has no lock any more", lock.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_added_once_for_each_release_and_undone() {
        let folder = tempfile::tempdir().unwrap();
        let mirrors = folder.path().join("mirrors");
        for (release, arches) in [("bookworm", &["amd64", "arm64"][..]), ("trixie", &["riscv64"])] {
            std::fs::create_dir_all(mirrors.join(release)).unwrap();
            std::fs::write(mirrors.join(release).join("packages"), "kmod\nonly [amd64]\n").unwrap();
            arches.iter().for_each(|arch| std::fs::write(mirrors.join(release).join(format!("{arch}.lock")), "").unwrap());
        }
        let add = |names: &[&str], arches: &[&str]| {
            let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            lists_with(folder.path(), &own(names), &own(arches))
        };
        let texts = |lists: Vec<(PathBuf, String)>| lists.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(add(&["jq"], &[]).unwrap()), ["kmod\nonly [amd64]\njq\n", "kmod\nonly [amd64]\njq\n"]);
        assert_eq!(texts(add(&["jq"], &["amd64", "arm64"]).unwrap()), ["kmod\nonly [amd64]\njq [amd64 arm64]\n"]);
        assert_eq!(texts(add(&["only"], &["arm64"]).unwrap()), ["kmod\nonly [amd64]\nonly [arm64]\n"]);
        // Each architecture once.
        let (all, other) = ("kmod\nonly [amd64]\nonly [arm64]\n", "kmod\nonly [amd64]\nonly\n");
        assert_eq!(texts(add(&["only"], &["amd64", "arm64"]).unwrap()), [all]);
        assert_eq!(texts(add(&["only"], &[]).unwrap()), [all, other]);
        for name in ["", "#x", " jq", "jq #x", "jq [amd64]", "!jq", "a\nb"] {
            let error = add(&[name], &[]).unwrap_err().to_string();
            assert!(error.contains("is not the name of a Debian package"), "{name}: {error}");
        }
        let list = mirrors.join("trixie/packages");
        std::fs::write(&list, "kmod").unwrap();
        assert_eq!(texts(add(&["bc", "jq"], &["riscv64"]).unwrap()), ["kmod\nbc [riscv64]\njq [riscv64]\n"]);
        std::fs::write(&list, "kmod\nonly [amd64]\n").unwrap();
        assert!(add(&["jq", "kmod"], &[]).unwrap_err().to_string().contains("`kmod` is in the lists already"));

        let places = [mirrors.clone()];
        let before = Snapshot::of(&places).unwrap();
        std::fs::write(mirrors.join("trixie/packages"), "other").unwrap();
        std::fs::write(mirrors.join("trixie/amd64.lock"), "new").unwrap();
        std::fs::remove_file(mirrors.join("bookworm/arm64.lock")).unwrap();
        assert_eq!(before.changed(&places).unwrap().len(), 3);
        before.restore(&places).unwrap();
        assert!(before.changed(&places).unwrap().is_empty());
    }
}
