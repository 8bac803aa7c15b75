//! Reads makefiles that contain only variables, such as lf-edge/eve's kernel-version.mk, so that a tree can keep version numbers in one
//! file. The syntax is that of the GNU make manual, without rules, `define` and `$(shell …)`.

use anyhow::{Context as _, Result, anyhow, bail};
use common::error::usage;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The deepest nesting of variables or files; deeper nesting means a cycle.
const DEEPEST: usize = 64;

/// The variables of a makefile and of the files that it includes.
#[derive(Debug, Default)]
pub struct Makefile {
    folder: PathBuf,
    /// Variables of the caller. As with make's command line, the file cannot change them.
    given: BTreeMap<String, String>,
    /// Variables of the file, not expanded yet.
    set: BTreeMap<String, String>,
    /// The open conditionals.
    conditions: Vec<Condition>,
}

/// An open `ifeq`.
#[derive(Debug)]
struct Condition {
    /// The current branch is active.
    live: bool,
    /// One of its branches was active already.
    done: bool,
}

impl Makefile {
    /// Reads `file` and the files that it includes, all relative to `folder`, with the variables `given` as on make's command line.
    pub fn read(folder: &Path, file: &str, given: &[(&str, &str)]) -> Result<Self> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut makefile = Self { folder: folder.to_owned(), given, ..Self::default() };
        makefile.include(file, 0)?;
        Ok(makefile)
    }

    /// The value of a variable; empty if it is not set.
    pub fn value(&self, name: &str) -> Result<String> {
        self.variable(name, 0)
    }

    fn include(&mut self, file: &str, depth: usize) -> Result<()> {
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let outside = self.conditions.len();
        let mut held = String::new();
        for (number, line) in text.lines().enumerate() {
            let line = if held.is_empty() { line } else { line.trim_start() };
            if let Some(part) = line.strip_suffix('\\') {
                held.push_str(part.trim_end());
                held.push(' ');
                continue;
            }
            held.push_str(line);
            let whole = std::mem::take(&mut held);
            let code = whole.split('#').next().unwrap_or_default().trim();
            if !code.is_empty() {
                self.line(code, depth).map_err(|error| place(error, file, number + 1))?;
            }
        }
        if self.conditions.len() != outside {
            bail!("{file}: a conditional has no endif");
        }
        Ok(())
    }

    fn line(&mut self, line: &str, depth: usize) -> Result<()> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "ifeq" | "ifneq" | "ifdef" | "ifndef" => self.open(word, rest),
            "else" => self.otherwise(rest.trim()),
            "endif" => self.conditions.pop().map(drop).context("`endif` stands alone"),
            _ if !self.live() => Ok(()),
            "include" | "-include" => {
                if depth >= DEEPEST {
                    bail!("files include each other");
                }
                rest.split_whitespace().try_for_each(|file| {
                    let file = self.expand(file, 0)?;
                    self.include(file.strip_prefix("/").unwrap_or(&file), depth + 1)
                })
            }
            "export" if !rest.contains('=') => Ok(()),
            "export" => self.assign(rest),
            _ if line.starts_with("$(") => self.expand(line, 0).map(drop),
            _ => self.assign(line),
        }
    }

    fn live(&self) -> bool {
        self.conditions.iter().all(|condition| condition.live)
    }

    fn open(&mut self, word: &str, rest: &str) -> Result<()> {
        // Do not evaluate the condition in an inactive branch: its variables may be invalid there.
        let holds = self.live() && self.holds(word, rest.trim())?;
        self.conditions.push(Condition { live: holds, done: holds });
        Ok(())
    }

    fn otherwise(&mut self, rest: &str) -> Result<()> {
        let Some(condition) = self.conditions.pop() else { bail!("`else` stands alone") };
        let mut holds = self.live() && !condition.done;
        if let Some((word, rest)) = rest.split_once(char::is_whitespace) {
            holds = holds && self.holds(word, rest.trim())?;
        }
        self.conditions.push(Condition { live: holds, done: condition.done || holds });
        Ok(())
    }

    fn holds(&self, word: &str, rest: &str) -> Result<bool> {
        match word {
            "ifdef" => Ok(!self.value(rest)?.is_empty()),
            "ifndef" => Ok(self.value(rest)?.is_empty()),
            "ifeq" | "ifneq" => {
                let inner = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
                let parts = inner.map(arguments).filter(|parts| parts.len() == 2);
                let Some([left, right]) = parts.as_deref() else { bail!("`{word} {rest}` needs two values in brackets") };
                let same = self.expand(left.trim(), 0)? == self.expand(right.trim(), 0)?;
                Ok(same == (word == "ifeq"))
            }
            other => bail!("`{other}` is not a conditional"),
        }
    }

    fn assign(&mut self, line: &str) -> Result<()> {
        let Some((left, value)) = line.split_once('=') else { bail!("only variables are read here, not `{line}`") };
        let (left, operator) = match left.strip_suffix([':', '?', '+']) {
            Some(name) => (name.trim_end_matches(':'), left.chars().next_back()),
            None => (left, None),
        };
        let name = self.expand(left.trim(), 0)?;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == ':') {
            bail!("only variables are read here, not `{line}`");
        }
        let value = value.trim_start();
        let value = match operator {
            Some(':') => escape(&self.expand(value, 0)?),
            Some('?') if self.set.contains_key(&name) => return Ok(()),
            Some('+') => match self.set.get(&name) {
                Some(old) => format!("{old} {value}"),
                None => value.to_owned(),
            },
            _ => value.to_owned(),
        };
        self.set.insert(name, value);
        Ok(())
    }

    fn variable(&self, name: &str, depth: usize) -> Result<String> {
        if let Some(value) = self.given.get(name) {
            return Ok(value.clone());
        }
        self.set.get(name).map_or_else(|| Ok(String::new()), |text| self.expand(text, depth + 1))
    }

    /// `text` with its `$(…)` replaced.
    fn expand(&self, text: &str, depth: usize) -> Result<String> {
        if depth > DEEPEST {
            bail!("a variable refers to itself: `{text}`");
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let Some(first) = rest.chars().next() else { bail!("`{text}` ends with `$`") };
            let close = match first {
                '(' => ')',
                '{' => '}',
                '$' => {
                    out.push('$');
                    rest = &rest[1..];
                    continue;
                }
                one => {
                    out.push_str(&self.variable(&one.to_string(), depth)?);
                    rest = &rest[one.len_utf8()..];
                    continue;
                }
            };
            let end = closing(rest, first, close).with_context(|| format!("a bracket of `{text}` is not closed"))?;
            out.push_str(&self.reference(&rest[1..end], depth)?);
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The value of the inside of `$(…)`: a variable's name or a function call.
    fn reference(&self, inner: &str, depth: usize) -> Result<String> {
        let Some((function, rest)) = inner.split_once(char::is_whitespace) else {
            return self.variable(&self.expand(inner, depth + 1)?, depth);
        };
        let raw = arguments(rest.trim_start());
        let argument = |index: usize| raw.get(index).map_or_else(|| Ok(String::new()), |text| self.expand(text, depth + 1));
        match function {
            "error" => Err(usage(self.expand(rest, depth + 1)?.trim().trim_matches('"').to_owned())),
            "info" | "warning" => Ok(String::new()),
            "if" => argument(if argument(0)?.trim().is_empty() { 2 } else { 1 }),
            "strip" => Ok(words(&argument(0)?).join(" ")),
            "firstword" => Ok(words(&argument(0)?).first().copied().unwrap_or_default().to_owned()),
            "findstring" => argument(1).and_then(|text| argument(0).map(|part| if text.contains(&part) { part } else { String::new() })),
            "subst" => Ok(argument(2)?.replace(&argument(0)?, &argument(1)?)),
            "filter" | "filter-out" => {
                let (patterns, text) = (argument(0)?, argument(1)?);
                let fits = |word: &str| words(&patterns).iter().any(|pattern| matches(pattern, word));
                let kept: Vec<&str> = words(&text).into_iter().filter(|word| fits(word) == (function == "filter")).collect();
                Ok(kept.join(" "))
            }
            "origin" => {
                let name = argument(0)?;
                let known = self.given.contains_key(&name) || self.set.contains_key(&name);
                Ok(if known { "file" } else { "undefined" }.to_owned())
            }
            other => bail!("make's function `{other}` is not understood here"),
        }
    }
}

/// Splits `text` at the commas outside brackets.
fn arguments(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The position of the bracket that closes the one at the start of `text`.
fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0_usize;
    text.char_indices().find_map(|(at, c)| {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
        }
        (depth == 0).then_some(at)
    })
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Whether a word matches a pattern with at most one `%`.
fn matches(pattern: &str, word: &str) -> bool {
    match pattern.split_once('%') {
        Some((before, after)) => word.len() >= before.len() + after.len() && word.starts_with(before) && word.ends_with(after),
        None => pattern == word,
    }
}

/// Escapes `text` so that it expands to itself.
fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

/// Puts the file and line in front of the error. The error of `$(error …)` keeps its kind, a usage error.
fn place(error: anyhow::Error, file: &str, line: usize) -> anyhow::Error {
    let text = format!("{file}:{line}: {error:#}");
    if common::error::kind(&error) == common::error::Kind::Usage { usage(text) } else { anyhow!(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, given: &[(&str, &str)]) -> Result<Makefile> {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("a.mk"), text).expect("file");
        std::fs::write(folder.path().join("b.mk"), "COMMIT_arm64_v6 = abc # the newest\n").expect("file");
        Makefile::read(folder.path(), "a.mk", given)
    }

    const KERNEL: &str = "\
BOARDS_amd64=generic rt
BOARDS_arm64=generic imx8mq \\
   jp5
FLAVOR ?=
ifeq (, $(filter $(BOARD), $(BOARDS_$(ARCH))))
    $(error \"no $(BOARD) for $(ARCH)\")
endif
ifeq ($(ARCH), amd64)
  VERSION=v5
  ifeq ($(BOARD), rt)
    FLAVOR=rt
  else
    FLAVOR=core
  endif
else ifeq ($(ARCH), arm64)
  VERSION = v6
else
  VERSION = none
endif
include b.mk
FLAVOR := $(if $(FLAVOR),$(FLAVOR)-,)
TAG ?= x:$(ARCH)-$(VERSION)-$(FLAVOR)$(COMMIT_$(ARCH)_$(VERSION))
";

    #[test]
    fn conditions_functions_and_files_choose_one_tag() {
        for (arch, board, tag) in
            [("amd64", "rt", "x:amd64-v5-rt-"), ("amd64", "generic", "x:amd64-v5-core-"), ("arm64", "jp5", "x:arm64-v6-abc")]
        {
            let makefile = read(KERNEL, &[("ARCH", arch), ("BOARD", board)]).expect("read");
            assert_eq!(makefile.value("TAG").expect("a value"), tag);
        }
        let given = read(KERNEL, &[("ARCH", "arm64"), ("BOARD", "jp5"), ("TAG", "mine:1")]).expect("read");
        assert_eq!(given.value("TAG").expect("a value"), "mine:1");
        assert_eq!(given.value("BOARDS_arm64").expect("a value"), "generic imx8mq jp5");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, message) in [
            (KERNEL, "a.mk:6: no xyz for arm64"),
            ("A = 1\nall: b\n", "a.mk:2: only variables are read here, not `all: b`"),
            ("A := $(shell uname)\n", "a.mk:1: make's function `shell` is not understood here"),
            ("A = $(A)\nB := $(A)\n", "a.mk:2: a variable refers to itself: `A`"),
            ("ifeq (a, b)\nA = $(shell x)\n", "a.mk: a conditional has no endif"),
            ("A := $(B\n", "a.mk:1: a bracket of `$(B` is not closed"),
            ("endif\n", "a.mk:1: `endif` stands alone"),
            ("include a.mk\n", "files include each other"),
        ] {
            let error = format!("{:#}", read(text, &[("ARCH", "arm64"), ("BOARD", "xyz")]).expect_err(text));
            assert!(error.ends_with(message), "{error}");
        }
    }
}
