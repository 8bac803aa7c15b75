//! Settings of git that would make its answer differ from what our reader of the index finds. Only git itself knows them all
//! (files include each other), so the question here is whether there may be one; then git is asked.

use std::path::{Path, PathBuf};

/// Whether the repository keeps its files elsewhere than beside `.git` (`core.worktree`, as in submodules).
pub fn moves_files(git: &Path, common: &Path) -> bool {
    own_files(git, common).iter().any(|file| mentions(file, &["worktree"]))
}

/// Whether git may convert a file before it compares it (line ends, filters), by settings or attributes outside the checkout.
pub fn may_convert(git: &Path, common: &Path, variable: &dyn Fn(&str) -> Option<String>) -> bool {
    if ["GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_ATTR_SOURCE"].iter().any(|name| variable(name).is_some()) {
        return true;
    }
    let home = PathBuf::from(variable("HOME").unwrap_or_else(|| "/".to_owned()));
    let settings = variable("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from).join("git");
    // The system's folder is `etc` below where git was installed.
    let systems = ["/etc", "/usr/local/etc", "/opt/homebrew/etc"].map(Path::new);
    let mut attributes = systems.iter().map(|system| system.join("gitattributes"));
    if attributes.any(|file| file.exists()) || settings.join("attributes").exists() || common.join("info/attributes").exists() {
        return true;
    }
    let mut files = own_files(git, common).to_vec();
    match variable("GIT_CONFIG_GLOBAL") {
        Some(file) => files.push(file.into()),
        None => files.extend([home.join(".gitconfig"), settings.join("config")]),
    }
    match variable("GIT_CONFIG_SYSTEM") {
        Some(file) => files.push(file.into()),
        None => files.extend(systems.map(|system| system.join("gitconfig"))),
    }
    files.iter().any(|file| mentions(file, &["autocrlf", "eol", "attributesfile", "attr", "include", "includeif"]))
}

/// The repository's own files of settings.
fn own_files(git: &Path, common: &Path) -> [PathBuf; 2] {
    [common.join("config"), git.join("config.worktree")]
}

/// Whether one of the words is in the file, in any case of letters. A file that cannot be read counts as empty, as for git.
fn mentions(file: &Path, words: &[&str]) -> bool {
    let text = std::fs::read(file).unwrap_or_default().to_ascii_lowercase();
    text.split(|byte| !byte.is_ascii_alphanumeric()).any(|word| words.iter().any(|wanted| word == wanted.as_bytes()))
}
