//! The calls that stand-ins wrote down, and words for what varies: folders, users, times.

use super::recording::Call;
use anyhow::{Context as _, Result, bail};
use regex::Regex;
use std::{collections::BTreeMap, path::Path, sync::LazyLock};

/// Replaces what varies from run to run.
pub struct Normal {
    /// Texts and their words, longest text first.
    pub texts: Vec<(String, String)>,
    pub user: String,
}

impl Normal {
    /// `text` with words such as `$ROOT`.
    pub fn of(&self, text: &str) -> String {
        static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
            [
                (r"/tmp/(?:tmp|yetus)\.[A-Za-z0-9]{10}", "$$TMP"),
                (r"\btmp\.[A-Za-z0-9]{10}\b", "$$TMPNAME"),
                // We have one folder where scripts have several, or a file.
                (r"/tmp/(?:\.tmp|sources|aports)[A-Za-z0-9]{6}(?:/(?:root|out|profile)\b)?", "$$TMP"),
                (r"\b20\d\d-\d\d-\d\d\.\d\d\.\d\d\b", "$$DATE"),
                (r"eve-parallel-build-[A-Za-z0-9]{6}", "eve-parallel-build-$$RAND"),
            ]
            .map(|(pattern, word)| (Regex::new(pattern).expect("a valid regular expression"), word))
            .into()
        });
        let mut text = self.texts.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        let home = |user: &str| ["", "home", user].join("/") + ":";
        text = text.replace(&format!("eve-build-{}", self.user), "eve-build-$USER").replace(&home(&self.user), &home("$USER"));
        RULES.iter().fold(text, |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned())
    }

    /// The arguments of one call.
    fn arguments(&self, words: &[String]) -> Vec<String> {
        let one = |(at, word): (usize, &String)| {
            let is_user = at > 0 && words[at - 1] == "-u" && *word == self.user;
            let who = ["USER=", "GROUP=", "UID=", "GID="].into_iter().find(|name| word.starts_with(name));
            match who {
                _ if is_user => "$USER".to_owned(),
                Some(name) => format!("{name}${}", name.trim_end_matches('=')),
                None => self.of(word),
            }
        };
        words.iter().enumerate().map(one).collect()
    }
}

/// The calls in the file that the stand-ins write (`xtask/conformance/stand-in.sh`: `finish`).
pub fn read(file: &Path, normal: &Normal) -> Result<Vec<Call>> {
    let bytes = std::fs::read(file).unwrap_or_default();
    parse(&String::from_utf8_lossy(&bytes), normal).with_context(|| format!("`{}` is no list of calls", file.display()))
}

fn parse(text: &str, normal: &Normal) -> Result<Vec<Call>> {
    let mut fields = text.split_terminator('\0').map(str::to_owned);
    let mut calls = Vec::new();
    while let Some(tool) = fields.next() {
        let mut next = || fields.next().context("the last call is cut off");
        let (cwd, stdin, said, status) = (next()?, next()?, next()?, next()?);
        let mut several = || -> Result<Vec<String>> { (0..next()?.parse::<usize>()?).map(|_| next()).collect() };
        let (variables, arguments) = (several()?, several()?);
        let env: BTreeMap<String, String> =
            variables.iter().filter_map(|one| one.split_once('=')).map(|(name, value)| (name.to_owned(), normal.of(value))).collect();
        if !["none", "text", "tar", "bytes"].contains(&stdin.as_str()) {
            bail!("`{stdin}` is no kind of input");
        }
        calls.push(Call {
            argv: normal.arguments(&arguments),
            tool,
            cwd: normal.of(&cwd),
            rc: status.parse()?,
            stdin_text: Some(normal.of(&said)).filter(|_| stdin == "text" || stdin == "tar"),
            stdin: Some(stdin).filter(|kind| kind != "none"),
            env,
        });
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_with_words_for_what_varies() {
        let normal = Normal { texts: vec![("/w/eve".into(), "$ROOT".into())], user: "me".into() };
        let text = "docker\0/w/eve/dist\0text\0hello\0/0\0".replace("/0", "0")
            + "1\0ZARCH=amd64\0"
            + "3\0run\0-u\0me\0"
            + "git\0/w\0none\0\x001\x000\x000\0";
        let calls = parse(&text, &normal).expect("calls");
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].cwd.as_str(), calls[0].argv.join(" ").as_str()), ("$ROOT/dist", "run -u $USER"));
        assert_eq!((calls[0].stdin_text.as_deref(), calls[1].rc, calls[1].stdin.as_deref()), (Some("hello"), 1, None));
        assert!(parse("docker\0/w", &normal).expect_err("refused").to_string().contains("cut off"));
        let dirty = normal.of("/w/eve/dist/0.0.0-dirty-2026-01-02.03.04/live.raw /tmp/tmp.abcdefghij eve-build-me");
        assert_eq!(dirty, "$ROOT/dist/0.0.0-dirty-$DATE/live.raw $TMP eve-build-$USER");
    }
}
