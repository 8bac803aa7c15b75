//! Finds the remote sources of `ADD` before a build.

use super::{Dockerfile, Instruction, expand};
use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};

/// URL schemes of remote sources.
const SCHEMES: &[&str] = &["https://", "http://", "ftp://", "ftps://", "git://"];

type Variables = BTreeMap<String, String>;

impl Dockerfile {
    /// URLs in the `ADD` instructions of the stages that the last one needs, variables expanded, in file order. `predefined`
    /// are variables such as `TARGETARCH`. A git repository is returned as `git://host/path#ref`, whatever its scheme.
    pub fn remote_sources(&self, predefined: &[(&str, &str)]) -> Result<Vec<String>> {
        let global = self.global_args(predefined, &BTreeMap::new());
        let needed = self.needed_stages(self.stages.len() - 1, &global);
        let sources = self.added(&needed, &global, &BTreeMap::new())?.into_iter().map(|(_, source)| source);
        let remote = sources.filter(|source| SCHEMES.iter().any(|scheme| source.starts_with(scheme)));
        Ok(remote.map(|source| as_git(&source).unwrap_or(source)).collect())
    }

    /// Sources in the `ADD` instructions of the stages `needed`, variables expanded, with their lines. `global` are the variables of all
    /// stages, `given` the values of `ARG` that override defaults; variables of base images count as empty.
    pub(crate) fn added(&self, needed: &BTreeSet<usize>, global: &Variables, given: &Variables) -> Result<Vec<(usize, String)>> {
        let mut stages: BTreeMap<usize, Variables> = BTreeMap::new();
        let mut sources = Vec::new();
        for index in needed.iter().copied() {
            let stage = &self.stages[index];
            let base = expand(&stage.base, self.escape, &|name| global.get(name).cloned())
                .with_context(|| format!("{}:{}", self.path, stage.line))?;
            let inherited = self.find_named(&base, index).and_then(|base| stages.get(&base)).cloned();
            let mut variables = inherited.unwrap_or_default();
            for item in &stage.items {
                let found = self.follow(&item.instruction, global, given, &mut variables);
                let found = found.with_context(|| format!("{}:{}", self.path, item.line))?;
                sources.extend(found.into_iter().map(|source| (item.line, source)));
            }
            stages.insert(index, variables);
        }
        Ok(sources)
    }

    /// Applies an instruction to the variables; returns the sources of an `ADD`.
    fn follow(&self, instruction: &Instruction, global: &Variables, given: &Variables, variables: &mut Variables) -> Result<Vec<String>> {
        let text = |word: &str, variables: &Variables| expand(word, self.escape, &|name| variables.get(name).cloned());
        match instruction {
            Instruction::Arg(args) => {
                for (name, default) in args {
                    let value = match (given.get(name), default) {
                        (Some(value), _) => Some(value.clone()),
                        (None, Some(default)) => Some(text(default, variables)?),
                        (None, None) => global.get(name).cloned(),
                    };
                    if let Some(value) = value {
                        variables.insert(name.clone(), value);
                    }
                }
            }
            Instruction::Env(pairs) => {
                // All values of one instruction use the variables before it.
                let before = variables.clone();
                for (name, value) in pairs {
                    variables.insert(name.clone(), text(value, &before)?);
                }
            }
            Instruction::Add(add) => {
                let files = add.sources.iter().filter(|word| add.heredocs.iter().all(|heredoc| heredoc.word != **word));
                return files.map(|source| text(source, variables)).collect();
            }
            _ => {}
        }
        Ok(Vec::new())
    }
}

/// `git://host/path#ref` of a git repository's URL: its path ends in `.git` or `.git#ref`.
fn as_git(source: &str) -> Option<String> {
    let (scheme, rest) = source.split_once("://")?;
    let path = rest.split('#').next()?;
    (scheme.starts_with("http") && path.ends_with(".git")).then(|| format!("git://{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
ARG MIRROR=https://example.org
FROM base AS set-amd64
ENV VERSION=1.2
FROM base AS set-arm64
ARG VERSION=3.4
FROM set-${TARGETARCH} AS fetch
ARG MIRROR
ARG SOURCE=${MIRROR}/a-${VERSION}.tar.xz
ADD ${SOURCE} local.patch /tmp/
ADD https://example.org/kconf.git#v12 /k
FROM base AS unused
ADD https://example.org/unused /
FROM scratch
COPY --from=fetch / /
";

    #[test]
    fn what_the_last_stage_needs_is_fetched() {
        let file = Dockerfile::parse(TEXT, "Dockerfile").expect("parsed");
        let amd64 = file.remote_sources(&[("TARGETARCH", "amd64")]).expect("sources");
        assert_eq!(amd64, ["https://example.org/a-1.2.tar.xz", "git://example.org/kconf.git#v12"]);
        let arm64 = file.remote_sources(&[("TARGETARCH", "arm64")]).expect("sources");
        assert_eq!(arm64[0], "https://example.org/a-3.4.tar.xz");
    }
}
