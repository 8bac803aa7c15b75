//! docker, or podman with the same arguments: the daemon's version, containers that do one step, and images.

use super::{Cmd, Output, Tool, Tools};
use anyhow::{Context as _, Result};
use std::{path::Path, time::Duration};

/// The version of docker's daemon. An error if none answers within 10 s.
pub fn daemon_version(tools: &Tools) -> Result<String> {
    let cmd = docker(tools, "asking for its daemon")?.args(["version", "--format", "{{.Server.Version}}"]);
    cmd.timeout(Duration::from_secs(10))
        .stdout()
        .context("docker is installed, but no daemon answers\nhint: start the docker service, or name another daemon with DOCKER_HOST")
}

fn docker(tools: &Tools, step: impl Into<String>) -> Result<Cmd> {
    Ok(tools.cmd(Tool::Docker)?.step(step))
}

/// A container that does one step.
#[must_use = "a container does nothing until its command is run"]
pub struct ContainerStep<'s> {
    /// What it does; errors print it after "while".
    pub step: String,
    /// Options of `docker run` before the volumes.
    pub options: &'s [&'s str],
    /// Paths of this machine, and where the container sees them.
    pub volumes: &'s [(&'s Path, &'s str)],
    /// The image.
    pub image: &'s str,
    /// The arguments of its program.
    pub arguments: &'s [&'s str],
}

impl ContainerStep<'_> {
    /// The `docker run` command.
    pub fn command(&self, tools: &Tools, output: &Output) -> Result<Cmd> {
        let mut cmd = docker(tools, &self.step)?.arg("run").args(self.options);
        for (outside, inside) in self.volumes {
            let mut volume = outside.as_os_str().to_owned();
            volume.push(":");
            volume.push(inside);
            cmd = cmd.arg("-v").arg(volume);
        }
        Ok(cmd.arg(self.image).args(self.arguments).output(output))
    }
}

/// The command that loads the image in the archive `file` into docker.
pub fn load_command(tools: &Tools, image: &str, file: &Path) -> Result<Cmd> {
    Ok(docker(tools, format!("loading {image}"))?.arg("load").stdin_file(file))
}

/// The command that removes images by their ids.
pub fn remove_command(tools: &Tools, ids: &[String]) -> Result<Cmd> {
    Ok(docker(tools, "removing old images")?.args(["rmi", "-f"]).args(ids))
}

/// Removes dangling images.
pub fn prune(tools: &Tools, output: &Output) -> Result<()> {
    docker(tools, "removing dangling images")?.args(["image", "prune", "-f"]).output(output).run()
}

/// A row of docker's list of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRow {
    /// `org/name`.
    pub repository: String,
    /// Its tag; `<none>` if another image has the tag now.
    pub tag: String,
    /// Its id.
    pub id: String,
}

/// The command that lists the images of these organizations.
pub fn list_command(tools: &Tools, organizations: &[String]) -> Result<Cmd> {
    let cmd = docker(tools, "listing its images")?.args(["image", "ls", "--format", r"{{.Repository}}\t{{.Tag}}\t{{.ID}}"]);
    Ok(organizations.iter().fold(cmd, |cmd, org| cmd.arg("--filter").arg(format!("reference={org}/*"))))
}

/// The images of these organizations, the newest first.
pub fn list_images(tools: &Tools, organizations: &[String]) -> Result<Vec<ImageRow>> {
    parse_images(&list_command(tools, organizations)?.stdout()?)
}

fn parse_images(text: &str) -> Result<Vec<ImageRow>> {
    let image = |line: &str| {
        let mut parts = line.split('\t').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(repository), Some(tag), Some(id)) => Ok(ImageRow { repository, tag, id }),
            _ => anyhow::bail!("docker printed `{line}` in its list of images"),
        }
    };
    text.lines().filter(|line| !line.is_empty()).map(image).collect()
}

/// The command that writes the file `path` of `image` to standard output.
pub fn cat_command(tools: &Tools, image: &str, path: &str) -> Result<Cmd> {
    Ok(docker(tools, format!("taking {path} out of {image}"))?.args(["run", "--rm", "--entrypoint=cat", image, path]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_images_is_read() {
        let images = parse_images("lfedge/eve-grub\td33f-amd64\t0123456789ab\nlfedge/eve-grub\t<none>\tab\n").expect("read");
        assert_eq!(images[1], ImageRow { repository: "lfedge/eve-grub".into(), tag: "<none>".into(), id: "ab".into() });
        let error = parse_images("WARNING: x").expect_err("no row").to_string();
        assert_eq!(error, "docker printed `WARNING: x` in its list of images");
    }
}
