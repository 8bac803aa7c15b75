//! Finds the images that a Dockerfile needs, before a build.

use super::{Command, Dockerfile, Instruction, expand};
use std::collections::{BTreeMap, BTreeSet};

/// An image named in `FROM` or `--from`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageUse {
    /// The reference, variables expanded.
    pub reference: String,
    /// Whether it is needed for the build machine's architecture instead of the image's.
    pub on_build_machine: bool,
}

/// Architectures to consider: names of stages may depend on them.
const ARCHES: [&str; 3] = ["amd64", "arm64", "riscv64"];

/// The images that a Dockerfile needs, by the architectures of image and build machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagesByArch(Vec<Vec<ImageUse>>);

impl ImagesByArch {
    /// The images for `arch` on a machine of `build`, sorted; none for an architecture that is not considered.
    #[must_use]
    pub fn of(&self, arch: &str, build: &str) -> Option<&[ImageUse]> {
        let place = |arch: &str| ARCHES.iter().position(|known| *known == arch);
        let at = if self.0.len() == 1 { 0 } else { place(arch)? * ARCHES.len() + place(build)? };
        self.0.get(at).map(Vec::as_slice)
    }

    /// The images for any architectures, sorted.
    #[must_use]
    pub fn all(&self) -> BTreeSet<&ImageUse> {
        self.0.iter().flatten().collect()
    }

    /// One list if the architectures make no difference, else one for each pair.
    pub(crate) fn lists(&self) -> &[Vec<ImageUse>] {
        &self.0
    }

    /// The reverse of [`Self::lists`]; none for another number of lists.
    pub(crate) fn of_lists(lists: Vec<Vec<ImageUse>>) -> Option<Self> {
        [1, ARCHES.len() * ARCHES.len()].contains(&lists.len()).then_some(Self(lists))
    }
}

