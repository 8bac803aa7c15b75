//! The variables of a running GRUB: a configuration that is run by `configfile` has its own, and sees of the outer ones those that are exported.

use super::GrubStart;
use anyhow::{Result, bail};
use std::collections::BTreeMap;

/// Variables that GRUB sets or reads itself, besides those that are set here. Whoever reads one gets what only the machine knows.
const UNKNOWN: &[&str] = &[
    "feature_",
    "net_",
    "pxe_",
    "color_",
    "menu_color_",
    "lang",
    "locale_dir",
    "secondary_locale_dir",
    "theme",
    "gfx",
    "cmdpath",
    "config_directory",
    "config_file",
    "fw_path",
    "check_signatures",
    "debug",
    "pager",
    "chosen",
    "package_version",
    "biosnum",
    "icondir",
    "shim_lock",
];

/// The variables of one configuration: value, and whether they are exported.
type Context = BTreeMap<String, (String, bool)>;

/// All variables.
pub(super) struct Environment {
    contexts: Vec<Context>,
}

impl Environment {
    pub(super) fn new(start: &GrubStart) -> Self {
        let root = format!("{},gpt{}", start.disk, start.partition);
        let mut context = Context::new();
        let mut export = |name: &str, value: &str| context.insert(name.to_owned(), (value.to_owned(), true));
        export("prefix", &format!("({root})/EFI/BOOT"));
        export("root", &root);
        export("grub_cpu", "x86_64");
        export("grub_platform", "efi");
        if start.secure_boot {
            export("lockdown", "y");
        }
        Self { contexts: vec![context] }
    }

    /// The value of a variable; empty if it is not set.
    pub(super) fn get(&self, name: &str) -> Result<String> {
        if let Some((value, _)) = self.contexts.last().and_then(|context| context.get(name)) {
            return Ok(value.clone());
        }
        if let Some(start) = UNKNOWN.iter().find(|start| name.starts_with(**start)) {
            bail!("`${name}`: what GRUB itself says in variables `{start}…` is not known here");
        }
        Ok(String::new())
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        if let Some(context) = self.contexts.last_mut() {
            let exported = context.get(name).is_some_and(|(_, exported)| *exported);
            context.insert(name.to_owned(), (value.to_owned(), exported));
        }
    }

    pub(super) fn unset(&mut self, name: &str) {
        if let Some(context) = self.contexts.last_mut() {
            context.remove(name);
        }
    }

    pub(super) fn export(&mut self, name: &str) {
        if let Some(context) = self.contexts.last_mut() {
            context.entry(name.to_owned()).or_default().1 = true;
        }
    }

    /// Begins another configuration.
    pub(super) fn open(&mut self) {
        let exported = self.contexts.last().map(|context| context.iter().filter(|(_, (_, exported))| *exported));
        let context = exported.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
        self.contexts.push(context);
    }

    /// Ends it.
    pub(super) fn close(&mut self) {
        if self.contexts.len() > 1 {
            self.contexts.pop();
        }
    }
}
