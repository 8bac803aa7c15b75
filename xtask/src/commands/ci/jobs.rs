//! The jobs for what is touched: a pure function of the facts. Jobs are in the order in which one machine runs them: what fails fastest
//! first.

use super::{facts::Facts, touched::Touched};
use serde_json::json;
use std::collections::BTreeSet;

/// A command of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A verb of this program.
    Xtask(Vec<String>),
    /// A command of cargo.
    Cargo(Vec<String>),
}

impl Command {
    fn xtask(words: &[&str]) -> Self {
        Self::Xtask(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn cargo(words: &[&str]) -> Self {
        Self::Cargo(words.iter().map(|word| (*word).to_owned()).collect())
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Xtask(words) => write!(f, "cargo xtask {}", words.join(" ")),
            Self::Cargo(words) => write!(f, "cargo {}", words.join(" ")),
        }
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Unique in a plan.
    pub name: String,
    /// Why it is in the plan.
    pub why: String,
    /// Run one after another; the first that fails ends the job.
    pub commands: Vec<Command>,
    /// The architecture of the image that it makes, if it makes one.
    pub arch: Option<String>,
}

impl Job {
    fn new(name: impl Into<String>, why: impl Into<String>, commands: Vec<Command>) -> Self {
        Self { name: name.into(), why: why.into(), commands, arch: None }
    }
}

/// xtask's test programs with tests that build or boot whole images: `test --quick` leaves these tests out.
pub const WHOLE_IMAGES: &[&str] = &["boots", "images", "file_systems", "words", "linuxkit", "new_package", "tutorial"];

/// The jobs.
pub fn plan(facts: &Facts, touched: &Touched) -> Vec<Job> {
    let mut jobs = checks(facts, touched);
    jobs.extend(tests(facts, touched));
    jobs.extend(packages(facts, touched));
    jobs.extend(images(facts, touched));
    jobs
}

/// The checks of sources, which build nothing.
fn checks(facts: &Facts, touched: &Touched) -> Vec<Job> {
    let mut jobs = Vec::new();
    if touched.sources {
        let why = "packages or templates changed";
        jobs.push(Job::new("hashes", why, vec![Command::xtask(&["bump", "--check"])]));
    }
    if touched.sources {
        jobs.push(Job::new("lint", "scripts, Dockerfiles or ymls changed", vec![Command::xtask(&["lint"])]));
    }
    if touched.rust {
        jobs.push(Job::new("fmt", "Rust code changed", vec![Command::cargo(&["fmt", "--all", "--check"])]));
    }
    if facts.has_reference && (touched.crates.contains("xtask") || touched.texts || touched.images) {
        jobs.push(Job::new("reference", "the command line or its pages changed", vec![Command::xtask(&["reference", "--check"])]));
    }
    if !touched.crates.is_empty() {
        let mut words = vec!["clippy", "--release"];
        words.extend(chosen(facts, touched));
        words.extend(["--all-targets", "--", "--deny", "warnings"]);
        jobs.push(Job::new("clippy", crates(touched), vec![Command::cargo(&words)]));
    }
    jobs
}

/// `--package` for each touched crate, or `--workspace`.
fn chosen<'t>(facts: &Facts, touched: &'t Touched) -> Vec<&'t str> {
    if touched.crates.len() == facts.crates.len() {
        return vec!["--workspace"];
    }
    touched.crates.iter().flat_map(|name| ["--package", name]).collect()
}

fn crates(touched: &Touched) -> String {
    match touched.crates.len() {
        1 => "1 crate".to_owned(),
        count => format!("{count} crates"),
    }
}

