//! `release VERSION=x.y.z[-lts]`: makes the branch x.y (or x.y-stable) from master, sets the server of releases, and tags the version.
//! Checks everything that could fail half-way first.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::git::Git;
use common::error::usage;
use knobs::ReleaseKnobs;

/// The server to which released devices connect.
const SERVER: &str = "zedcloud.zededa.net\n";

/// The branch of a version: `1.2` for 1.2.3, `1.2-stable` for 1.2.3-lts; none if `version` is no version.
fn branch_of(version: &str) -> Option<String> {
    let parts: Vec<&str> = version.splitn(3, '.').collect();
    let [x, y, z] = parts.as_slice() else { return None };
    let number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let (z, lts) = z.strip_suffix("-lts").map_or((*z, false), |z| (z, true));
    (number(x) && number(y) && number(z)).then(|| format!("{x}.{y}{}", if lts { "-stable" } else { "" }))
}

/// `release`.
pub fn run(ctx: &Ctx, knobs: ReleaseKnobs) -> Result<()> {
    let version = knobs.version.as_deref().unwrap_or_default();
    let branch = branch_of(version)
        .ok_or_else(|| usage(format!("VERSION={version}: missing or not of the form x.y.z\nhint: release VERSION=1.2.3, or 1.2.3-lts")))?;
    let git = ctx.git(&ctx.root)?;
    check(&git, version)?;
    let exists = git.finds(["show-ref", "--verify", "--quiet", &format!("refs/heads/{branch}")])?;
    let (message, server) = ("Setting default server to prod", ctx.root.join("conf/server"));
    let tag = [String::from("tag"), "-a".into(), format!("-mRelease {version}"), version.to_owned()];
    if ctx.globals.dry_run {
        println!("git fetch");
        match exists {
            true => println!("git checkout {branch}\ngit merge origin/master"),
            false => println!("git checkout master -b {branch}\ngit commit -s -m '{message}' conf/server"),
        }
        println!("git tag -a '-mRelease {version}' {version}");
        return Ok(());
    }
    git.change("fetching from origin", ["fetch"])?;
    // The fetch may have brought the tag.
    refuse_tag(&git, version)?;
    if !git.look_text(["diff", "--no-ext-diff", "origin/master..master"])?.is_empty() {
        bail!("origin/master is different from master\nhint: bring master up to date first");
    }
    if exists {
        eprintln!("warning: branch {branch} already exists: you may want to run patch instead");
        git.change("checking the branch out", ["checkout", &branch])?;
        git.change("merging master", ["merge", "origin/master"])?;
    } else {
        git.change("making the branch", ["checkout", "master", "-b", &branch])?;
        std::fs::write(&server, SERVER).with_context(|| format!("cannot write `{}`", server.display()))?;
        git.change("committing the server", ["commit", "-s", "-m", message, "conf/server"])?;
    }
    git.change("tagging the release", &tag)?;
    println!("Done tagging {version} release. Check the branch with git log and then run\n  git push origin {branch} {version}");
    Ok(())
}

/// Fails unless master is checked out without changes, and the tag is free.
fn check(git: &Git, version: &str) -> Result<()> {
    let branch = git.look_text(["rev-parse", "--abbrev-ref", "HEAD"])?;
    if branch != "master" {
        return Err(usage(format!("a release starts from master, but {branch} is checked out\nhint: git checkout master")));
    }
    let dirty = git.look_text(["status", "--porcelain", "--untracked-files=no"])?;
    if !dirty.is_empty() {
        return Err(usage(format!("the tree has uncommitted changes:\n{dirty}\nhint: commit or stash them")));
    }
    refuse_tag(git, version)
}

fn refuse_tag(git: &Git, version: &str) -> Result<()> {
    if git.finds(["show-ref", "--verify", "--quiet", &format!("refs/tags/{version}")])? {
        return Err(usage(format!("the tag {version} exists already; nothing was changed")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_a_branch() {
        for (version, branch) in
            [("1.2.3", Some("1.2")), ("1.2.3-lts", Some("1.2-stable")), ("1.2", None), ("", None), ("1.2.x", None), ("1.2.3-rc1", None)]
        {
            assert_eq!(branch_of(version).as_deref(), branch, "{version}");
        }
    }
}
