//! `conformance --record` plays make in a small checkout of our own, keeps what it did, notices a changed Makefile, and compares the
//! recordings with this program.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, git, init, repository};
use std::{fs, path::PathBuf};

const MAKEFILE: &str = "\
all: check
check:
\techo words | docker run -i --rm -e DEBUG= -v $(CURDIR)/dist/check.img:/output.img me/tool:1 check $(LEVEL)
dist:
\tmkdir -p dist
check: | dist
say:
\t@echo said by make
clean:
\trm -rf dist
broken:
\tfalse
";

/// Its targets here: `broken` calls another program than make does.
const PROFILE: &str = "\
extends = 'eve'
[tree]
name = 'small'
[targets.check]
about = 'check'
variables = { LEVEL = '' }
run = [
    { words = ['mkdir', '-p', 'dist'] },
    { words = ['docker', 'run', '-i', '--rm', '-v', '{ROOT}/dist/check.img:/output.img', 'me/tool:1', 'check', '{?LEVEL}{LEVEL}'] },
]
[targets.say]
about = 'say'
run = [{ words = ['echo', 'said by make'] }]
[targets.broken]
about = 'broken'
run = [{ words = ['docker', 'run', 'me/tool:2'] }]
";

const SCENARIOS: &str = "\
lines = ['check', 'check LEVEL=high', 'broken']
printing = ['say']
[[scenario]]
line = 'clean'
after = 'check'
first = 'check'
[[scenario]]
line = 'check'
after = 'a-failing-tool'
fail = 'docker run'
";

struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Self {
        let it = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(it.path("eve")).unwrap();
        it.write("eve/Makefile", MAKEFILE);
        it.write("eve/xtask.toml", PROFILE);
        it.write("eve/.gitignore", "/dist\n");
        it.write("scenarios.toml", SCENARIOS);
        init(&it.path("eve"), "main", "tree");
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn conformance(&self, more: &[&str]) -> Xtask {
        let paths =
            ["--eve", "eve", "--work", "work"].chunks(2).flat_map(|pair| [pair[0].to_owned(), self.path(pair[1]).display().to_string()]);
        Xtask::new(&repository()).args(["conformance"]).args(paths).args(more.iter().copied())
    }

    fn record(&self) -> String {
        self.conformance(&["--record", "--scenarios", &self.path("scenarios.toml").display().to_string()]).ok()
    }

    fn recording(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path("work/recordings").join(name)).unwrap()).unwrap()
    }
}

#[test]
fn make_is_recorded_and_a_changed_makefile_is_noticed() {
    if !common::wants("make", "make") {
        return;
    }
    let small = Small::new();
    let said = small.record();
    assert!(said.contains("6 recorded from ") && said.contains(": 6 new, 0 changed"), "{said}");
    let check = small.recording("check.json");
    let call = &check["trace"][0];
    assert_eq!(call["argv"][6], "$ROOT/dist/check.img:/output.img", "{call:#}");
    assert_eq!((&call["stdin_text"], &call["cwd"], &check["rc"]), (&"words".into(), &"$ROOT".into(), &0.into()));
    assert_eq!(check["outputs"][0]["path"], "dist/check.img");
    assert_eq!(small.recording("check_LEVEL-high.json")["trace"][0]["argv"][9], "high");
    assert_eq!(small.recording("clean_after-check.json")["deleted"], serde_json::json!(["dist/check.img"]));
    let failed = small.recording("check_with-a-failing-tool.json");
    assert_eq!((&failed["rc"], &failed["trace"][0]["rc"]), (&2.into(), &1.into()));
    assert!(small.recording("say.json")["stdout_tail"].as_str().unwrap().ends_with("said by make\n"));

    small.write("eve/Makefile", &MAKEFILE.replace("me/tool:1", "me/tool:2"));
    git(&small.path("eve"), &["commit", "-qam", "another tool"]);
    let said = small.record();
    assert!(said.contains(": 0 new, 3 changed"), "{said}");
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("check ")).take(3).map(str::trim).collect();
    assert!(lines[0].contains("CHANGED") && lines[1].starts_with("missing: ") && lines[1].contains("me/tool:1"), "{lines:?}");
    assert!(lines[2].starts_with("extra: ") && lines[2].contains("me/tool:2"), "{lines:?}");
}

#[test]
fn recordings_of_make_are_compared_with_this_program() {
    if !common::wants("make", "make") {
        return;
    }
    let small = Small::new();
    small.record();
    let output = small.conformance(&[]).output();
    let (said, error) = common::texts(&output);
    assert_eq!(output.status.code(), Some(1), "{said}{error}");
    for (name, word) in [
        ("check", "equal"),
        ("check_LEVEL-high", "equal"),
        ("check_with-a-failing-tool", "equal"),
        ("say", "equal"),
        ("broken", "UNEXPLAINED"),
    ] {
        let line = said.lines().find(|line| line.split_whitespace().next() == Some(name));
        assert!(line.is_some_and(|line| line.contains(word)), "{name} is {line:?}\n{said}");
    }
    assert!(said.contains(r#"extra: ["docker", "run", "me/tool:2"]"#), "{said}");
    assert!(error.contains("scenarios differ from the recordings"), "{error}");
    // What was changed in between is another program's: the same commit is played.
    let error = small.conformance(&["--record", "--commit", "nosuch"]).fails();
    assert!(error.0 == 2 && error.1.contains("has no commit nosuch"), "{error:?}");
}
