//! Tools built from source at a pinned commit: the sections of `build-tools/tools.toml`, and of `[tools]` in a shipped profile.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The file below a tree's root.
pub const FILE: &str = "build-tools/tools.toml";

/// The tools of a tree, by the name of their program.
pub type Pins = BTreeMap<String, ToolPin>;

/// One tool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolPin {
    /// The git repository; the path of a Go module if `package` is unset.
    pub repository: String,
    /// The commit; for a Go module any version that `go install` accepts.
    pub commit: String,
    /// The folder of the program below the repository's root. Only shipped profiles may leave it out: then `go install` builds the module.
    pub package: Option<String>,
    /// The syntax of linuxkit's options, for a linuxkit that prints no version: `go`, `gnu` or `platforms`.
    #[serde(default)]
    pub options: String,
}

/// Reads the text of `build-tools/tools.toml`; an error names the tool and the key.
pub fn parse(text: &str) -> Result<Pins> {
    let pins: Pins = toml::from_str(text)?;
    for (name, pin) in &pins {
        check(name, pin).with_context(|| format!("[{name}]"))?;
    }
    Ok(pins)
}

/// Checks the values. The name and the folder become parts of paths, and git would take a word that starts with a dash for an option.
fn check(name: &str, pin: &ToolPin) -> Result<()> {
    if name.is_empty() || !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') || name.starts_with('-') {
        bail!("`{name}` is no name of a tool: it has small letters, digits and dashes");
    }
    check_repository(&pin.repository)?;
    if pin.commit.len() != 40 || !pin.commit.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)) {
        bail!("commit = \"{}\" is no commit: 40 digits of 0-9 and a-f", pin.commit);
    }
    let Some(package) = &pin.package else { bail!("missing field `package`: the folder of the program, `.` for the repository's root") };
    if package.is_empty() || package.starts_with('/') || package.split('/').any(|part| part == "..") {
        bail!("package = \"{package}\" is no folder below the repository's root");
    }
    if !["", "go", "gnu", "platforms"].contains(&pin.options.as_str()) {
        bail!("options = \"{}\" is none of go, gnu, platforms", pin.options);
    }
    Ok(())
}

/// An error for a repository that git would take for an option.
pub fn check_repository(repository: &str) -> Result<()> {
    if repository.is_empty() || repository.starts_with('-') {
        bail!("repository = \"{repository}\" is no git repository");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "[a]\nrepository = \"https://example.org/a\"\ncommit = \"0123456789abcdef0123456789abcdef01234567\"\npackage = \"cmd/a\"\n";

    #[test]
    fn this_repository_has_its_pins() {
        let pins = parse(include_str!("../../../build-tools/tools.toml")).expect("valid");
        assert_eq!(pins.keys().collect::<Vec<_>>(), ["go-sources-and-licenses", "linuxkit", "manifest-tool"]);
        assert_eq!(pins["linuxkit"].package.as_deref(), Some("src/cmd/linuxkit"));
    }

    #[test]
    fn a_mistake_is_named_with_its_key() {
        assert_eq!(parse(GOOD).expect("valid").len(), 1);
        for (from, to, message) in [
            ("package = \"cmd/a\"\n", "", "[a]: missing field `package`"),
            ("repository = \"https://example.org/a\"\n", "", "missing field `repository`"),
            ("package", "pkg", "unknown field `pkg`"),
            ("01234567\"", "0123456\"", "[a]: commit = \"0123456789abcdef0123456789abcdef0123456\" is no commit"),
            ("abcdef01234567\"", "ABCDEF01234567\"", "is no commit"),
            ("cmd/a", "../a", "[a]: package = \"../a\" is no folder"),
            ("https://example.org/a", "--upload-pack=x", "[a]: repository = \"--upload-pack=x\" is no git repository"),
            ("[a]", "[\"../a\"]", "`../a` is no name of a tool"),
            ("[a]\n", "[a]\noptions = \"posix\"\n", "[a]: options = \"posix\" is none of go, gnu, platforms"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = format!("{:#}", parse(&text).expect_err(&text));
            assert!(error.contains(message), "{error}");
        }
    }
}
