//! `dev` puts changed packages into a machine that runs: it builds them, sends the files that differ, and starts their services again. The
//! changes last until the machine's next boot. `watch` does it whenever a file is saved. The machine's side is eve-dev (pkg/dom0-ztools).

use super::reach::{Reached, advise, advise_shared};
use crate::commands::{build, new::service_entry};
use anyhow::{Context as _, Result, bail};
use checkout::{Checkout, context::Ctx};
use child::{Cmd, Failure, Running, interrupt, process::Pipes};
use common::{display::short, error::usage};
use compose::{Yml, image_references};
use filetree::{Change, EntryKind, Kind, TarWriter, Tree, differences};
use knobs::KeyKnobs;
use oci::{Cache, Config, Image, expand_reference, names};
use plan::{Composed, Facts as _, Goal, PackageWork};
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use vm::Machines;

/// The folders of a tree whose changes `watch` sees.
const WATCHED: [&str; 2] = ["pkg", "images"];
/// Time between two looks at them.
const EVERY: Duration = Duration::from_millis(200);
/// The longest wait for a service that starts again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to put into which machine.
#[derive(clap::Args, Clone)]
pub struct Dev {
    /// packages: folders below pkg/ [default: all that the machine has in another state]
    #[arg(value_name = "PKG", num_args = 0..)]
    packages: Vec<String>,
    /// name of the machine [default: the only one that runs]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    key: KeyKnobs,
}

/// `dev`. Without a machine it builds the live image in the folder `dev`, compressed as fast as possible.
pub fn run(ctx: &Ctx, dev: Dev) -> Result<()> {
    if dev.name.is_none() && Machines::at(ctx.dist().machines()).running()?.is_empty() {
        build::build(ctx, &Goal::Live(ctx.knobs.image.image_format))?;
        eprintln!("no machine runs\nnext: cargo xtask run --background --until EVE-READY, and cargo xtask dev again after a change");
        return Ok(());
    }
    put(ctx, &dev)
}

/// `watch`: `dev` now, and after every change below pkg/ and images/, until Ctrl-C.
pub fn watch(ctx: &Ctx, dev: Dev) -> Result<()> {
    let mut seen = None;
    while !interrupt::is_interrupted() {
        let now = signature(ctx);
        if seen.as_ref() != Some(&now) {
            // An editor may still be writing: wait until nothing changes.
            if seen.is_some() && settle(ctx, now) {
                continue;
            }
            seen = Some(signature(ctx));
            if let Err(error) = run(ctx, dev.clone()) {
                eprint!("{}", common::error::render(&error));
            }
            eprintln!("watching {}; Ctrl-C ends it", WATCHED.join("/ and ") + "/");
        }
        thread::sleep(EVERY);
    }
    Ok(())
}

/// Whether the files still change.
fn settle(ctx: &Ctx, now: Vec<(PathBuf, u64, i64, i64, u32)>) -> bool {
    thread::sleep(EVERY);
    signature(ctx) != now
}

/// Name, size, time and permissions of every file that `watch` sees.
fn signature(ctx: &Ctx) -> Vec<(PathBuf, u64, i64, i64, u32)> {
    let files = WATCHED.iter().flat_map(|folder| walkdir::WalkDir::new(ctx.root.join(folder)).sort_by_file_name());
    let files = files.filter_map(|entry| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok()?;
        // An editor's own files.
        let name = entry.file_name().to_string_lossy();
        let is_scratch = name.ends_with('~') || name.starts_with(".#") || name.ends_with(".swp") || name == "4913";
        let (size, seconds, nanoseconds) =
            if metadata.is_dir() { (0, 0, 0) } else { (metadata.len(), metadata.mtime(), metadata.mtime_nsec()) };
        (!is_scratch).then(|| (entry.path().to_owned(), size, seconds, nanoseconds, metadata.mode()))
    });
    files.collect()
}

/// A container whose image is another one in the tree than in the machine.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    /// The package.
    package: String,
    /// The container's place in the yml: `services[2] debug`, `init[0]`.
    place: String,
    /// The image that the machine runs.
    old: String,
    /// The image of the tree.
    new: String,
}

