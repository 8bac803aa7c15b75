//! `xtask.local.toml`: a person's own values of knobs for one tree, which git ignores. It has the table `[knobs]` of `xtask.toml` and
//! nothing else; every error names the line and the field.

use anyhow::{Context as _, Result};
use child::environment::Environment;
use common::error::{did_you_mean, usage};
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

/// Reads the file of the tree at `root`, which has these `hypervisors`; empty if there is none, or if `XTASK_LOCAL=n`.
pub fn read(root: &Path, environment: &Environment, hypervisors: &[String]) -> Result<Local> {
    let path = root.join(LOCAL);
    if environment.get(SWITCH) == Some("n") || !path.is_file() {
        return Ok(Local::default());
    }
    parse(&std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?, hypervisors)
}

fn parse(text: &str, hypervisors: &[String]) -> Result<Local> {
    let line = |at: usize| text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    let tables: BTreeMap<Spanned<String>, Spanned<Value>> =
        toml::from_str(text).map_err(|error| refuse(error.span().map_or(1, |span| line(span.start)), error.message()))?;
    for name in tables.keys() {
        if name.get_ref() != "knobs" {
            let near = did_you_mean(name.get_ref(), ["knobs"]).map_or("write [knobs] above it", |_| "did you mean [knobs]?");
            let what = format!("`{}` is not in the table [knobs], the only one of this file\nhint: {near}", name.get_ref());
            return Err(refuse(line(name.span().start), &what));
        }
    }
    let Some((_, table)) = tables.into_iter().next() else { return Ok(Local::default()) };
    let at = line(table.span().start);
    let Ok(knobs) = toml::from_str::<Tables>(text) else { return Err(refuse(at, "`knobs` is no table\nhint: [knobs]")) };
    let setting = |(name, value): (Spanned<String>, Value)| Setting { line: line(name.span().start), name: name.into_inner(), value };
    let mut settings: Vec<Setting> = knobs.knobs.into_iter().map(setting).collect();
    settings.sort_by_key(|setting| setting.line);
    settings.iter().try_for_each(|setting| setting.check(hypervisors))?;
    Ok(Local(settings))
}

impl Setting {
    /// Fails if a value is no text, or if [`check`] does; also for hypervisors that are not chosen.
    fn check(&self, hypervisors: &[String]) -> Result<()> {
        let table = self.value.as_table();
        let keys = table.map(|table| table.keys().map(String::as_str).collect::<Vec<_>>());
        check(&self.name, keys.as_deref(), hypervisors).map_err(|error| refuse(self.line, &format!("{error:#}")))?;
        match table {
            Some(table) => table.values().try_for_each(|value| self.text(value).map(drop)),
            None => self.text(&self.value).map(drop),
        }
    }

    /// `value` as the command line takes it.
    fn text(&self, value: &Value) -> Result<String> {
        Ok(match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Boolean(on) => (if *on { "y" } else { "n" }).to_owned(),
            other => {
                let what = format!(
                    "`{}` is a TOML {}, which no knob takes\nhint: a text in quotes, a number, true or false, or a table of these by hypervisor",
                    self.name,
                    other.type_str()
                );
                return Err(refuse(self.line, &what));
            }
        })
    }
}

/// Fails if `name` is no knob, or if `keys`, those of a table of its values, are not all of the tree's `hypervisors`.
pub(super) fn check(name: &str, keys: Option<&[&str]>, hypervisors: &[String]) -> Result<()> {
    let knob = knobs::named(name)?;
    let Some(keys) = keys else { return Ok(()) };
    if knob.name == "HV" {
        return Err(usage("HV chooses from such tables, so it takes no table\nhint: HV = \"kvm\""));
    }
    match keys.iter().find(|key| hypervisors.iter().all(|known| known != *key)) {
        Some(key) => {
            let near = did_you_mean(key, hypervisors.iter().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!("\nhint: did you mean {near}?"));
            Err(usage(format!("{name} has a value for `{key}`, which is none of the tree's hypervisors: {}{near}", hypervisors.join(", "))))
        }
        None => Ok(()),
    }
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
    let text = setting.text(value)?;
    raw.set(&setting.name, &text, Source::Local(setting.line)).map_err(|error| refuse(setting.line, &format!("{error:#}")))
}

fn refuse(line: usize, what: &str) -> anyhow::Error {
    usage(format!("{LOCAL}, line {line}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs(text: &str, hv: &str) -> Result<Vec<String>> {
        let (mut raw, local) = (RawKnobs::default(), parse(text, &["kvm", "xen"].map(str::to_owned))?);
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
            (
                "[knobs]\nMEDIA_SIZ = { xen = 8000 }\n",
                "xtask.local.toml, line 2: there is no knob MEDIA_SIZ\nhint: did you mean MEDIA_SIZE?",
            ),
            (
                "[knobs]\nROOTFS_COMPRESSION = { kvn = \"gzip\" }\n",
                "xtask.local.toml, line 2: ROOTFS_COMPRESSION has a value for `kvn`, which is none of the tree's hypervisors: kvm, xen\n\
                 hint: did you mean kvm?",
            ),
            ("[knobs]\nHV = { kvm = \"xen\" }\n", "xtask.local.toml, line 2: HV chooses from such tables, so it takes no table\nhint: HV"),
            ("[knobs]\nMEDIA_SIZE = { xen = [1] }\n", "xtask.local.toml, line 2: `MEDIA_SIZE` is a TOML array, which no knob takes"),
            ("knobs = 1\n", "xtask.local.toml, line 1: `knobs` is no table"),
        ] {
            let error = knobs(text, "kvm").expect_err(text).to_string();
            assert!(error.starts_with(wanted), "{text}: {error}");
        }
    }
}
