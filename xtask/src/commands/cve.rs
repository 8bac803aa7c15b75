//! `sbom --cve FEED`: looks up the Debian packages of a bill of materials in the JSON of Debian's security tracker.

use super::visible::visible;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{
    artifact::write_named,
    display::short,
    eprintln,
    error::{Ended, usage},
    words,
};
use sbom::{DebianPackage, Exposure, Finding, Listing, Looked, look_up, read_bill, write_vex};
use std::{
    collections::BTreeSet,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

words! {
    /// Which findings end the program with [`FOUND`].
    FailOn { /// None.
        Never = "never", /// Vulnerable versions for which the release has a fixed one.
        Fixed = "fixed", /// These, and those without a fix, unless Debian calls them unimportant.
        Any = "any" }
}

/// What to do with the bill of materials once it is written.
#[derive(clap::Args)]
pub struct Sbom {
    /// look up its Debian packages in FEED, the JSON of Debian's security tracker, and print those that are vulnerable
    #[arg(long, value_name = "FEED")]
    cve: Option<PathBuf>,
    /// with --cve: look at this bill of materials (SPDX 2 in JSON), and build nothing
    #[arg(value_name = "FILE", requires = "cve")]
    file: Option<PathBuf>,
    /// with --cve: the release of Debian that the packages come from; default: that of the package URLs, or of the tree's pins
    #[arg(long, value_name = "NAME", requires = "cve")]
    debian_release: Option<String>,
    /// with --cve: also write what the feed says about every package, fixed ones too, as CycloneDX 1.5 (VEX)
    #[arg(long, value_name = "OUT", requires = "cve")]
    vex: Option<PathBuf>,
    /// with --cve: what ends with exit status 4: never, fixed (a fix is there), any (also without a fix, unless unimportant)
    #[arg(long, value_name = "WORD", default_value = "fixed")]
    fail_on: FailOn,
}

/// The exit status for vulnerable packages; 1 to 3 are those of errors.
const FOUND: u8 = 4;

/// Debian's releases by the number that package URLs have.
const RELEASES: [(&str, &str); 5] = [("10", "buster"), ("11", "bullseye"), ("12", "bookworm"), ("13", "trixie"), ("14", "forky")];

impl Sbom {
    /// Whether packages are looked up.
    pub(super) fn looks_up(&self) -> bool {
        self.cve.is_some()
    }

    /// The bill of materials to look at, if one is named; fails if these words contradict each other.
    pub(super) fn given(&self, ctx: &Ctx) -> Result<Option<PathBuf>> {
        if self.cve.is_some() && self.file.is_none() && ctx.globals.json {
            return Err(usage(
                "--json prints one document, and a build prints its own\nhint: cargo xtask sbom; cargo xtask --json sbom --cve FEED FILE",
            ));
        }
        Ok(self.file.clone())
    }
}

/// With `--cve`: looks up the packages of the bill of materials `file`.
pub(super) fn look(ctx: &Ctx, args: &Sbom, file: &Path) -> Result<()> {
    match &args.cve {
        Some(feed) if !ctx.globals.dry_run => check(ctx, args, feed, file),
        _ => Ok(()),
    }
}

/// Looks up the packages of `file` in `feed`, and prints what is vulnerable.
fn check(ctx: &Ctx, args: &Sbom, feed: &Path, file: &Path) -> Result<()> {
    let shown = short(file, &ctx.root);
    let text = std::fs::read(file).with_context(|| format!("cannot read `{shown}`"))?;
    let listing = read_bill(&text).with_context(|| format!("cannot use `{shown}`"))?;
    if listing.debian.is_empty() {
        return Err(usage(format!("`{shown}` lists no Debian package, and the feed is about no others")));
    }
    let release = match &args.debian_release {
        Some(release) => release.clone(),
        None => release_of(ctx, &listing)?,
    };
    let open = || File::open(feed).with_context(|| format!("cannot read `{}`", feed.display()));
    let looked = look_up(&listing, &release, BufReader::with_capacity(1 << 18, open()?));
    let looked = looked.with_context(|| format!("cannot use the feed `{}`", feed.display()))?;
    let vex = || write_vex(&listing, &release, &looked);
    if let Some(out) = &args.vex {
        write_named(out, &vex()?)?;
    }
    match ctx.globals.json {
        true => print!("{}", String::from_utf8_lossy(&vex()?)),
        false => print(&listing, &release, &looked),
    }
    let due: Vec<&Finding> = looked.findings.iter().filter(|finding| counts(finding, args.fail_on)).collect();
    if due.is_empty() {
        return Ok(());
    }
    let sources: BTreeSet<&str> = due.iter().map(|finding| finding.source.as_str()).collect();
    let names = sources.into_iter().collect::<Vec<_>>().join(", ");
    let (what, hint) = match args.fail_on {
        FailOn::Any => ("", "--fail-on fixed counts those only for which Debian has a fix"),
        _ => (" that Debian has a fix for", "cargo xtask pins --security renews the pins of this tree; cargo xtask bump"),
    };
    let noun = if due.len() == 1 { "vulnerability" } else { "vulnerabilities" };
    eprintln!("error: {} {noun}{what} in `{shown}`: {}\nhint: {hint}", due.len(), visible(&names));
    Err(Ended(FOUND).into())
}

/// Whether a finding is what `--fail-on` names.
fn counts(finding: &Finding, on: FailOn) -> bool {
    match on {
        FailOn::Never => false,
        FailOn::Fixed => finding.is_fixable(),
        FailOn::Any => finding.is_fixable() || (finding.exposure == Exposure::Affected && !finding.is_unimportant()),
    }
}

/// The release that the packages come from: by their URLs, else the one that the tree has pins of for their architecture.
fn release_of(ctx: &Ctx, listing: &Listing) -> Result<String> {
    const HINT: &str = "hint: --debian-release bookworm";
    let numbers: BTreeSet<&str> = listing.debian.iter().filter_map(|package| package.distro.as_deref()).collect();
    let name = |number: &&str| RELEASES.iter().find(|(known, _)| known == number).map(|(_, name)| (*name).to_owned());
    if let Some(unknown) = numbers.iter().find(|number| name(number).is_none()) {
        return Err(usage(format!("a package URL names Debian {}, whose release has no known name\n{HINT}", visible(unknown))));
    }
    let arches: BTreeSet<&str> = listing.debian.iter().map(|package| package.arch.as_str()).filter(|arch| *arch != "all").collect();
    let packages = &ctx.profile.packages;
    let mirrors = packages.archive.as_ref().map(|archive| packages.folder.join(archive).join("mirrors"));
    let folders = mirrors.into_iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().filter_map(Result::ok);
    let pinned = folders.filter(|entry| arches.iter().any(|arch| entry.path().join(format!("{arch}.lock")).is_file()));
    let mut names: Vec<String> = match numbers.is_empty() {
        false => numbers.iter().filter_map(name).collect(),
        true => pinned.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
    };
    names.sort();
    match names.len() {
        1 => Ok(names.swap_remove(0)),
        0 => Err(usage(format!("neither the package URLs nor the tree's pins say which release of Debian the packages come from\n{HINT}"))),
        _ => Err(usage(format!("the packages may come from {}\n{HINT}", names.join(" or ")))),
    }
}

/// One line for each vulnerable source package and vulnerability, and a summary.
fn print(listing: &Listing, release: &str, looked: &Looked) {
    let packages: Vec<&DebianPackage> = listing.debian.iter().collect();
    let row = |finding: &Finding| {
        let names: Vec<&str> = finding.packages.iter().filter_map(|at| packages.get(*at)).map(|package| package.name.as_str()).collect();
        let more = if names.len() > 2 {
            format!(" and {} more", names.len() - 1)
        } else {
            names.get(1).map_or_else(String::new, |name| format!(", {name}"))
        };
        let fixed = finding
            .fixed
            .clone()
            .unwrap_or_else(|| finding.no_update.as_ref().map_or_else(|| "-".to_owned(), |text| format!("- ({text})")));
        let cells =
            [&finding.source, &finding.version, &finding.id, &finding.urgency, &fixed, &format!("{}{more}", names.first().unwrap_or(&""))];
        cells.map(|cell| visible(cell))
    };
    let affected: Vec<&Finding> = looked.findings.iter().filter(|finding| finding.exposure == Exposure::Affected).collect();
    let head = ["PACKAGE", "VERSION", "CVE", "URGENCY", "FIXED IN", "IN THE IMAGE"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(affected.iter().map(|finding| row(finding))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    for row in rows.iter().filter(|_| rows.len() > 1) {
        let line: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        println!("{}", line.trim_end());
    }
    let count = |wanted: Exposure| looked.findings.iter().filter(|finding| finding.exposure == wanted).count();
    let fixable = affected.iter().filter(|finding| finding.is_fixable()).count();
    println!(
        "{}: {} Debian packages of {} source packages, {} of them in the feed, for {release}: {} vulnerabilities, {fixable} with a fix; {} \
         undetermined, {} fixed in this version, {} never there",
        visible(&listing.name),
        listing.debian.len(),
        looked.sources,
        looked.known,
        affected.len(),
        count(Exposure::Undetermined),
        count(Exposure::Fixed),
        count(Exposure::NotAffected),
    );
    if listing.others > 0 {
        println!("({} other packages, such as crates, are not looked up)", listing.others);
    }
}
