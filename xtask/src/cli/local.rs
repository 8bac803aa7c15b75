//! `xtask.local.toml`: a person's own values of knobs for one tree, which git ignores. It has the table `[knobs]` of `xtask.toml` and
//! nothing else; every error names the line and the field.

use anyhow::{Context as _, Result};
use child::environment::Environment;
use common::error::usage;
use knobs::{LOCAL, RawKnobs, Source};
use std::{collections::BTreeMap, path::Path};
use toml::{Spanned, Value};

/// The variable that makes xtask ignore the file, so that tests do not depend on whose tree they run in.
const SWITCH: &str = "XTASK_LOCAL";

/// One line of `[knobs]`.
struct Setting {
    line: usize,
    name: String,
    value: Value,
}

/// The settings of the file, in its order.
#[derive(Default)]
pub struct Local(Vec<Setting>);

/// Reads the file of the tree at `root`; empty if there is none, or if `XTASK_LOCAL=n`.
pub fn read(root: &Path, environment: &Environment) -> Result<Local> {
    let path = root.join(LOCAL);
    if environment.get(SWITCH) == Some("n") || !path.is_file() {
        return Ok(Local::default());
    }
    parse(&std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?)
}

fn parse(text: &str) -> Result<Local> {
    let line = |at: usize| text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    let tables: BTreeMap<Spanned<String>, Spanned<Value>> =
        toml::from_str(text).map_err(|error| refuse(error.span().map_or(1, |span| line(span.start)), error.message()))?;
    for name in tables.keys() {
        if name.get_ref() != "knobs" {
            let what = format!("`{}` is not in the table [knobs], the only one of this file\nhint: write [knobs] above it", name.get_ref());
            return Err(refuse(line(name.span().start), &what));
        }
    }
    let Some((_, table)) = tables.into_iter().next() else { return Ok(Local::default()) };
    let at = line(table.span().start);
    let Ok(knobs) = toml::from_str::<Tables>(text) else { return Err(refuse(at, "`knobs` is no table\nhint: [knobs]")) };
    let setting = |(name, value): (Spanned<String>, Value)| Setting { line: line(name.span().start), name: name.into_inner(), value };
    let mut settings: Vec<Setting> = knobs.knobs.into_iter().map(setting).collect();
    settings.sort_by_key(|setting| setting.line);
    Ok(Local(settings))
}

#[derive(serde::Deserialize)]
struct Tables {
    knobs: BTreeMap<Spanned<String>, Value>,
}

impl Local {
    /// Sets the knobs that have one value for all hypervisors.
    pub fn set_plain(&self, raw: &mut RawKnobs) -> Result<()> {
        self.0.iter().filter(|setting| !setting.value.is_table()).try_for_each(|setting| set(raw, setting, &setting.value))
    }

    /// Sets the knobs that have a value for the hypervisor `hv`: `MEDIA_SIZE = { kvm = 8192 }`.
    pub fn set_by_hypervisor(&self, raw: &mut RawKnobs, hv: &str) -> Result<()> {
        let tables = self.0.iter().filter_map(|setting| Some((setting, setting.value.as_table()?.get(hv)?)));
        tables.into_iter().try_for_each(|(setting, value)| set(raw, setting, value))
    }
}

fn set(raw: &mut RawKnobs, setting: &Setting, value: &Value) -> Result<()> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(on) => (if *on { "y" } else { "n" }).to_owned(),
        other => {
            let what = format!(
                "`{}` is a TOML {}, which no knob takes\nhint: a text in quotes, a number, true or false, or a table of these by hypervisor",
                setting.name,
                other.type_str()
            );
            return Err(refuse(setting.line, &what));
        }
    };
    raw.set(&setting.name, &text, Source::Local(setting.line)).map_err(|error| refuse(setting.line, &format!("{error:#}")))
}

fn refuse(line: usize, what: &str) -> anyhow::Error {
    usage(format!("{LOCAL}, line {line}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs(text: &str, hv: &str) -> Result<Vec<String>> {
        let (mut raw, local) = (RawKnobs::default(), parse(text)?);
        local.set_plain(&mut raw)?;
        local.set_by_hypervisor(&mut raw, hv)?;
        Ok(raw.iter().map(|origin| format!("{}={} ({})", origin.name, origin.value, origin.source)).collect())
    }

    #[test]
    fn values_are_texts_numbers_switches_or_by_hypervisor() {
        let text = "# mine\n[knobs]\nIMG_FORMAT = \"raw\"\nMEDIA_SIZE = { kvm = 9000, xen = 8000 }\nDEV = true\nVB_CPUS = 2\n";
        let found = knobs(text, "xen").expect("valid");
        for wanted in [
            "IMAGE_FORMAT=raw (xtask.local.toml, line 3)",
            "MEDIA_SIZE=8000 (xtask.local.toml, line 4)",
            "DEV=y (xtask.local.toml, line 5)",
        ] {
            assert!(found.iter().any(|line| line == wanted), "{wanted}: {found:?}");
        }
        assert!(knobs("", "kvm").expect("empty").is_empty());
    }

    #[test]
    fn an_error_names_line_and_field() {
        for (text, wanted) in [
            ("[knobs]\nHVV = \"xen\"\n", "xtask.local.toml, line 2: there is no knob HVV\nhint: did you mean HV?"),
            (
                "HV = \"xen\"\n",
                "xtask.local.toml, line 1: `HV` is not in the table [knobs], the only one of this file\nhint: write [knobs] above it",
            ),
            ("[knobs]\n\n[tree]\n", "xtask.local.toml, line 3: `tree` is not in the table [knobs]"),
            ("[knobs]\nHV = [\"xen\"]\n", "xtask.local.toml, line 2: `HV` is a TOML array, which no knob takes\nhint: a text"),
            ("[knobs]\nHV = \"xen\"\nDEV =\n", "xtask.local.toml, line 3: "),
            (
                "[knobs]\nIMG_FORMAT = \"raw\"\nIMAGE_FORMAT = \"gcp\"\n",
                "xtask.local.toml, line 3: IMAGE_FORMAT is set to `raw` and to `gcp`",
            ),
            ("[knobs]\nHV = \"xen\"\nHV = \"kvm\"\n", "xtask.local.toml, line 3: "),
            ("knobs = 1\n", "xtask.local.toml, line 1: `knobs` is no table"),
        ] {
            let error = knobs(text, "kvm").expect_err(text).to_string();
            assert!(error.starts_with(wanted), "{text}: {error}");
        }
    }
}
