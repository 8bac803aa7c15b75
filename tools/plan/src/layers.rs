//! Puts the text of a profile together: `extends` names a shipped profile that it starts from, `[[when]]` changes it for trees that have or
//! lack some files or words, and `[read]` takes values from the tree's own makefiles. Reads the tree only through [`TreeFiles`].

use anyhow::{Context as _, Result, anyhow, bail};
use memchr::memmem;
use serde::{Deserialize, de::DeserializeOwned};
use std::{collections::BTreeMap, rc::Rc};
use toml::{Table, Value};

/// The shipped profiles: name and text. Those with `[detect]` come before those that they are more specific than.
pub(crate) const SHIPPED: &[(&str, &str)] = &[
    ("lf-edge", include_str!("../profiles/lf-edge.toml")),
    ("eve-2022", include_str!("../profiles/eve-2022.toml")),
    ("eve-2023", include_str!("../profiles/eve-2023.toml")),
    ("eve-2024", include_str!("../profiles/eve-2024.toml")),
    ("eve", include_str!("../profiles/eve.toml")),
];

/// What a profile asks about the tree that it is for.
pub trait TreeFiles {
    /// Whether the path exists.
    fn has(&self, path: &str) -> bool;
    /// The text of a file, if there is one.
    fn text(&self, path: &str) -> Option<Rc<str>>;
}

/// No tree: nothing exists, so a profile is as it is written.
pub struct NoTree;

impl TreeFiles for NoTree {
    fn has(&self, _: &str) -> bool {
        false
    }

    fn text(&self, _: &str) -> Option<Rc<str>> {
        None
    }
}

/// `[detect]`: a tree has all of `files` and none of `absent`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detect {
    /// Paths that must exist.
    pub files: Vec<String>,
    /// Paths that must not exist.
    #[serde(default)]
    pub absent: Vec<String>,
}

impl Detect {
    /// Whether a tree has all of `files` and none of `absent`.
    #[must_use]
    pub fn fits(&self, tree: &dyn TreeFiles) -> bool {
        !self.files.is_empty() && self.files.iter().all(|path| tree.has(path)) && !self.absent.iter().any(|path| tree.has(path))
    }
}

/// `[[when]]`: what differs on trees where all conditions hold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    /// Paths that exist.
    #[serde(default)]
    has: Vec<String>,
    /// Paths that do not exist.
    #[serde(default)]
    lacks: Vec<String>,
    /// Files that exist and contain a text.
    #[serde(default)]
    text: BTreeMap<String, String>,
    /// Files that exist and do not contain a text.
    #[serde(default)]
    no_text: BTreeMap<String, String>,
    /// Keys that are removed: `a.b`.
    #[serde(default)]
    without: Vec<String>,
    /// Keys that are set.
    #[serde(default)]
    set: Table,
}

impl When {
    fn holds(&self, tree: &dyn TreeFiles) -> bool {
        let contains =
            |(path, part): (&String, &String)| tree.text(path).map(|text| memmem::find(text.as_bytes(), part.as_bytes()).is_some());
        self.has.iter().all(|path| tree.has(path))
            && !self.lacks.iter().any(|path| tree.has(path))
            && self.text.iter().all(|row| contains(row) == Some(true))
            && self.no_text.iter().all(|row| contains(row) == Some(false))
    }
}

/// Parses the profile `text` for `tree`.
pub fn assemble<P: DeserializeOwned>(text: &str, tree: &dyn TreeFiles) -> Result<P> {
    let table: Table = toml::from_str(text)?;
    if ["extends", "when", "read", "without"].iter().all(|key| !table.contains_key(*key)) {
        // Errors of the typed parser have a line.
        return Ok(toml::from_str(text)?);
    }
    let mut table = resolve(table, tree, 0)?;
    read_values(&mut table, tree)?;
    Ok(Value::Table(table).try_into()?)
}

/// The shipped profile that fits `tree`, put together for it.
pub fn find<P: DeserializeOwned>(tree: &dyn TreeFiles) -> Option<Result<P>> {
    let (name, text) = SHIPPED.iter().find(|(_, text)| detect(text).is_some_and(|detect| detect.fits(tree)))?;
    Some(assemble(text, tree).with_context(|| format!("the profile {name}")))
}

/// Whether a shipped profile fits `tree`.
#[must_use]
pub fn is_known(tree: &dyn TreeFiles) -> bool {
    SHIPPED.iter().any(|(_, text)| detect(text).is_some_and(|detect| detect.fits(tree)))
}

