//! `go-pkg-pseudo-version`: prints the version that Go gives the checked-out commit of a module: its tag, or a pseudo-version by the rules
//! of <https://go.dev/ref/mod#pseudo-versions>.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::error::usage;
use diskimage::recipes::date;
use std::{cmp::Ordering, path::Path};

/// Prints the version of the module whose go.mod is in `folder`, a folder of a git checkout.
pub fn print_pseudo_version(ctx: &Ctx, folder: &Path) -> Result<()> {
    let shown = folder.display();
    if !folder.is_dir() {
        return Err(usage(format!("`{shown}` is not a directory")));
    }
    if !folder.join("go.mod").is_file() {
        return Err(usage(format!("`{shown}/go.mod` does not exist")));
    }
    let git = ctx.git(folder)?;
    let head = git.look_text(["log", "-1", "--abbrev=12", "--format=%h%n%ct"])?;
    let (commit, time) = head.split_once('\n').context("git log printed one line instead of two")?;
    let time: i64 = time.parse().context("git log printed no time")?;
    let here = git.look_text(["tag", "--list", "v*", "--points-at", "HEAD"])?;
    let before = git.look_text(["tag", "--list", "v*", "--merged", "HEAD"])?;
    println!("{}", version(&here, &before, commit, time));
    Ok(())
}

/// A version: three numbers, and the name of a pre-release after a `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Semver<'t> {
    numbers: [u64; 3],
    pre: Option<&'t str>,
}

impl<'t> Semver<'t> {
    fn parse(tag: &'t str) -> Option<Self> {
        let (core, pre) = tag.strip_prefix('v')?.split_once('-').map_or((tag.strip_prefix('v')?, None), |(core, pre)| (core, Some(pre)));
        let mut parts = core.split('.').map(|part| part.parse().ok());
        let numbers = [parts.next()??, parts.next()??, parts.next()??];
        (parts.next().is_none() && !tag.contains('+')).then_some(Self { numbers, pre })
    }

    /// A version is higher than its pre-releases; numbers in pre-release names compare as numbers.
    fn order(&self, other: &Self) -> Ordering {
        let pre = match (self.pre, other.pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => order_names(a, b),
        };
        self.numbers.cmp(&other.numbers).then(pre)
    }
}

fn order_names(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                _ => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn highest(tags: &str) -> Option<(&str, Semver<'_>)> {
    tags.lines().filter_map(|tag| Some((tag, Semver::parse(tag)?))).max_by(|(_, a), (_, b)| a.order(b))
}

fn version(here: &str, before: &str, commit: &str, time: i64) -> String {
    if let Some((tag, _)) = highest(here) {
        return tag.to_owned();
    }
    let second = time.rem_euclid(86400);
    let stamp = format!("{}{:02}{:02}{:02}-{commit}", date(time).replace('-', ""), second / 3600, second % 3600 / 60, second % 60);
    match highest(before) {
        None => format!("v0.0.0-{stamp}"),
        Some((tag, Semver { pre: Some(_), .. })) => format!("{tag}.0.{stamp}"),
        Some((_, Semver { numbers: [major, minor, patch], .. })) => format!("v{major}.{minor}.{}-0.{stamp}", patch + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_go_command() {
        let at = |here: &str, before: &str| version(here, before, "0123456789ab", 1_683_309_279);
        assert_eq!(at("", ""), "v0.0.0-20230505175439-0123456789ab");
        assert_eq!(at("", "v1.2.3\nv1.10.0\nv1.9.9\nvendor\n"), "v1.10.1-0.20230505175439-0123456789ab");
        assert_eq!(at("", "v1.2.3\nv2.0.0-rc.2\nv2.0.0-rc.10"), "v2.0.0-rc.10.0.20230505175439-0123456789ab");
        assert_eq!(at("v2.0.0-rc1\nv2.0.0\nvx", "v2.0.0"), "v2.0.0");
    }
}
