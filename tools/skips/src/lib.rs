//! Records skipped tests and the reasons. libtest hides the output of a passing test, so the reason also goes to the file in
//! `XTASK_TEST_SKIPS`: `cargo xtask test` sets the variable and prints the file at its end. A dev-dependency only; depends on no other
//! crate of ours.

use std::{fs::OpenOptions, io::Write as _, panic::Location, path::Path, thread};

/// The variable with the path of the file.
pub const VARIABLE: &str = "XTASK_TEST_SKIPS";

/// Records that the test skips something because `why`, a reason other than a missing package.
#[track_caller]
pub fn skipped(why: &str) {
    write(&test_name(), why, "");
}

/// Records that the test skips something because `program` is missing. Debian's `packages` (separated by blanks) contain it: CI, which
/// can install them, fails the run.
#[track_caller]
pub fn missing(program: &str, packages: &str) {
    write(&test_name(), &format!("`{program}` is not on this machine"), packages);
}

/// The name of the running test, which libtest gives to the thread; with a single thread the caller's file and line.
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

/// Appends a line to `file`: test, reason and packages, separated by tabs. One write per line, because many processes write at once.
///
/// # Panics
/// If the file cannot be written: a skip must not go unnoticed.
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