impl Due {
    /// The service's name; none for what is no service.
    fn service(&self) -> Option<&str> {
        service_of(&self.place)
    }

    /// Why this needs a new image.
    fn why_not(&self) -> &'static str {
        match self.place.split('[').next().unwrap_or_default() {
            "onboot" => "it runs only while the machine boots",
            "onshutdown" => "it runs only while the machine stops",
            "kernel" => "it is the kernel",
            _ => "it is in the root file system itself, which is read-only",
        }
    }
}

/// Brings the machine up to date as far as that goes without a boot.
fn put(ctx: &Ctx, dev: &Dev) -> Result<()> {
    let reached = Reached::find(ctx, dev.name.as_deref(), &dev.key)?;
    reached.check_arch(ctx, "dev")?;
    let tree = ctx.tree()?;
    // The login takes as long as the plan and the build, so they run at the same time.
    let mut connection = Connection::open(ctx, &reached)?;
    let (yml, template, packages) = tree.yml(Composed::Rootfs)?;
    let yml = Yml::parse(&yml, &template.display().to_string())?;
    let wanted = Wanted::of(&tree, &yml, &packages)?;
    let named = named(ctx, &dev.packages, &packages)?;
    let ahead = if ctx.globals.dry_run { vec![] } else { wanted.services(&named) };
    build_packages(ctx, &ahead)?;
    let due = chosen(wanted.due(&connection.answer()?, &reached)?, &named);
    if due.is_empty() {
        // What was named has its own line.
        if named.is_empty() {
            eprintln!("the machine runs what the tree has");
        }
        return Ok(());
    }
    let (services, others): (Vec<&Due>, Vec<&Due>) = due.iter().partition(|due| due.service().is_some());
    build_packages(ctx, &services.iter().map(|due| due.package.clone()).filter(|package| !ahead.contains(package)).collect::<Vec<_>>())?;
    if ctx.globals.dry_run {
        return Ok(());
    }
    let mut needs: Vec<(&str, &str)> = others.iter().map(|due| (due.package.as_str(), due.why_not())).collect();
    let cache = Cache::open(&ctx.environment.linuxkit_cache())?;
    for due in services {
        if let Some(why) = replace(ctx, &connection, &cache, due)? {
            needs.push((&due.package, why));
        }
    }
    for (package, why) in &needs {
        eprintln!("pkg/{package} needs a new image: {why}");
    }
    if !needs.is_empty() {
        eprintln!("next: {}", reached.next_image());
    }
    Ok(())
}

/// A connection to the machine that all of a `dev` shares: without KVM a login takes most of a second.
struct Connection<'r> {
    reached: &'r Reached,
    socket: PathBuf,
    _folder: TempDir,
    /// The ssh that holds it, and its standard input, which ends it.
    holder: (Running, Pipes),
}

impl<'r> Connection<'r> {
    /// Starts to open it, and asks which images the machine runs now.
    fn open(ctx: &Ctx, reached: &'r Reached) -> Result<Self> {
        // Not in dist/: the path of a socket has at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("eve-dev-").tempdir().context("cannot make a temporary folder")?;
        let socket = folder.path().join("ssh");
        let command = format!("eve dev && echo '{END}' && exec cat > /dev/null");
        let holder = reached.login(ctx).run_and_share(&ctx.tools, &socket, &command).spawn_console()?;
        Ok(Self { reached, socket, _folder: folder, holder })
    }

    /// Waits for the answer: the images that the machine runs now, by their place in its yml.
    fn answer(&mut self) -> Result<BTreeMap<String, String>> {
        let (running, pipes) = &mut self.holder;
        let (mut text, mut is_whole) = (String::new(), false);
        for line in BufReader::new(&mut pipes.output).lines() {
            let line = line.context("cannot read the machine's answer")?;
            is_whole = line == END;
            if is_whole {
                break;
            }
            text.push_str(&line);
            text.push('\n');
        }
        if !is_whole {
            running.wait_at_most(PATIENCE).map_err(advise_shared)?;
            bail!("the machine's answer to `eve dev` has no end");
        }
        read_answer(&text)
    }

