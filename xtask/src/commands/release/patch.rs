//! `patch`: tags the next patch release on a release branch.

use anyhow::Result;
use checkout::context::Ctx;
use common::error::usage;

/// The tag that follows `describe` (the output of `git describe`) on `branch`. Fails if this is no release branch, or if it has no commit
/// since its last tag.
fn next(branch: &str, describe: &str) -> Result<String> {
    let (plain, lts) = branch.strip_suffix("-stable").map_or((branch, false), |plain| (plain, true));
    let number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if !plain.split_once('.').is_some_and(|(x, y)| number(x) && number(y)) {
        return Err(usage(format!("a patch needs a release branch X.Y or X.Y-stable, but {branch} is checked out")));
    }
    let since = describe.strip_prefix(&format!("{plain}.")).and_then(|rest| rest.split_once('-'));
    match since {
        // `3-lts` alone is the tag itself, without commits since.
        Some((z, rest)) if number(z) && rest != "lts" => {
            let z: u64 = z.parse()?;
            Ok(format!("{plain}.{}{}", z + 1, if lts { "-lts" } else { "" }))
        }
        _ => Err(usage(format!("nothing to patch: {branch} is at {describe}\nhint: a patch release needs commits after a tag {plain}.Z"))),
    }
}

/// `patch`.
pub fn run(ctx: &Ctx) -> Result<()> {
    let git = ctx.git(&ctx.root)?;
    let branch = git.look_text(["rev-parse", "--abbrev-ref", "HEAD"])?;
    let tag = next(&branch, &git.look_text(["describe", "--abbrev=8", "--always", "--tags"])?)?;
    let message = format!("-mRelease {tag}");
    if ctx.globals.dry_run {
        println!("git tag -a '{message}' {tag}");
        return Ok(());
    }
    git.change("tagging the patch release", ["tag", "-a", &message, &tag])?;
    println!("Done tagging {tag} patch release. Check the branch with git log and then run\n  git push origin {branch} {tag}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_patch_follows_the_last_tag_of_the_branch() {
        assert_eq!(next("1.2", "1.2.3-1-g12345678").expect("a patch"), "1.2.4");
        assert_eq!(next("1.2-stable", "1.2.3-lts-4-g12345678").expect("a patch"), "1.2.4-lts");
        let error = next("master", "1.2.3-1-g1").expect_err("no release").to_string();
        assert_eq!(error, "a patch needs a release branch X.Y or X.Y-stable, but master is checked out");
        for (branch, describe) in [("1.2", "1.2.3"), ("1.2-stable", "1.2.3-lts"), ("1.2", "12345678"), ("1.2", "1.3.0-1-g1")] {
            let error = next(branch, describe).expect_err("nothing").to_string();
            let expected = format!("nothing to patch: {branch} is at {describe}\nhint: a patch release needs commits after a tag 1.2.Z");
            assert_eq!(error, expected);
        }
    }
}
