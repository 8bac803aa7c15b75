//! A recorded run of a program under the harness's fake tools, and the differences between two of them. Reads no rules and starts nothing.

use super::scenarios::Scenario;
use anyhow::{Context as _, Result};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::LazyLock,
};

/// One run: the fields of the harness's JSON that are compared. `$ROOT`, `$DATE` and others stand for what varies.
#[derive(Deserialize, Serialize, Clone, Default)]
pub struct Recording {
    #[serde(default)]
    pub name: String,
    /// The commit of the tree whose make was recorded.
    #[serde(default)]
    pub commit: String,
    /// How to play it again; none in a recording by the harness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<Scenario>,
    /// Make's goals.
    #[serde(default)]
    pub goal: Option<String>,
    /// Make's variables.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// The exit status, or a word for a time-out.
    pub rc: serde_json::Value,
    #[serde(default)]
    pub stdout_tail: String,
    #[serde(default)]
    pub stderr_tail: String,
    /// Tracked files that changed, as `git status --porcelain` prints them.
    #[serde(default)]
    pub tree_changes: Vec<String>,
    /// Shell commands that prepared the checkout.
    #[serde(default)]
    pub setup: Vec<String>,
    /// Every call of a tool, in order.
    #[serde(default)]
    pub trace: Vec<Call>,
    /// What is below `dist/` at the end.
    #[serde(default)]
    pub outputs: Vec<Output>,
    /// Files elsewhere that git ignores.
    #[serde(default)]
    pub generated: BTreeMap<String, serde_json::Value>,
    /// Ignored files that were there before and are gone.
    #[serde(default)]
    pub deleted: Vec<String>,
}

/// One call of a tool.
#[derive(Deserialize, Serialize, Clone, Debug)]
pub struct Call {
    pub tool: String,
    pub argv: Vec<String>,
    #[serde(default)]
    pub cwd: String,
    #[serde(default)]
    pub rc: i32,
    /// The kind of its standard input, and its text if that is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin_text: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// One file, link or folder below `dist/`.
#[derive(Deserialize, Serialize, Clone)]
pub struct Output {
    pub path: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl Recording {
    /// Reads a recording.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read the recording `{}`", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("`{}` is no recording", path.display()))
    }

    /// Whether the program ended with status 0.
    pub fn ended_well(&self) -> bool {
        self.rc == 0
    }

    /// Whether the original made this change of the checkout too, by its preparation or as the purpose of its target.
    pub fn expects(&self, change: &str) -> bool {
        let path = change.get(3..).unwrap_or_default();
        let folder = path.split('/').next().unwrap_or_default();
        let is_product = self.goal.as_deref().is_some_and(|goal| goal.starts_with("proto"));
        let is_set_up =
            self.setup.iter().any(|line| line.split([' ', ';', '&']).any(|word| word == path || word.trim_end_matches('/') == folder));
        self.tree_changes.iter().any(|known| known == change) && (is_product || is_set_up)
    }

    /// What differs from an older recording of the same scenario. What is `missing` is made no more, what is `extra` was not made then.
    pub fn changes_since(&self, older: &Self) -> Vec<String> {
        let mut lines = differences(older, self, None);
        // Make has other words for errors than we.
        lines.retain(|line| !line.starts_with("told: status"));
        lines
    }

    /// Writes the recording to `path`.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write the recording `{}`", path.display()))
    }

    /// The calls that do work, as `["tool", "argument", …]`, with the number of times each was made.
    fn calls(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in self.trace.iter().filter(|call| call.does_work()) {
            *counts.entry(call.normal()).or_default() += 1;
        }
        counts
    }

    /// Files and links below `dist/`, each link with its target as seen from its folder, and packages' generated `build.yml`. Logs, stamps, locks and resolved templates are
    /// left out: the original has none there. So are the files that lock nothing by which it builds linuxkit.
    fn files(&self) -> BTreeSet<String> {
        static OURS: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"/(logs|\.stamps|images)/|\.lock$|/dtb\.made-by$|/eve-parallel-build-").expect("a valid regular expression")
        });
        let shown = |output: &Output| match &output.target {
            Some(target) => {
                let folder = output.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{} -> {}", output.path, target.strip_prefix(&format!("$ROOT/{folder}/")).unwrap_or(target))
            }
            None => output.path.clone(),
        };
        let generated = self.generated.keys().filter(|path| path.ends_with("/build.yml")).cloned();
        self.outputs.iter().filter(|output| output.kind != "d" && !OURS.is_match(&output.path)).map(shown).chain(generated).collect()
    }

    /// What this run did and said, a line each: `call: ["tool", …]`, `file: PATH`, `out: LINE`, `err: LINE`.
    pub fn evidence(&self) -> Vec<String> {
        let calls = self.calls().into_keys().map(|call| format!("call: {call}"));
        let files = self.files().into_iter().map(|file| format!("file: {file}"));
        let out = self.stdout_tail.lines().map(|line| format!("out: {line}"));
        let err = self.stderr_tail.lines().map(|line| format!("err: {line}"));
        calls.chain(files).chain(out).chain(err).collect()
    }

    /// For each call that does work, this run without it.
    pub fn with_one_call_less(&self) -> impl Iterator<Item = (String, Self)> {
        let working = self.trace.iter().enumerate().filter(|(_, call)| call.does_work());
        working.map(|(index, call)| {
            let mut less = self.clone();
            less.trace.remove(index);
            (call.normal(), less)
        })
    }
}

