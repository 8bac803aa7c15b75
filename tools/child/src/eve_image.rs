//! The image lfedge/eve as a program: a container that makes an installer, with files laid over its configuration.

use super::{Cmd, Tool, Tools};
use anyhow::Result;

/// The commands of one container's life, in the order of its life.
pub struct EveImage<'t> {
    tools: &'t Tools,
    image: String,
}

impl<'t> EveImage<'t> {
    /// The image with this tag.
    #[must_use]
    pub fn new(tools: &'t Tools, tag: &str) -> Self {
        Self { tools, image: format!("lfedge/eve:{tag}") }
    }

    fn docker(&self, step: &str) -> Result<Cmd> {
        Ok(self.tools.cmd(Tool::Docker)?.step(step))
    }

    /// Makes a volume and prints its name.
    pub fn create_volume(&self) -> Result<Cmd> {
        Ok(self.docker("making a volume for the configuration")?.args(["volume", "create"]))
    }

    /// Makes the container, which will do `work`, and prints its id. It looks for a configuration only where a volume is.
    pub fn create(&self, volume: Option<&str>, work: &str) -> Result<Cmd> {
        let mut cmd = self.docker("making the container of EVE")?.arg("create");
        if let Some(volume) = volume {
            cmd = cmd.arg("--mount").arg(format!("source={volume},destination=/in"));
        }
        Ok(cmd.args([self.image.as_str(), work]))
    }

    /// Puts the files of a tar into the volume.
    pub fn copy_in(&self, container: &str, tar: Vec<u8>) -> Result<Cmd> {
        Ok(self.docker("copying the configuration")?.args(["cp", "-"]).arg(format!("{container}:/in")).stdin_bytes(tar))
    }

    /// Runs the container; the installer comes out of its standard output.
    pub fn start(&self, container: &str) -> Result<Cmd> {
        Ok(self.docker("making the installer")?.args(["start", "-a", container]))
    }

    /// Removes the container.
    pub fn remove(&self, container: &str) -> Result<Cmd> {
        Ok(self.docker("removing the container")?.args(["rm", container]))
    }

    /// Removes the volume.
    pub fn remove_volume(&self, volume: &str) -> Result<Cmd> {
        Ok(self.docker("removing the volume")?.args(["volume", "rm", volume]))
    }
}