/// Platform variables of a build for `arch` on a `build` machine.
fn platforms(arch: &str, build: &str) -> [(&'static str, String); 6] {
    [
        ("BUILDPLATFORM", format!("linux/{build}")),
        ("BUILDOS", "linux".to_owned()),
        ("BUILDARCH", build.to_owned()),
        ("TARGETPLATFORM", format!("linux/{arch}")),
        ("TARGETOS", "linux".to_owned()),
        ("TARGETARCH", arch.to_owned()),
    ]
}

impl Dockerfile {
    /// Images that the last stage needs, for any architecture on any machine, sorted, with the defaults of global `ARG`s.
    #[must_use]
    pub fn images(&self) -> Vec<ImageUse> {
        self.images_with(&BTreeMap::new())
    }

    /// As [`Self::images`], with values for `ARG`. Skips words that cannot be expanded; the build reports them.
    #[must_use]
    pub fn images_with(&self, build_args: &BTreeMap<String, String>) -> Vec<ImageUse> {
        let mut images = BTreeSet::new();
        let arches = if self.depends_on_arch() { &ARCHES[..] } else { &ARCHES[..1] };
        for (arch, build) in arches.iter().flat_map(|arch| arches.iter().map(move |build| (arch, build))) {
            self.add_images(arch, build, build_args, &mut images);
        }
        images.into_iter().collect()
    }

    /// Whether the images, or which of them are for the build machine, may depend on the architectures of the build.
    #[must_use]
    pub fn depends_on_arch(&self) -> bool {
        self.stages.iter().any(|stage| {
            let froms = stage.items.iter().flat_map(|item| sources_of(&item.instruction));
            // Those of the build machine are marked, whatever its architecture.
            let platform = stage.platform.as_deref().filter(|platform| *platform != "$BUILDPLATFORM");
            [stage.base.as_str()].into_iter().chain(platform).chain(froms).any(|word| word.contains('$'))
        })
    }

    /// Images that the last stage needs, for every pair of architectures.
    #[must_use]
    pub fn images_by_arch(&self) -> ImagesByArch {
        let arches = if self.depends_on_arch() { &ARCHES[..] } else { &ARCHES[..1] };
        ImagesByArch(arches.iter().flat_map(|arch| arches.iter().map(|build| self.images_for(arch, build, &BTreeMap::new()))).collect())
    }

    /// Images that the last stage needs in a build for `arch` on a machine of `build`, with values for `ARG`.
    #[must_use]
    pub fn images_for(&self, arch: &str, build: &str, build_args: &BTreeMap<String, String>) -> Vec<ImageUse> {
        let mut images = BTreeSet::new();
        self.add_images(arch, build, build_args, &mut images);
        images.into_iter().collect()
    }

    fn add_images(&self, arch: &str, build: &str, build_args: &BTreeMap<String, String>, images: &mut BTreeSet<ImageUse>) {
        // `BUILD` stands for the build machine, to see which `--platform` refers to it.
        let (args, marked) = (self.args_for(arch, build, build_args), self.args_for(arch, "BUILD", build_args));
        let expanded =
            |word: &str, args: &BTreeMap<String, String>| expand(word, self.escape, &|name| args.get(name).cloned()).unwrap_or_default();
        let text = |word: &str| expanded(word, &args);
        for index in self.needed_stages(self.stages.len() - 1, &args) {
            let stage = &self.stages[index];
            let on_build_machine = stage.platform.as_deref().is_some_and(|platform| expanded(platform, &marked).contains("BUILD"));
            let base = text(&stage.base);
            if base != "scratch" && !base.is_empty() && self.find_named(&base, index).is_none() {
                images.insert(ImageUse { reference: base, on_build_machine });
            }
            for from in stage.items.iter().flat_map(|item| sources_of(&item.instruction)) {
                let from = text(from);
                if !from.is_empty() && self.find_stage(&from, index).is_none() {
                    images.insert(ImageUse { reference: from, on_build_machine: false });
                }
            }
        }
    }

    fn args_for(&self, arch: &str, build: &str, build_args: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let platforms = platforms(arch, build);
        let predefined: Vec<(&str, &str)> = platforms.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.global_args(&predefined, build_args)
    }

    /// Stages that stage `last` needs, itself included, in file order. `args` are the global ones.
    pub(crate) fn needed_stages(&self, last: usize, args: &BTreeMap<String, String>) -> BTreeSet<usize> {
        let text = |word: &str| expand(word, self.escape, &|name| args.get(name).cloned()).unwrap_or_default();
        let mut needed = BTreeSet::new();
        let mut pending = vec![last];
        while let Some(index) = pending.pop() {
            if !needed.insert(index) {
                continue;
            }
            let stage = &self.stages[index];
            pending.extend(self.find_named(&text(&stage.base), index));
            pending.extend(
                stage.items.iter().flat_map(|item| sources_of(&item.instruction)).filter_map(|from| self.find_stage(&text(from), index)),
            );
        }
        needed
    }

    /// `ARG`s before the first `FROM`, added to `predefined`. A default that cannot be expanded is kept as text.
    pub(crate) fn global_args(&self, predefined: &[(&str, &str)], build_args: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut values: BTreeMap<String, String> =
            predefined.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for arg in &self.args {
            let default = || {
                let word = arg.default.as_ref()?;
                Some(expand(word, self.escape, &|name| values.get(name).cloned()).unwrap_or_else(|_| word.clone()))
            };
            if let Some(value) = build_args.get(&arg.name).cloned().or_else(default) {
                values.insert(arg.name.clone(), value);
            }
        }
        values
    }

    /// The stage with that name before stage `before`. A number is no name: `FROM 0` is an image.
    pub(crate) fn find_named(&self, name: &str, before: usize) -> Option<usize> {
        self.find_stage(name, before).filter(|_| name.parse::<usize>().is_err())
    }
}

/// Stages or images that an instruction copies or mounts from.
fn sources_of(instruction: &Instruction) -> Vec<&str> {
    match instruction {
        Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.get(&["from"])).collect(),
        _ => Vec::new(),
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exec(words) => f.write_str(&words.join(" ")),
            Self::Shell(text) => f.write_str(text),
        }
    }
}
