//! The image lfedge/eve as a program: its container makes an installer from EVE's configuration and the files of a volume.

use super::{Cmd, Tool, Tools};
use anyhow::Result;

/// The docker commands for one container, in the order in which they run.
pub struct EveImage<'t> {
    tools: &'t Tools,
    image: String,
}

impl<'t> EveImage<'t> {
    /// For the image with this tag.
    #[must_use]
    pub fn new(tools: &'t Tools, tag: &str) -> Self {
        Self { tools, image: format!("lfedge/eve:{tag}") }
    }

    fn docker(&self, step: &str) -> Result<Cmd> {
        Ok(self.tools.cmd(Tool::Docker)?.step(step))
    }

    /// Creates a volume and prints its name.
    pub fn create_volume(&self) -> Result<Cmd> {
        Ok(self.docker("making a volume for the configuration")?.args(["volume", "create"]))
    }

    /// Creates a container that will do `work`, and prints its id. EVE reads a configuration only if a `volume` is given.
    pub fn create(&self, volume: Option<&str>, work: &str) -> Result<Cmd> {
        let mut cmd = self.docker("making the container of EVE")?.arg("create");
        if let Some(volume) = volume {
            cmd = cmd.arg("--mount").arg(format!("source={volume},destination=/in"));
        }
        Ok(cmd.args([self.image.as_str(), work]))
    }

    /// Extracts a tar into the volume.
    pub fn copy_in(&self, container: &str, tar: Vec<u8>) -> Result<Cmd> {
        Ok(self.docker("copying the configuration")?.args(["cp", "-"]).arg(format!("{container}:/in")).stdin_bytes(tar))
    }

    /// Runs the container, which writes the installer to its standard output.
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
