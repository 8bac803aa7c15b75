//! docker-registry (Distribution): a container registry on this machine, for a measurement.

use super::{Output, Running, Tool, Tools};
use anyhow::{Context as _, Result};
use std::{fs, path::Path, sync::mpsc, time::Duration};

/// What a registry needs to start is a fraction of this, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A registry. It ends when the value is dropped.
pub struct LocalRegistry {
    address: String,
    _running: Running,
}

impl LocalRegistry {
    /// Starts one on a free port, with its data in the folder `folder`, which exists.
    pub fn start(tools: &Tools, folder: &Path) -> Result<Self> {
        let config = folder.join("config.yml");
        let data = folder.join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            data.display()
        );
        fs::write(&config, text).with_context(|| format!("cannot write `{}`", config.display()))?;
        let (said, addresses) = mpsc::channel();
        let sink = move |line: &str| drop(address_in(line).map(|address| said.send(address.to_owned())));
        let cmd = tools.cmd(Tool::DockerRegistry)?.step("starting a registry").arg("serve").arg(config);
        let running = cmd.output(&Output::to(sink)).spawn()?;
        match addresses.recv_timeout(LIMIT) {
            Ok(address) => Ok(Self { address, _running: running }),
            Err(_) => Err(anyhow::anyhow!("{}", running.tail().join("\n"))).context("the registry does not say where it listens"),
        }
    }

    /// Its host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// The address in a line of the log: `… msg="listening on 127.0.0.1:40123" …`.
fn address_in(line: &str) -> Option<&str> {
    line.split_once("listening on ")?.1.split(['"', ' ', ',']).next().filter(|address| !address.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_log() {
        let line = "time=\"2024-01-01T00:00:00Z\" level=info msg=\"listening on 127.0.0.1:40123\" go.version=go1.19";
        assert_eq!(address_in(line), Some("127.0.0.1:40123"));
        assert_eq!(address_in("level=warning msg=\"No HTTP secret provided\""), None);
    }
}
