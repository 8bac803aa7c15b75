//! All knobs as data, built from the declarations of the groups: for the reference page, completion, near misses and `summary`.

use crate::{
    BuildVmKnobs, CloudKnobs, ExportKnobs, GoKnobs, ImageKnobs, KeyKnobs, Knobs, PackageKnobs, ParallelsKnobs, ProtoKnobs, ProxyKnobs,
    ReleaseKnobs, RunKnobs, ToolKnobs, VirtualBoxKnobs,
    kinds::{OPTIONS, SECRET, SWITCH, value_name},
};
use clap::{Arg, Args, Command};
use std::sync::OnceLock;

/// Every group of knobs.
#[derive(Args, Clone, Debug)]
#[allow(missing_docs, reason = "doc comments would become the help of the whole command")]
pub struct AllKnobs {
    #[command(flatten)]
    pub tree: Knobs,
    #[command(flatten)]
    pub more: MoreKnobs,
}

/// The knobs that only some commands take.
#[derive(Args, Clone, Debug)]
#[allow(missing_docs, reason = "doc comments would become the help of the whole command")]
pub struct MoreKnobs {
    #[command(flatten)]
    pub run: RunKnobs,
    #[command(flatten)]
    pub proxy: ProxyKnobs,
    #[command(flatten)]
    pub key: KeyKnobs,
    #[command(flatten)]
    pub parallels: ParallelsKnobs,
    #[command(flatten)]
    pub virtualbox: VirtualBoxKnobs,
    #[command(flatten)]
    pub cloud: CloudKnobs,
    #[command(flatten)]
    pub build_vm: BuildVmKnobs,
    #[command(flatten)]
    pub export: ExportKnobs,
    #[command(flatten)]
    pub release: ReleaseKnobs,
    #[command(flatten)]
    pub proto: ProtoKnobs,
    #[command(flatten)]
    pub go: GoKnobs,
    #[command(flatten)]
    pub tools: ToolKnobs,
}

/// One knob, built from its declaration.
#[derive(Clone, Debug)]
pub struct Knob {
    /// Its name in the environment, in `VAR=value` and in `xtask.toml`: the old Makefile's variable if it had one.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// Its flag, without `--`.
    pub flag: String,
    /// Its values, for people.
    pub values: String,
    /// Its default; empty if it has none or one that depends on the machine.
    pub default: String,
    /// One line of help.
    pub help: String,
}

impl Knob {
    fn of(arg: &Arg) -> Self {
        let words: Vec<String> = arg.get_possible_values().iter().map(|word| word.get_name().to_owned()).collect();
        let hint = value_name(arg);
        let values = match hint.as_str() {
            _ if !words.is_empty() => words.join(", "),
            SWITCH => "y, n".to_owned(),
            SECRET => "text, never printed".to_owned(),
            "MIB" => "MiB".to_owned(),
            "N" => "number".to_owned(),
            OPTIONS => "text".to_owned(),
            other => other.to_lowercase(),
        };
        let default = arg.get_default_values().first().filter(|_| !arg.is_hide_default_value_set());
        Self {
            name: arg.get_id().as_str().to_owned(),
            aliases: arg.get_all_aliases().unwrap_or_default().into_iter().map(str::to_owned).collect(),
            flag: arg.get_long().unwrap_or_default().to_owned(),
            values,
            default: default.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default(),
            // As it is: without styles, which the help of a knob has not, clap takes it apart by characters.
            help: arg.get_help().map(|help| help.ansi().to_string()).unwrap_or_default(),
        }
    }

    /// Whether its values are only on and off.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        self.values == "y, n"
    }

    /// Whether `a` and `b` mean the same.
    pub(crate) fn is_same(&self, a: &str, b: &str) -> bool {
        let on = |value: &str| crate::parse::force(value).ok();
        a == b || self.is_switch() && on(a).is_some() && on(a) == on(b)
    }

    /// Its name and aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }
}

/// Whether an argument of a command is a knob: the ids of knobs are upper-case variables.
#[must_use]
pub fn is_knob(arg: &Arg) -> bool {
    arg.get_id().as_str().starts_with(|c: char| c.is_ascii_uppercase())
}

/// Every knob, in the order in which `summary` and the reference page list them.
pub fn all() -> &'static [Knob] {
    static ALL: OnceLock<Vec<Knob>> = OnceLock::new();
    ALL.get_or_init(|| AllKnobs::augment_args(Command::new("knobs")).get_arguments().filter(|arg| is_knob(arg)).map(Knob::of).collect())
}

/// Whether a knob, by its name, may decide the bytes of an artifact: those of the image and of packages do, those of this machine do not.
#[must_use]
pub fn decides_bytes(name: &str) -> bool {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    let names = || {
        let command = PackageKnobs::augment_args(ImageKnobs::augment_args(Command::new("knobs")));
        command.get_arguments().map(|arg| arg.get_id().as_str().to_owned()).collect()
    };
    NAMES.get_or_init(names).iter().any(|known| known == name)
}

/// The knob of this name, alias or flag.
#[must_use]
pub fn find(name: &str) -> Option<&'static Knob> {
    all().iter().find(|knob| knob.flag == name || knob.names().any(|known| known == name))
}
