//! `sbom --cve FEED`: the packages of a bill of materials in a feed of Debian's security tracker.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{python::python, small_tree::SmallTree, texts};
use std::{path::PathBuf, process::Command};

const FEED: &str = r#"{
  "not-here": {"CVE-2024-1": {"releases": {"bookworm": {"status": "open"}}}},
  "glibc": {
    "CVE-2024-1000": {"description": "A flaw.", "releases": {
      "bookworm": {"status": "resolved", "repositories": {"bookworm": "2.36-9+deb12u10"}, "fixed_version": "2.36-9+deb12u10", "urgency": "high"},
      "trixie": {"status": "resolved", "fixed_version": "2.41-1", "urgency": "high"}}},
    "CVE-2024-999": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "2.36-9+deb12u7", "urgency": "low"}}},
    "CVE-2024-998": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "0", "urgency": "unimportant"}}},
    "CVE-2019-10": {"releases": {"bookworm": {"status": "open", "urgency": "unimportant"}}}},
  "linux": {
    "CVE-2024-7": {"releases": {"bookworm": {"status": "open", "urgency": "not yet assigned", "nodsa": "Minor issue", "nodsa_reason": ""}}},
    "CVE-2024-8": {"releases": {"bookworm": {"status": "undetermined", "urgency": "not yet assigned"}}}}
}
"#;

/// A tree whose image has records of packages: two of one source, and one in which another source was compiled.
fn tree() -> SmallTree {
    let tree = SmallTree::new();
    for (name, record) in [
        ("libc6", "Package: libc6\nVersion: 2.36-9+deb12u9\nArchitecture: amd64\nSource: glibc\n"),
        ("libc-bin", "Package: libc-bin\nVersion: 2.36-9+deb12u9\nArchitecture: amd64\nSource: glibc\n"),
        (
            "linux-image-6.1",
            "Package: linux-image-6.1\nVersion: 6.1.176-1\nArchitecture: amd64\nSource: linux-signed-amd64 (6.1.176+1)\nBuilt-Using: linux (= 6.1.176-1)\n",
        ),
        ("jq", "Package: jq\nVersion: 1.6-2\nArchitecture: amd64\n"),
    ] {
        tree.write(&format!("pkg/base/files/var/lib/dpkg/status.d/{name}"), record);
    }
    tree.write("home/feed.json", FEED);
    tree
}

/// Builds the bill of materials; its path.
fn bill(tree: &SmallTree) -> PathBuf {
    tree.xtask().args(["sbom"]).ok();
    PathBuf::from(tree.xtask().args(["sbom_info"]).ok().trim())
}

const TABLE: &str = "\
PACKAGE  VERSION         CVE            URGENCY           FIXED IN         IN THE IMAGE
glibc    2.36-9+deb12u9  CVE-2024-1000  high              2.36-9+deb12u10  libc-bin, libc6
linux    6.1.176-1       CVE-2024-7     not yet assigned  - (Minor issue)  linux-image-6.1
glibc    2.36-9+deb12u9  CVE-2019-10    unimportant       -                libc-bin, libc6
";

#[test]
fn vulnerable_packages_of_the_image_are_listed() {
    let tree = tree();
    let feed = tree.root().join("home/feed.json");
    let run = |words: &[&str]| {
        let output = tree.xtask().args(["sbom", "--cve", feed.to_str().unwrap(), "--debian-release", "bookworm"]).args(words).output();
        let (out, err) = texts(&output);
        (output.status.code(), out, err)
    };
    let (code, out, err) = run(&[]);
    let (made, table) = out.split_once('\n').unwrap();
    assert!(made.starts_with("made: dist/amd64/"), "{out}{err}");
    let (rows, summary) = table.split_at(table.rfind("eve-0").unwrap());
    assert_eq!(rows, TABLE, "{err}");
    let counts = "4 Debian packages of 4 source packages, 2 of them in the feed, for bookworm: 3 vulnerabilities, 1 with a fix; 1 undetermined, 1 fixed in this version, 1 never there";
    assert!(summary.contains(counts), "{summary}");
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("error: 1 vulnerability that Debian has a fix for in `dist/amd64/") && err.contains("`: glibc\nhint: "), "{err}");
    // The word decides what ends with a status of its own.
    assert_eq!(run(&["--fail-on", "never"]).0, Some(0));
    let (code, _, err) = run(&["--fail-on", "any"]);
    assert!(code == Some(4) && err.contains("error: 2 vulnerabilities in "), "{code:?} {err}");
    let (code, _, err) = run(&["--fail-on", "all"]);
    assert!(code == Some(2) && err.contains("`all` is none of never, fixed, any"), "{code:?} {err}");
}