impl Call {
    /// Tool containers, linuxkit, machines, clouds, and git where it changes something: not what only asks, and not the container of
    /// yq, whose work is done in process.
    fn does_work(&self) -> bool {
        let mut words = self.argv.iter().map(String::as_str).filter(|word| !word.starts_with('-'));
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match self.tool.as_str() {
            "docker" => ["run", "load"].contains(&first) && !self.argv.iter().any(|word| word.contains("yq:")),
            "linuxkit" => match first {
                "build" => true,
                "pkg" => ["build", "push", "manifest"].contains(&second),
                "cache" => second == "export",
                "push" | "run" => second == "gcp",
                _ => false,
            },
            // What compiles a tool of the tree, and the tool that finds packages' dependencies.
            "go" => {
                !["install", "build", "env", "version"].contains(&first) && !self.cwd.starts_with("$ROOT/tools/") && !self.cwd.is_empty()
            }
            tool => !["yq", "jq", "sleep", "uuidgen", "get-deps"].contains(&tool),
        }
    }

    /// The call with linuxkit's old and new spelling of flags, all spellings of a path, and all white space, made one.
    fn normal(&self) -> String {
        static FLAG: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new("^-(build-yml|canonical|arch|docker|format|outfile|name|hash|hash-path|release|force|platforms|pull)$")
                .expect("a valid regular expression")
        });
        static TOOLS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(\$ROOT)/tools/\.\./+").expect("a valid regular expression"));
        static SLASHES: LazyLock<Regex> = LazyLock::new(|| Regex::new("(^|[^:])//+").expect("a valid regular expression"));
        static SPACES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[ \t]+").expect("a valid regular expression"));
        let word = |word: &String| {
            let word = if FLAG.is_match(word) { format!("-{word}") } else { word.clone() };
            let word = TOOLS.replace_all(&word, "$1/").replace("$ROOT/:", "$ROOT:").replace("/:/go/", ":/go/");
            let word = SLASHES.replace_all(&word, "$1/");
            serde_json::Value::String(SPACES.replace_all(&word, " ").into_owned()).to_string()
        };
        // An empty variable is no variable.
        let is_empty = |at: usize| self.argv.get(at).is_some_and(|word| word == "DEBUG=");
        let is_left_out = |at: usize| is_empty(at) || self.argv[at] == "-e" && is_empty(at + 1);
        let kept = (0..self.argv.len()).filter(|at| !is_left_out(*at)).map(|at| &self.argv[at]);
        let words: Vec<String> = std::iter::once(&self.tool).chain(kept).map(word).collect();
        format!("[{}]", words.join(", "))
    }
}

