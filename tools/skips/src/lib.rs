//! What a test leaves out, and why. libtest hides what a passing test prints, so the reason also goes to the file that
//! `XTASK_TEST_SKIPS` names; `cargo xtask test` sets the variable, reads the file at its end and prints every line of it.
//! For tests alone: a dev-dependency of the other crates.

use std::{fs::OpenOptions, io::Write as _, panic::Location, path::Path, thread};

/// The variable that names the file.
pub const VARIABLE: &str = "XTASK_TEST_SKIPS";

/// This test leaves something out because `why`. Nobody can help it here: the reason is no missing package.
#[track_caller]
pub fn skipped(why: &str) {
    write(&test_name(), why, "");
}

/// This test leaves something out because `program` is not here. Debian's `packages` (separated by blanks) have it: where CI could
/// have installed them, the run fails.
#[track_caller]
pub fn missing(program: &str, packages: &str) {
    write(&test_name(), &format!("`{program}` is not on this machine"), packages);
}

/// The test that this thread runs. libtest names its threads so; with one thread only, the caller's place has to do.
#[track_caller]
fn test_name() -> String {
    let place = Location::caller();
    match thread::current().name() {
        Some(name) if name != "main" => format!("{} ({})", name, place.file()),
        _ => format!("{}:{}", place.file(), place.line()),
    }
}

fn write(test: &str, why: &str, packages: &str) {
    eprintln!("SKIPPED: {test}: {why}");
    if let Some(file) = std::env::var_os(VARIABLE) {
        append(Path::new(&file), test, why, packages);
    }
}

/// Adds a line to `file`: test, reason and packages with tabs between. Many processes write at once, so a line is one write.
///
/// # Panics
/// When the file cannot be written: a skip that nobody hears of is what this crate is against.
pub fn append(file: &Path, test: &str, why: &str, packages: &str) {
    let line = [test, why, packages].map(|word| word.split_whitespace().collect::<Vec<_>>().join(" ")).join("\t") + "\n";
    let written = OpenOptions::new().create(true).append(true).open(file).and_then(|mut file| file.write_all(line.as_bytes()));
    written.expect("the file of skips can be written");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_skip_is_one_line_with_the_tests_name() {
        assert_eq!(test_name(), format!("tests::a_skip_is_one_line_with_the_tests_name ({})", file!()));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("skips");
        append(&file, "a test", "two\nlines\tand a tab", "");
        append(&file, "b", "`mdir` is not on this machine", "mtools");
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(text, "a test\ttwo lines and a tab\t\nb\t`mdir` is not on this machine\tmtools\n");
    }
}
