//! docker: whether a daemon answers, and containers that do one step and go. podman takes the same words.

use super::{Cmd, Output, Tool, Tools};
use anyhow::{Context as _, Result};
use std::{path::Path, time::Duration};

/// The version of the daemon that the client talks to. An error when none answers within 10 s.
pub fn daemon_version(tools: &Tools) -> Result<String> {
    let cmd = tools.cmd(Tool::Docker)?.args(["version", "--format", "{{.Server.Version}}"]).timeout(Duration::from_secs(10));
    cmd.step("asking for its daemon")
        .stdout()
        .context("docker is installed, and no daemon answers it\nhint: start the docker service, or name another daemon with DOCKER_HOST")
}

/// A container that does one step and is removed.
#[must_use = "a container does nothing until its command is run"]
pub struct Step<'s> {
    /// What it does, to stand after "while" in an error.
    pub step: String,
    /// Options of `docker run` before the volumes.
    pub options: &'s [&'s str],
    /// Folders and files of this machine, and where the container sees them.
    pub volumes: &'s [(&'s Path, &'s str)],
    /// The image.
    pub image: &'s str,
    /// The words for its program.
    pub arguments: &'s [&'s str],
}

impl Step<'_> {
    /// The command.
    pub fn command(&self, tools: &Tools, output: &Output) -> Result<Cmd> {
        let mut cmd = tools.cmd(Tool::Docker)?.step(&self.step).arg("run").args(self.options);
        for (outside, inside) in self.volumes {
            let mut volume = outside.as_os_str().to_owned();
            volume.push(":");
            volume.push(inside);
            cmd = cmd.arg("-v").arg(volume);
        }
        Ok(cmd.arg(self.image).args(self.arguments).output(output))
    }
}

/// The command that gives docker the image in the archive `file`.
pub fn load_command(tools: &Tools, image: &str, file: &Path) -> Result<Cmd> {
    Ok(tools.cmd(Tool::Docker)?.step(format!("loading {image}")).arg("load").stdin_file(file))
}

/// The command that removes images by their ids.
pub fn remove_command(tools: &Tools, ids: &[String]) -> Result<Cmd> {
    Ok(tools.cmd(Tool::Docker)?.step("removing old images").args(["rmi", "-f"]).args(ids))
}

/// Removes images without a name.
pub fn prune(tools: &Tools, output: &Output) -> Result<()> {
    tools.cmd(Tool::Docker)?.step("removing dangling images").args(["image", "prune", "-f"]).output(output).run()
}

/// A row of docker's list of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `org/name`.
    pub repository: String,
    /// Its tag; `<none>` when another image has it now.
    pub tag: String,
    /// Its id.
    pub id: String,
}

/// The command that lists the images of these organizations.
pub fn list_command(tools: &Tools, organizations: &[String]) -> Result<Cmd> {
    let cmd = tools.cmd(Tool::Docker)?.step("listing its images");
    let cmd = cmd.args(["image", "ls", "--format", r"{{.Repository}}\t{{.Tag}}\t{{.ID}}"]);
    Ok(organizations.iter().fold(cmd, |cmd, org| cmd.arg("--filter").arg(format!("reference={org}/*"))))
}

/// The images of these organizations, the newest first.
pub fn list_images(tools: &Tools, organizations: &[String]) -> Result<Vec<Image>> {
    parse_images(&list_command(tools, organizations)?.stdout()?)
}

fn parse_images(text: &str) -> Result<Vec<Image>> {
    let image = |line: &str| {
        let mut parts = line.split('\t').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(repository), Some(tag), Some(id)) => Ok(Image { repository, tag, id }),
            _ => anyhow::bail!("docker printed `{line}` in its list of images"),
        }
    };
    text.lines().filter(|line| !line.is_empty()).map(image).collect()
}

/// The command that writes the file `path` of `image` to standard output.
pub fn cat_command(tools: &Tools, image: &str, path: &str) -> Result<Cmd> {
    let cmd = tools.cmd(Tool::Docker)?.step(format!("taking {path} out of {image}"));
    Ok(cmd.args(["run", "--rm", "--entrypoint=cat", image, path]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_images_is_read() {
        let images = parse_images("lfedge/eve-grub\td33f-amd64\t0123456789ab\nlfedge/eve-grub\t<none>\tab\n").expect("read");
        assert_eq!(images[1], Image { repository: "lfedge/eve-grub".into(), tag: "<none>".into(), id: "ab".into() });
        assert!(parse_images("WARNING: x").is_err());
    }
}
