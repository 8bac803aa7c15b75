//! linuxkit in Google's cloud: uploads an image and starts a machine from it.

use super::{Cmd, Output, linuxkit::Dialect, linuxkit::Linuxkit};
use std::path::Path;

impl Linuxkit {
    /// The command that uploads `archive` as the image `name`. `project` and `bucket` are options, as in the knobs.
    pub fn push_gcp(&self, name: &str, project: &str, bucket: &str, archive: &Path, output: &Output) -> Cmd {
        let cmd = self.command_unchecked(format!("uploading {name}"), output).args(["push", "gcp"]);
        let cmd = cmd.arg(self.dialect().dash("nested-virt")).arg(self.dialect().dash("img-name")).arg(name);
        cmd.args(spell(self.dialect(), project)).args(spell(self.dialect(), bucket)).arg(archive)
    }

    /// The command that starts a machine from the image `name` and shows its console.
    pub fn run_gcp(&self, name: &str, project: &str, instance: &str, output: &Output) -> Cmd {
        let cmd = self.command_unchecked(format!("running {name}"), output).args(["run", "gcp"]);
        cmd.args(spell(self.dialect(), project)).args(spell(self.dialect(), instance)).arg(name)
    }
}

/// `options` with the dashes of `dialect`.
fn spell(dialect: Dialect, options: &str) -> Vec<String> {
    let word = |word: &str| match word.strip_prefix("--").or_else(|| word.strip_prefix('-')) {
        Some(option) if !option.is_empty() => dialect.dash(option),
        _ => word.to_owned(),
    };
    options.split_whitespace().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_spelled_as_linuxkit_reads_them() {
        assert_eq!(spell(Dialect::Go, "-zone us-west1-a"), ["-zone", "us-west1-a"]);
        assert_eq!(spell(Dialect::Platforms, "-zone us-west1-a --machine n1"), ["--zone", "us-west1-a", "--machine", "n1"]);
    }
}