#[test]
fn the_machine_readable_form_is_valid_cyclonedx() {
    let tree = tree();
    let (feed, vex) = (tree.root().join("home/feed.json"), tree.root().join("home/vex.json"));
    let bill = bill(&tree);
    let words = |words: &[&str]| tree.xtask().args(words).args(["sbom", "--fail-on", "never", "--debian-release", "bookworm"]);
    words(&[]).args(["--cve".as_ref(), feed.as_os_str(), bill.as_os_str(), "--vex".as_ref(), vex.as_os_str()]).ok();
    let text = std::fs::read_to_string(&vex).unwrap();
    assert_eq!(
        words(&["--json"]).args(["--cve".as_ref(), feed.as_os_str(), bill.as_os_str()]).ok(),
        text,
        "the same findings, other bytes"
    );
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let all = document["vulnerabilities"].as_array().unwrap();
    let state = |id: &str| all.iter().find(|one| one["id"] == id).map(|one| one["analysis"]["state"].clone()).unwrap();
    for (id, expected) in [
        ("CVE-2024-1000", "exploitable"),
        ("CVE-2024-999", "resolved"),
        ("CVE-2024-998", "not_affected"),
        ("CVE-2024-7", "exploitable"),
        ("CVE-2024-8", "in_triage"),
    ] {
        assert_eq!(state(id), expected, "{id}");
    }
    assert_eq!(all[0]["affects"][0]["ref"], "pkg:deb/debian/libc-bin@2.36-9%2Bdeb12u9?arch=amd64&upstream=glibc%402.36-9%2Bdeb12u9");
    let Some(python) = python("cyclonedx", &["cyclonedx-python-lib[json-validation]"]) else { return };
    let check = |text: &str| {
        std::fs::write(&vex, text).unwrap();
        let program = "import sys; from cyclonedx.schema import SchemaVersion; from cyclonedx.validation.json import JsonStrictValidator; \
            found = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read()); print(found); sys.exit(found is not None)";
        Command::new(&python).args(["-c", program]).arg(&vex).output().unwrap()
    };
    let verdict = check(&text);
    assert!(verdict.status.success(), "{:?}", texts(&verdict));
    let verdict = check(&text.replace("\"in_triage\"", "\"perhaps\""));
    assert_eq!(verdict.status.code(), Some(1), "the validator accepts anything: {:?}", texts(&verdict));
    assert!(texts(&verdict).0.contains("perhaps"), "{:?}", texts(&verdict));
}

#[test]
fn what_cannot_be_looked_up_is_one_error_with_its_place() {
    let tree = tree();
    let bill = bill(&tree);
    let bill = bill.to_str().unwrap();
    tree.write("home/bad.json", &FEED.replace("\"undetermined\"", "\"maybe\""));
    tree.write("home/other.json", "{\"bash\": {}}");
    let feed = |name: &str| tree.root().join("home").join(name).display().to_string();
    let (good, bad, other, none) = (feed("feed.json"), feed("bad.json"), feed("other.json"), feed("none.json"));
    let release = "--debian-release=bookworm";
    for (words, code, message) in [
        (
            vec!["sbom", "--cve", &bad, bill, release],
            1,
            "unknown variant `maybe`, expected one of `open`, `resolved`, `undetermined` at line 12 column ",
        ),
        (
            vec!["sbom", "--cve", &other, bill, release],
            1,
            "cannot use the feed `ROOT/home/other.json`\n  cause: it names none of the 4 source",
        ),
        (vec!["sbom", "--cve", &none, bill, release], 1, "error: cannot read `ROOT/home/none.json`"),
        (vec!["sbom", "--cve", &good, &good, release], 1, "error: cannot use `home/feed.json`\n  cause: it is no SPDX document in JSON"),
        (vec!["sbom", "--cve", &good, bill], 2, "say which release of Debian the packages come from\nhint: --debian-release bookworm"),
        (vec!["sbom", "--cve", &good, bill, "--debian-release=sid"], 1, "hint: --debian-release NAME, one of bookworm, trixie"),
        (vec!["sbom", "--json", "--cve", &good], 2, "error: --json prints one document"),
        (vec!["sbom", bill], 2, "--cve"),
    ] {
        let (status, error) = tree.error(&words);
        assert!(status == code && error.contains(message), "{words:?}: {status}\n{error}");
        assert_eq!(error.matches("error:").count(), 1, "{error}");
    }
}