    /// The command that runs `command` in the machine.
    fn run(&self, ctx: &Ctx, command: &str) -> Cmd {
        self.reached.login(ctx).run_shared(&ctx.tools, &self.socket, command)
    }
}

/// The line after the machine's answer.
const END: &str = "# end";

/// The images that the machine runs now, by their place in its yml, over a connection of its own.
fn ask(ctx: &Ctx, reached: &Reached) -> Result<BTreeMap<String, String>> {
    let text = reached.login(ctx).run(&ctx.tools, "eve dev").timeout(PATIENCE).stdout().map_err(advise)?;
    read_answer(&text)
}

/// Reads the answer of `eve dev`: the image's yml, then a comment for each service that was replaced since the boot: `# NAME IMAGE`.
fn read_answer(text: &str) -> Result<BTreeMap<String, String>> {
    let yml = Yml::parse(text, "the machine's yml").context(
        "the machine does not say what it runs\nhint: its image is older than `dev`; make a new one and run that: cargo xtask live",
    )?;
    let mut images: BTreeMap<String, String> = image_references(&yml).into_iter().map(|one| (one.place, one.image)).collect();
    for (name, image) in text.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(' ')) {
        let is_it = |place: &&String| place.starts_with("services[") && place.ends_with(&format!("] {name}"));
        if let Some(place) = images.keys().find(is_it).cloned() {
            images.insert(place, image.to_owned());
        }
    }
    Ok(images)
}

/// What the tree wants the machine to run.
struct Wanted {
    /// Place in the yml and image of each container.
    images: Vec<(String, String)>,
    /// The package of each image.
    packages: BTreeMap<String, String>,
}

impl Wanted {
    fn of(tree: &Checkout, yml: &Yml, packages: &[String]) -> Result<Self> {
        let images = image_references(yml).into_iter().map(|one| (one.place, expand_reference(&one.image))).collect();
        let names = packages.iter().map(|package| Ok((expand_reference(&tree.package_reference(package)?), package.clone())));
        Ok(Self { images, packages: names.collect::<Result<_>>()? })
    }

    /// The package that makes `image`, whose name may end with an architecture.
    fn package(&self, image: &str) -> Option<&String> {
        self.packages.get(image).or_else(|| self.packages.get(image.rsplit_once('-')?.0))
    }

    /// Those of the packages `named` that are services.
    fn services(&self, named: &[String]) -> Vec<String> {
        let services = self.images.iter().filter(|(place, _)| service_of(place).is_some());
        let packages = services.filter_map(|(_, image)| self.package(image)).filter(|package| named.contains(package));
        packages.cloned().collect()
    }

    /// What differs from the images that the machine runs.
    fn due(&self, running: &BTreeMap<String, String>, reached: &Reached) -> Result<Vec<Due>> {
        if self.images.len() != running.len() || self.images.iter().any(|(place, _)| !running.contains_key(place)) {
            return Err(usage(format!(
                "the machine has other containers than images/rootfs.yml.in names now\nhint: it needs a new image: {}",
                reached.next_image()
            )));
        }
        let differ = self.images.iter().filter(|(place, new)| expand_reference(&running[place]) != *new);
        let due = differ.map(|(place, new)| {
            let package = self.package(new).cloned().with_context(|| format!("no package of the tree has the image {new}"))?;
            Ok(Due { package, place: place.clone(), old: expand_reference(&running[place]), new: new.clone() })
        });
        due.collect()
    }
}

/// The name of the service that has this place in a yml; none for what is no service.
fn service_of(place: &str) -> Option<&str> {
    place.strip_prefix("services[")?.split_once("] ").map(|(_, name)| name)
}

fn build_packages(ctx: &Ctx, packages: &[String]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    build::build(ctx, &Goal::Packages(packages.to_vec(), PackageWork::Build))
}