/// The shipped profile `name` for no particular tree.
pub fn shipped<P: DeserializeOwned>(name: &str) -> Result<P> {
    assemble(text_of(name)?, &NoTree)
}

fn text_of(name: &str) -> Result<&'static str> {
    let names = || SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let found = SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    found.with_context(|| format!("`extends = \"{name}\"`: there is no such profile\nhint: profiles are {}", names()))
}

/// `[detect]` of a shipped profile. Only these lines are parsed: this happens at each start, for all profiles.
fn detect(text: &str) -> Option<Detect> {
    const HEAD: &str = "\n[detect]\n";
    let table = &text[text.find(HEAD)? + HEAD.len()..];
    toml::from_str(&table[..table.find("\n[").unwrap_or(table.len())]).ok()
}

/// A profile's table with what it extends and what its conditions add; `[read]` is still in it.
fn resolve(mut own: Table, tree: &dyn TreeFiles, depth: usize) -> Result<Table> {
    if depth > SHIPPED.len() {
        bail!("profiles extend each other in a circle");
    }
    let whens: Vec<When> = own.remove("when").map(Value::try_into).transpose().context("[[when]]")?.unwrap_or_default();
    let without: Vec<String> = own.remove("without").map(Value::try_into).transpose().context("without")?.unwrap_or_default();
    let mut table = match own.remove("extends") {
        None => Table::new(),
        Some(Value::String(name)) => {
            let mut base = resolve(toml::from_str(text_of(&name)?)?, tree, depth + 1)?;
            base.remove("detect");
            base
        }
        Some(other) => bail!("extends takes the name of a profile, not {}", other.type_str()),
    };
    without.iter().try_for_each(|key| remove(&mut table, key))?;
    merge(&mut table, own);
    for when in whens.into_iter().filter(|when| when.holds(tree)) {
        when.without.iter().try_for_each(|key| remove(&mut table, key))?;
        merge(&mut table, when.set);
    }
    Ok(table)
}

/// Takes the values of `[read]` from the tree's files. They are stronger than those of the profiles, which are for trees without the file.
fn read_values(table: &mut Table, tree: &dyn TreeFiles) -> Result<()> {
    let read: BTreeMap<String, BTreeMap<String, String>> =
        table.remove("read").map(Value::try_into).transpose().context("[read]")?.unwrap_or_default();
    for (file, rows) in &read {
        let Some(text) = tree.text(file) else { continue };
        for (key, variable) in rows {
            if let Some(value) = variable_of(&text, variable) {
                set(table, key, value)?;
            }
        }
    }
    Ok(())
}

/// Puts `over` on `table`: tables are merged, everything else is replaced.
fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}

/// Removes the key `a.b`; an error if it is not there.
fn remove(table: &mut Table, key: &str) -> Result<()> {
    let mut folder = table;
    let (parents, last) = key.rsplit_once('.').map_or((None, key), |(parents, last)| (Some(parents), last));
    for part in parents.into_iter().flat_map(|parents| parents.split('.')) {
        folder = folder.get_mut(part).and_then(Value::as_table_mut).ok_or_else(|| anyhow!("without: there is no `{key}`"))?;
    }
    folder.remove(last).map(drop).with_context(|| format!("without: there is no `{key}`"))
}

/// Sets the key `a.b` to a text.
fn set(table: &mut Table, key: &str, value: String) -> Result<()> {
    let mut over = Value::String(value);
    for part in key.rsplit('.') {
        over = Value::Table(Table::from_iter([(part.to_owned(), over)]));
    }
    match over {
        Value::Table(over) => merge(table, over),
        _ => bail!("[read]: `{key}` is no key"),
    }
    Ok(())
}

/// The value of the last plain assignment of a variable in a makefile; values with `$` are computed, and left out.
fn variable_of(text: &str, variable: &str) -> Option<String> {
    let value = |line: &str| {
        let rest = line.strip_prefix(variable)?.trim_start();
        let value = rest.strip_prefix("?=").or_else(|| rest.strip_prefix(":=")).or_else(|| rest.strip_prefix('='))?;
        let value = value.split('#').next().unwrap_or_default().trim();
        (!value.is_empty() && !value.contains('$')).then(|| value.to_owned())
    };
    text.lines().filter_map(value).next_back()
}

#[cfg(test)]
mod tests;