/// The differences between what was recorded and what was made, a line each:
/// `missing: CALL`, `extra: CALL`; `absent: PATH`, `stays: PATH` for files below `dist/`; `rc: …`; `told: …`; `changed: FILE`.
/// `told` matches what must be printed.
pub fn differences(wanted: &Recording, made: &Recording, told: Option<&Regex>) -> Vec<String> {
    let (ours, theirs) = (made.calls(), wanted.calls());
    let mut lines = more("missing", &theirs, &ours);
    lines.extend(more("extra", &ours, &theirs));
    let (ours, theirs) = (made.files(), wanted.files());
    lines.extend(theirs.difference(&ours).map(|path| format!("absent: {path}")));
    lines.extend(ours.difference(&theirs).map(|path| format!("stays: {path}")));
    let why = made.stderr_tail.lines().find(|line| line.starts_with("error")).unwrap_or_default();
    if wanted.ended_well() != made.ended_well() {
        lines.push(format!("rc: wanted {}, got {} {why}", wanted.rc, made.rc));
    }
    if !made.ended_well() && why.is_empty() {
        lines.push(format!("told: status {} without an error message", made.rc));
    }
    if told.is_some_and(|told| !told.is_match(made.stdout_tail.trim())) {
        lines.push(format!("told: not what the original prints, but {:?}", made.stdout_tail.trim()));
    }
    // Before what it prints, make may say that it has made a tool.
    let said = wanted.stdout_tail.lines().last().unwrap_or_default();
    if wanted.scenario.as_ref().is_some_and(|scenario| scenario.prints) && wanted.ended_well() && made.stdout_tail.trim() != said {
        lines.push(format!("told: not {said:?}, but {:?}", made.stdout_tail.trim()));
    }
    let is_left = |path: &&String| !path.starts_with("dist/") && made.generated.contains_key(*path);
    lines.extend(wanted.deleted.iter().filter(is_left).map(|path| format!("stays: {path}")));
    // Tracked files may not change, even where the original changed them.
    lines.extend(made.tree_changes.iter().filter(|change| !wanted.expects(change)).map(|change| format!("changed: {change}")));
    lines
}

/// `KIND: CALL` for each time that `some` has a call more often than `others`.
fn more(kind: &str, some: &BTreeMap<String, usize>, others: &BTreeMap<String, usize>) -> Vec<String> {
    let times = |(call, count): (&String, &usize)| {
        let left = count.saturating_sub(others.get(call).copied().unwrap_or_default());
        std::iter::repeat_n(format!("{kind}: {call}"), left)
    };
    some.iter().flat_map(times).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(text: &str) -> Recording {
        serde_json::from_str(text).expect("a recording")
    }

    #[test]
    fn only_prepared_files_may_change() {
        let recording = recording(
            r#"{"goal": "run", "rc": 0, "setup": ["echo x >> pkg/grub/Dockerfile", "mkdir other && cp conf/server other/"],
            "tree_changes": [" M pkg/grub/Dockerfile", "?? other/server", " M conf/grub.cfg"]}"#,
        );
        for (change, expected) in
            [(" M pkg/grub/Dockerfile", true), ("?? other/server", true), (" M conf/grub.cfg", false), (" M pkg/grub/build.yml", false)]
        {
            assert_eq!(recording.expects(change), expected, "{change}");
        }
    }

    #[test]
    fn calls_are_compared_by_number_and_not_by_spelling() {
        let wanted = recording(
            r#"{"rc": 0, "trace": [{"tool": "linuxkit", "argv": ["pkg", "build", "-pull", "$ROOT/tools/..//pkg/x"]},
            {"tool": "docker", "argv": ["run", "mikefarah/yq:4"]}, {"tool": "docker", "argv": ["run", "a"]}, {"tool": "docker", "argv": ["run", "a"]}]}"#,
        );
        let made = recording(
            r#"{"rc": 2, "stderr_tail": "error: no\n", "trace": [{"tool": "linuxkit", "argv": ["pkg", "build", "--pull", "$ROOT/pkg/x"]},
            {"tool": "docker", "argv": ["run", "a"]}, {"tool": "git", "argv": ["tag", "b"]}]}"#,
        );
        let expected = [r#"missing: ["docker", "run", "a"]"#, r#"extra: ["git", "tag", "b"]"#, "rc: wanted 0, got 2 error: no"];
        assert_eq!(differences(&wanted, &made, None), expected);
    }

    #[test]
    fn files_and_words_are_compared() {
        let wanted = recording(
            r#"{"rc": 0, "outputs": [{"path": "dist/amd64/current", "type": "l", "target": "$ROOT/dist/amd64/1"},
            {"path": "dist/amd64/1", "type": "d"}, {"path": "dist/amd64/1/live.raw", "type": "f"}]}"#,
        );
        let made = recording(
            r#"{"rc": 0, "stdout_tail": "1\n", "outputs": [{"path": "dist/amd64/current", "type": "l", "target": "1"},
            {"path": "dist/amd64/1/logs/x", "type": "f"}, {"path": "dist/amd64/1/live.img", "type": "f"}]}"#,
        );
        assert_eq!(differences(&wanted, &made, None), ["absent: dist/amd64/1/live.raw", "stays: dist/amd64/1/live.img"]);
        let told = differences(&wanted, &made, Some(&Regex::new("^2$").expect("regex")));
        assert_eq!(told.last().map(String::as_str), Some(r#"told: not what the original prints, but "1""#));
        assert_eq!(differences(&wanted, &made, Some(&Regex::new("^1$").expect("regex"))).len(), 2);
    }
}
