//! `oldimages`: lists docker's images of this tree whose tag is out of date.

use anyhow::Result;
use checkout::context::Ctx;
use child::docker;
use std::collections::{BTreeMap, BTreeSet};

/// Prints the ids of old images on one line, as arguments for `docker rmi`.
pub fn print_old_images(ctx: &Ctx, names: &[String]) -> Result<()> {
    if ctx.globals.dry_run {
        println!("{}", docker::list_command(&ctx.tools, &ctx.tree()?.organizations()?)?);
        return Ok(());
    }
    println!("{}", find_old_images(ctx, names)?.join(" "));
    Ok(())
}

/// The ids of old images: of all, or of those called `names` (`lfedge/eve-pillar`). Keeps the image with its package's current tag, or
/// the newest image if docker does not have that tag.
pub fn find_old_images(ctx: &Ctx, names: &[String]) -> Result<Vec<String>> {
    let tree = ctx.tree()?;
    let images = docker::list_images(&ctx.tools, &tree.organizations()?)?;
    let mut present = BTreeSet::new();
    for package in tree.package_names()? {
        present.insert(tree.package_reference(&package)?);
    }
    Ok(choose(&images, &present, names))
}

/// The ids of old images. `images` are in docker's order, the newest first.
fn choose(images: &[docker::ImageRow], present: &BTreeSet<String>, names: &[String]) -> Vec<String> {
    let mut by_name: BTreeMap<&str, Vec<&docker::ImageRow>> = BTreeMap::new();
    for image in images {
        by_name.entry(&image.repository).or_default().push(image);
    }
    let is_present = |image: &&docker::ImageRow| {
        let reference = format!("{}:{}", image.repository, image.tag);
        present.contains(&reference) || reference.rsplit_once('-').is_some_and(|(plain, _)| present.contains(plain))
    };
    let mut kept = BTreeSet::new();
    for images in by_name.values() {
        let mut current: Vec<&str> = images.iter().copied().filter(is_present).map(|image| image.id.as_str()).collect();
        if current.is_empty() {
            current.extend(images.first().map(|image| image.id.as_str()));
        }
        kept.extend(current);
    }
    let mut old = Vec::new();
    for (name, images) in by_name {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        for image in images {
            // One id may have several names: an image kept under one of them is kept.
            if !kept.contains(image.id.as_str()) && !old.contains(&image.id) {
                old.push(image.id.clone());
            }
        }
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(repository: &str, tag: &str, id: &str) -> docker::ImageRow {
        docker::ImageRow { repository: repository.into(), tag: tag.into(), id: id.into() }
    }

    #[test]
    fn what_is_present_or_alone_stays() {
        let images = [
            image("o/eve", "1", "e1"),
            image("o/eve-a", "new", "a3"),
            image("o/eve-a", "now-amd64", "a2"),
            image("o/eve-a", "now", "a2"),
            image("o/eve-a", "<none>", "a1"),
            image("o/eve-a", "older", "shared"),
            image("o/eve-b", "x", "b2"),
            image("o/eve-b", "y", "b1"),
            image("o/eve-b", "z", "b1"),
            image("o/eve-c", "only", "shared"),
        ];
        let present = BTreeSet::from(["o/eve-a:now".to_owned()]);
        assert_eq!(choose(&images, &present, &[]), ["a3", "a1", "b1"]);
        assert_eq!(choose(&images, &present, &["o/eve".to_owned()]), Vec::<String>::new());
        assert_eq!(choose(&images, &present, &["o/eve-b".to_owned()]), ["b1"]);
        assert!(choose(&[], &present, &[]).is_empty());
    }
}