/// The packages that a person named, without `pkg/`. All must be in the image.
fn named(ctx: &Ctx, words: &[String], packages: &[String]) -> Result<Vec<String>> {
    let named: Vec<String> = words.iter().map(|name| name.strip_prefix("pkg/").unwrap_or(name).trim_end_matches('/').to_owned()).collect();
    for name in &named {
        if !packages.contains(name) {
            if ctx.profile.packages.folder.join(name).is_dir() {
                let (line, template) = (service_entry(name), short(&ctx.profile.templates.rootfs, &ctx.root));
                return Err(usage(format!(
                    "pkg/{name} is not in the image\nhint: the line `{line}` in the list `services` of {template} puts it there (or its word \
                     into `onboot` or `init`), and then the machine needs a new image"
                )));
            }
            let hint = common::error::did_you_mean(name, packages.iter().map(String::as_str));
            let hint =
                hint.map_or_else(|| format!("packages of the image: {}", packages.join(", ")), |word| format!("did you mean `{word}`?"));
            return Err(usage(format!("pkg/{name} is not in the image\nhint: {hint}")));
        }
    }
    Ok(named)
}

/// Those of the packages `named`; all if none is named.
fn chosen(due: Vec<Due>, named: &[String]) -> Vec<Due> {
    for name in named {
        if !due.iter().any(|due| due.package == *name) {
            eprintln!("pkg/{name}: the machine runs what the tree has");
        }
    }
    due.into_iter().filter(|due| named.is_empty() || named.contains(&due.package)).collect()
}

/// Puts the new image's files into the service's container and waits until it runs again. Why that cannot be, if it cannot.
fn replace(ctx: &Ctx, connection: &Connection<'_>, cache: &Cache, due: &Due) -> Result<Option<&'static str>> {
    let since = Instant::now();
    let service = due.service().context("only services are replaced")?;
    let arch = ctx.knobs.image.arch.as_str();
    let find = |reference: &str| cache.find(reference, arch).with_context(|| format!("cannot read the image {reference}"));
    let new = find(&due.new)?.with_context(|| format!("the cache has no image {}, which was just built", due.new))?;
    let old = find(&due.old)?;
    if old.as_ref().is_some_and(|old| !has_same_container(&old.config, &new.config)) {
        return Ok(Some("its command, environment or build.yml changed"));
    }
    // Without the old image all files are sent, and none is removed.
    let old_tree = old.as_ref().map(Image::tree).transpose()?.unwrap_or_default();
    let new_tree = new.tree()?;
    let changes = Changes::between(&old_tree, &new_tree)?;
    let mut tar = tempfile::Builder::new().prefix("dev-").tempfile_in(spool(ctx)?).context("cannot make a temporary file")?;
    tar.write_all(&changes.tar).context("cannot write a temporary file")?;
    let mut command = format!("eve dev {service} {}", due.new);
    for path in &changes.removed {
        command.push(' ');
        command.push_str(&child::cmd::quote(path.as_ref()));
    }
    let sent = connection.run(ctx, &command).stdin_file(tar.path()).timeout(PATIENCE).stdout();
    match sent {
        Ok(_) => {}
        // The service may be the ssh server itself.
        Err(error) if has_lost_connection(&error) => wait_for(ctx, connection.reached, due)?,
        Err(error) => match error.downcast::<Failure>() {
            Ok(failure) if failure.said("is read-only") => return Ok(Some("its container is read-only")),
            Ok(failure) => return Err(connection.reached.no_service(service, &failure)),
            Err(error) => return Err(error),
        },
    }
    let count = changes.changed + changes.removed.len();
    let files = if count == 1 { "file" } else { "files" };
    println!("{service}: {count} {files} replaced, runs again ({:.1} s)", since.elapsed().as_secs_f32());
    Ok(None)
}

/// The folder of temporary files.
fn spool(ctx: &Ctx) -> Result<PathBuf> {
    let spool = ctx.dist().spool();
    std::fs::create_dir_all(&spool).with_context(|| format!("cannot make the folder {}", spool.display()))?;
    Ok(spool)
}

/// ssh's exit status when its connection ends.
fn has_lost_connection(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.exit == child::Exit::Status(255))
}

/// Waits until the machine says that it runs the new image.
fn wait_for(ctx: &Ctx, reached: &Reached, due: &Due) -> Result<()> {
    let since = Instant::now();
    loop {
        if ask(ctx, reached).is_ok_and(|running| running.get(&due.place).is_some_and(|image| expand_reference(image) == due.new)) {
            return Ok(());
        }
        if since.elapsed() > PATIENCE || interrupt::is_interrupted() {
            bail!(
                "the machine does not answer since its ssh server was replaced\nhint: cargo xtask console shows why; a reboot undoes the change"
            );
        }
        thread::sleep(EVERY);
    }
}