fn tests(facts: &Facts, touched: &Touched) -> Vec<Job> {
    let mut jobs = Vec::new();
    if !touched.crates.is_empty() {
        let mut words = vec!["test", "--quick"];
        let chosen = chosen(facts, touched);
        words.extend(chosen.iter().filter(|word| **word != "--workspace"));
        jobs.push(Job::new("test", crates(touched), vec![Command::xtask(&words)]));
    }
    let whole = touched.crates.contains("xtask");
    if !facts.crates.is_empty() && !whole && (touched.texts || touched.sources) {
        let mut words = vec!["test", "--release", "--package", "xtask", "--test", "house"];
        words.extend(touched.sources.then_some(["--test", "guest_scripts", "--test", "guest_slots"]).into_iter().flatten());
        let why = if touched.sources { "packages or templates changed" } else { "pages changed" };
        jobs.push(Job::new("house", why, vec![Command::cargo(&words)]));
    }
    if touched.crates.contains("eve-tools") || facts.crates.contains_key("eve-tools") && makes_tools(facts, touched) {
        // `test --quick` leaves it out.
        let words = ["test", "--package", "eve-tools", "--test", "docker"];
        jobs.push(Job::new("tool-images", "the program of the tool images or their packages changed", vec![Command::xtask(&words)]));
    }
    if facts.has_pillar && touched.packages.contains("pillar") {
        jobs.push(Job::new("test-pillar", "pkg/pillar changed", vec![Command::xtask(&["test-pillar"])]));
    }
    jobs
}

/// Whether a package with the program of the tool images is touched.
fn makes_tools(facts: &Facts, touched: &Touched) -> bool {
    let is_tool = |name: &String| facts.packages.get(name).is_some_and(|package| package.programs.contains("eve-tools"));
    touched.packages.iter().any(is_tool)
}

/// The packages of each architecture that get another image.
fn packages(facts: &Facts, touched: &Touched) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (arch, all) in &facts.bulk {
        let names: BTreeSet<&str> = all.iter().filter(|name| touched.packages.contains(*name)).map(String::as_str).collect();
        if names.is_empty() {
            continue;
        }
        let words = if names.len() == all.len() {
            vec!["pkgs", "--zarch", arch]
        } else {
            ["pkg"].into_iter().chain(names.iter().copied()).chain(["--zarch", arch]).collect()
        };
        let why = if names.len() == 1 { "1 package".to_owned() } else { format!("{} packages", names.len()) };
        let mut job = Job::new(format!("packages-{arch}"), why, vec![Command::xtask(&words)]);
        job.arch = Some(arch.clone());
        jobs.push(job);
    }
    jobs
}

/// Each architecture's and hypervisor's disk and bill of materials.
fn images(facts: &Facts, touched: &Touched) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut boots = None;
    for image in &facts.images {
        let changed: Vec<&str> = image.packages.iter().filter(|name| touched.packages.contains(*name)).map(String::as_str).collect();
        if !touched.images && changed.is_empty() {
            continue;
        }
        let why = match (touched.images, changed.as_slice()) {
            (true, _) => "what every image is made from changed".to_owned(),
            (false, [one]) => format!("it contains pkg/{one}"),
            (false, names) => format!("it contains pkg/{} and {} more", names[0], names.len() - 1),
        };
        let command = |verb: &str| Command::xtask(&[verb, "--hv", &image.hv, "--zarch", &image.arch]);
        let mut job = Job::new(format!("image-{}-{}", image.arch, image.hv), why.clone(), vec![command("live"), command("sbom")]);
        job.arch = Some(image.arch.clone());
        jobs.push(job);
        if image.arch == facts.host {
            boots.get_or_insert(why);
        }
    }
    if let Some(why) = boots.filter(|_| !facts.crates.is_empty()) {
        let programs = WHOLE_IMAGES.iter().flat_map(|name| ["--test", name]);
        let words: Vec<&str> = ["test", "--package", "xtask"].into_iter().chain(programs).collect();
        jobs.push(Job::new("boots", why, vec![Command::xtask(&words)]));
    }
    jobs
}

/// The plan for a person.
pub fn text(jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return "nothing to check\n".to_owned();
    }
    let width = jobs.iter().map(|job| job.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for job in jobs {
        text.push_str(&format!("{:<width$}  {}\n", job.name, job.why));
        job.commands.iter().for_each(|command| text.push_str(&format!("{:<width$}    {command}\n", "")));
    }
    text
}

/// The plan as a matrix of GitHub Actions: the name of each job, and the runner for it. Packages of arm64 contain programs that only such
/// a machine compiles.
pub fn matrix(jobs: &[Job]) -> String {
    let row = |job: &Job| {
        let runner = if job.arch.as_deref() == Some("arm64") { "ubuntu-24.04-arm" } else { "ubuntu-24.04" };
        json!({"job": job.name, "runner": runner})
    };
    json!({"include": jobs.iter().map(row).collect::<Vec<_>>()}).to_string()
}
