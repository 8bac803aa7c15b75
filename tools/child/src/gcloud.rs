//! gcloud: looks for an image in Google's cloud. linuxkit uploads it and starts machines.

use super::{Cmd, Tool, Tools};
use anyhow::{Context as _, Result};

/// The command that lists the image `name`. `project` is linuxkit's option, with one dash.
pub fn list_image(tools: &Tools, project: &str, name: &str) -> Cmd {
    let mut words = vec!["compute".to_owned(), "images".to_owned(), "list".to_owned()];
    words.extend(project.split_whitespace().map(gnu));
    words.push(format!("--filter=name={name}"));
    tools.cmd_unchecked(Tool::Gcloud).step(format!("looking for the image {name}")).args(words)
}

/// `-project` → `--project`.
fn gnu(word: &str) -> String {
    if word.starts_with('-') && !word.starts_with("--") { format!("-{word}") } else { word.to_owned() }
}

/// Whether the cloud has the image `name`.
pub fn has_image(tools: &Tools, project: &str, name: &str) -> Result<bool> {
    let (lines, ended) = list_image(tools, project, name).lines();
    ended.context("cannot ask Google's cloud\nhint: gcloud auth login")?;
    Ok(is_listed(&lines.join("\n")))
}

/// Parses the list: gcloud prints on standard error if it is empty.
fn is_listed(text: &str) -> bool {
    !text.lines().any(|line| line.trim_start().starts_with("Listed 0 items"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_says_so() {
        assert!(!is_listed("Listed 0 items.\n"));
        assert!(!is_listed("WARNING: --filter : operator evaluation is changing\nListed 0 items.\n"));
        let one = "NAME                    PROJECT      FAMILY  DEPRECATED  STATUS\nlive-0-0-0-kvm-amd64  lf-edge-eve                      READY\n";
        assert!(is_listed(one));
    }

    #[test]
    fn linuxkits_option_becomes_gclouds() {
        assert_eq!(gnu("-project"), "--project");
        assert_eq!(gnu("--project=x"), "--project=x");
        assert_eq!(gnu("lf-edge"), "lf-edge");
    }
}