/// Whether both images make the same container of other files.
fn has_same_container(old: &Config, new: &Config) -> bool {
    let relevant = |config: &Config| {
        let spec = config.labels.get(names::LABEL_CONFIG).cloned();
        (config.user.clone(), config.env.clone(), config.entrypoint.clone(), config.cmd.clone(), config.working_dir.clone(), spec)
    };
    relevant(old) == relevant(new)
}

/// What is sent to the machine.
struct Changes {
    /// New and changed files, a tar.
    tar: Vec<u8>,
    /// Number of files in it, folders apart.
    changed: usize,
    /// What is gone, relative to the container's root.
    removed: Vec<String>,
}

impl Changes {
    fn between(old: &Tree, new: &Tree) -> Result<Self> {
        let mut writer = TarWriter::new(Vec::new());
        let (mut changed, mut removed) = (0, Vec::new());
        for difference in differences(old, new)? {
            let node = match difference.change {
                Change::Removed(_) => {
                    removed.push(String::from_utf8_lossy(&difference.path).into_owned());
                    continue;
                }
                Change::Added(node) => node,
                Change::Changed(was, node) => {
                    // tar does not replace a folder by a file.
                    if was.children().is_some() != node.children().is_some() {
                        removed.push(String::from_utf8_lossy(&difference.path).into_owned());
                    }
                    node
                }
            };
            let kind = match &node.kind {
                Kind::Dir(_) => Kind::Dir(BTreeMap::new()),
                other => other.clone(),
            };
            changed += usize::from(node.children().is_none());
            if !difference.path.is_empty() {
                writer.append(&difference.path, &node.meta, &EntryKind::Node(kind), &[])?;
            }
        }
        Ok(Self { tar: writer.finish()?, changed, removed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use filetree::{Content, Node};

    #[test]
    fn what_was_replaced_since_the_boot_counts() {
        let yml = "init:\n- docker.io/lfedge/eve-init:1\nservices:\n- name: debug\n  image: docker.io/lfedge/eve-debug:1\n";
        let answer = read_answer(&format!("{yml}# debug lfedge/eve-debug:2\n# gone lfedge/eve-gone:3\n")).expect("answer");
        assert_eq!(answer["init[0]"], "docker.io/lfedge/eve-init:1");
        assert_eq!(answer["services[0] debug"], "lfedge/eve-debug:2");
        assert_eq!(answer.len(), 2);
        assert!(format!("{:#}", read_answer("eve status   how the machine is").expect_err("no yml")).contains("older than `dev`"));
    }

    #[test]
    fn only_what_differs_is_sent() {
        let file = |text: &str| Node::file(0o755, 0, Content::from(text));
        let (mut old, mut new) = (Tree::new(), Tree::new());
        for (tree, text) in [(&mut old, "one"), (&mut new, "two")] {
            tree.insert("bin/same", file("same")).expect("insert");
            tree.insert("run.sh", file(text)).expect("insert");
        }
        old.insert("bin/gone", file("x")).expect("insert");
        old.insert("was/a/folder", file("x")).expect("insert");
        new.insert("was", file("file")).expect("insert");
        let changes = Changes::between(&old, &new).expect("changes");
        assert_eq!(changes.removed, ["bin/gone", "was"]);
        assert_eq!(changes.changed, 2);
        let content = Content::from(changes.tar);
        let entries = filetree::read_tar_content(&content).expect("tar");
        let paths: Vec<_> = entries.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned()).collect();
        assert_eq!(paths, ["run.sh", "was"]);
    }

    #[test]
    fn what_is_no_service_says_why_it_needs_an_image() {
        let due = |place: &str| Due { package: "p".into(), place: place.into(), old: "a".into(), new: "b".into() };
        assert_eq!(due("services[12] debug").service(), Some("debug"));
        assert_eq!(due("init[0]").service(), None);
        assert!(due("init[0]").why_not().contains("read-only") && due("onboot[3] x").why_not().contains("boots"));
    }
}
