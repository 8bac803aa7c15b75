//! docs/EVE-MAKEFILE.md: a verb, a target or a knob that it names is there. With `EVE_CHECKOUT`, a clone of lf-edge/eve, every target,
//! variable and script of the Makefile of its HEAD, and of the files that this includes, has a row.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, repository};
use regex::Regex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

/// Names that only make has: special targets, automatic variables, functions.
const OF_MAKE: &[&str] = &[".PHONY", ".PRECIOUS"];

/// The names in the first cells of a text's tables, with the word in the second.
fn rows(text: &str) -> BTreeMap<String, String> {
    let name = Regex::new("`([^`]+)`").unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split(" | ").collect();
        for found in name.captures_iter(cells[0]) {
            let other = rows.insert(found[1].to_owned(), cells[1].trim().to_owned());
            // A variable may be a target too.
            assert!(other.is_none() || found[1].len() < 4 || other.as_deref() == Some(cells[1].trim()), "two rows for {}", &found[1]);
        }
    }
    rows
}

fn page() -> BTreeMap<String, String> {
    rows(&fs::read_to_string(repository().join("docs/EVE-MAKEFILE.md")).unwrap())
}

/// The files that a makefile includes, and itself.
fn with_included(read: &dyn Fn(&str) -> Option<String>, name: &str) -> Vec<String> {
    let Some(text) = read(name) else { return Vec::new() };
    let include = Regex::new(r"(?m)^-?include (?:\$\(CURDIR\)/)?(\S+)").unwrap();
    let included = include.captures_iter(&text).flat_map(|found| with_included(read, &found[1])).collect::<Vec<_>>();
    std::iter::once(text).chain(included).collect()
}

/// Targets, variables and scripts in the text of makefiles.
fn names(text: &str) -> BTreeSet<String> {
    // `$$` is for the shell.
    let text = text.replace("\\\n", " ").replace("$$", "");
    let find = |pattern: &str| {
        let pattern = Regex::new(pattern).unwrap();
        pattern.captures_iter(&text).map(|found| found[1].trim().to_owned()).collect::<Vec<_>>()
    };
    let mut names: BTreeSet<String> = BTreeSet::new();
    // Rules; `X: NAME=value` sets a variable for a target.
    for left in find(r"(?m)^([^\t\n#:=]+?)\s*:(?:[^=\n]|$)") {
        names.extend(left.split_whitespace().map(str::to_owned));
    }
    names.extend(find(r"(?m)^[ \t]*(?:export )?([A-Za-z_][A-Za-z0-9_$().-]*)[ \t]*[:?+]?="));
    names.extend(find(r"(?m)^[^\t\n#:=]+: *([A-Z_]+) *:?="));
    names.extend(find(r"(?m)^(?:ifdef|define) (\S+)"));
    names.extend(find(r"\$[({]([A-Za-z_][A-Za-z0-9_]*)[)}:]"));
    names.extend(find(r"((?:tools|tests)/[a-z_/-]+\.(?:sh|py))"));
    names.retain(|name| !OF_MAKE.contains(&name.as_str()) && !name.starts_with("KERNEL_COMMIT_"));
    names
}

#[test]
fn what_the_page_names_is_there() {
    let rows = page();
    assert!(rows.len() > 300, "{}", rows.len());
    let profile = fs::read_to_string(repository().join("tools/plan/profiles/eve.toml")).unwrap();
    let mut asked = Vec::new();
    for (name, word) in &rows {
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        match word.as_str() {
            "knob" => asked.push(name.clone()),
            "verb" if is_plain => asked.push(name.clone()),
            "target" | "verb, target" if name.starts_with("tools/") || name.starts_with("tests/") => {
                assert!(profile.contains(name.as_str()), "{name}")
            }
            "target" => {
                let heads = [format!("{name} = "), format!("[targets.{name}]"), format!("[targets.\"{}\"]", name.replace('%', "*"))];
                assert!(heads.iter().any(|head| profile.contains(head)), "{name}");
            }
            "inside" | "refused" | "verb" | "verb, target" => {}
            other => panic!("{name}: `{other}` is no word of the page"),
        }
    }
    // The help fails for a name that is neither a target nor a variable.
    assert!(asked.len() > 100, "{asked:?}");
    Xtask::new(&repository()).args(["make", "--help"]).args(&asked).ok();
}

#[test]
fn names_are_found_in_makefiles() {
    let text = "A ?= 1\nexport B := $(C)\n  D=x\nall one: two $(E) | three\n\t@echo $(F) $${shell}\n\t./tools/a-b.sh $@\nx/%: y\npkg/z: FORCE_BUILD := --force\nifdef G\n# H: no\n$(I).raw: y\n.PHONY: all\n";
    let found = names(text);
    let want = ["$(I).raw", "A", "B", "C", "D", "E", "F", "FORCE_BUILD", "G", "I", "all", "one", "pkg/z", "tools/a-b.sh", "x/%"];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), want);
    let files = BTreeMap::from([("Makefile", "include $(CURDIR)/mk/a.mk\n-include gone.mk\n"), ("mk/a.mk", "X = 1\n")]);
    let read = |name: &str| files.get(name).map(|text| (*text).to_owned());
    assert_eq!(with_included(&read, "Makefile").len(), 2);
}

#[test]
fn every_name_of_todays_makefile_has_a_row() {
    let Some(eve) = std::env::var_os("EVE_CHECKOUT") else {
        return skips::skipped(skips::Lack::Request, "EVE_CHECKOUT names no clone of lf-edge/eve");
    };
    let read = |name: &str| {
        let out = Command::new("git").arg("-C").arg(Path::new(&eve)).args(["show", &format!("HEAD:{name}")]).output().unwrap();
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
    };
    let texts = with_included(&read, "Makefile");
    assert!(texts.len() > 1, "EVE_CHECKOUT has no Makefile that includes others");
    let rows = page();
    let missing: Vec<String> = texts.iter().flat_map(|text| names(text)).filter(|name| !rows.contains_key(name)).collect();
    assert!(missing.is_empty(), "docs/EVE-MAKEFILE.md has no row for: {}", missing.join(", "));
}
