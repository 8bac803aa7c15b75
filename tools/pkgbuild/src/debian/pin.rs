//! Resolves wanted names to a lock: the closure of their dependencies in a mirror's indexes. The choice among alternatives
//! depends on names and indexes only, not on the order of packages.

use super::{
    Index, Lock, Pin, Suite, Wanted,
    control::{Relation, parse_relations},
    index::Package,
    lock::nearest,
    version,
};
use anyhow::{Context as _, Result, bail};
use std::collections::{BTreeMap, BTreeSet};

/// Which version of a package to pin if several suites have one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// The release's version, which stays on mirrors until the next point release at least; another suite's only if a relation
    /// needs it.
    #[default]
    Stable,
    /// The latest version, including security updates; it leaves the mirrors when it is superseded.
    Latest,
}

/// Pins of all packages that `wanted` names for `arch`, and of their dependencies. The error lists all unknown names and
/// unsatisfied relations. Conflicts are ignored: packages are unpacked, not installed.
pub fn pin(wanted: &Wanted, arch: &str, indexes: &[Index], prefer: Prefer) -> Result<Lock> {
    let mut resolver = Resolver::new(wanted, arch, indexes, prefer);
    // A raised version invalidates earlier choices, so each round starts again.
    loop {
        match resolver.resolve()? {
            Round::Done(lock) => return Ok(lock),
            Round::Raised(name, package) => resolver.raised.insert(name, package),
        };
    }
}

type Found<'a> = (Suite, &'a Package);

enum Round<'a> {
    Done(Lock),
    Raised(String, Found<'a>),
}

struct Resolver<'a> {
    names: Vec<&'a str>,
    dropped: BTreeSet<&'a str>,
    indexes: Vec<&'a Index>,
    prefer: Prefer,
    /// Packages taken from another suite than the preferred one because a relation needs it.
    raised: BTreeMap<String, Found<'a>>,
    /// Packages that provide each name.
    providers: BTreeMap<String, BTreeSet<&'a str>>,
}

impl<'a> Resolver<'a> {
    fn new(wanted: &'a Wanted, arch: &str, indexes: &'a [Index], prefer: Prefer) -> Self {
        let mut indexes: Vec<&Index> = indexes.iter().collect();
        indexes.sort_by_key(|index| index.suite);
        let mut providers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for package in indexes.iter().flat_map(|index| index.packages.values()).filter(|package| !package.provides.is_empty()) {
            for provided in package.provides.split(',') {
                let name = provided.trim().split([' ', '(', ':']).next().unwrap_or_default();
                providers.entry(name.to_owned()).or_default().insert(&package.name);
            }
        }
        let (names, dropped) = (wanted.names(arch), wanted.dropped(arch).into_iter().collect());
        Self { names, dropped, indexes, prefer, raised: BTreeMap::new(), providers }
    }

    /// The current choice for a name.
    fn choose(&self, name: &str) -> Option<Found<'a>> {
        if let Some(raised) = self.raised.get(name) {
            return Some(*raised);
        }
        let mut all = self.versions(name);
        match self.prefer {
            Prefer::Stable => all.next(),
            Prefer::Latest => all.reduce(|best, next| if version::compare(&next.1.version, &best.1.version).is_gt() { next } else { best }),
        }
    }

    /// All versions of a name in the suites, the longest-lived suite first.
    fn versions(&self, name: &str) -> impl Iterator<Item = Found<'a>> {
        self.indexes.iter().filter_map(move |index| index.packages.get(name).map(|package| (index.suite, package)))
    }

    fn resolve(&self) -> Result<Round<'a>> {
        let mut problems: Vec<String> = Vec::new();
        let mut pins: BTreeMap<String, Pin> = BTreeMap::new();
        let mut pending: Vec<&str> = self.names.clone();
        for name in &self.names {
            if self.choose(name).is_none() {
                let known = self.indexes.iter().flat_map(|index| index.packages.keys()).map(String::as_str);
                let near = nearest(name, known).map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
                problems.push(format!("no package is named `{name}`{near}"));
            }
        }
        while let Some(name) = pending.pop() {
            let Some((suite, package)) = self.choose(name).filter(|_| !pins.contains_key(name)) else { continue };
            let mut depends: BTreeSet<&str> = BTreeSet::new();
            for group in parse_relations(&package.depends).with_context(|| format!("invalid dependencies of `{name}`"))? {
                match self.satisfy(&group) {
                    Answer::Nothing => {}
                    Answer::Package(needed) => drop(depends.insert(needed)),
                    Answer::Raise(found) => return Ok(Round::Raised(found.1.name.clone(), found)),
                    Answer::Impossible => {
                        problems.push(format!("`{name}` {} needs `{}`, which nothing satisfies", package.version, show(&group)))
                    }
                }
            }
            depends.remove(name);
            pending.extend(&depends);
            pins.insert(name.to_owned(), make_pin(suite, package, &depends)?);
        }
        if !problems.is_empty() {
            bail!("cannot pin all packages:\n  {}", problems.join("\n  "));
        }
        Ok(Round::Done(Lock { pins }))
    }

    /// Chooses the package for a group of alternatives: a wanted one, else the first that exists, else the first in byte order
    /// that provides one.
    fn satisfy(&self, group: &[Relation]) -> Answer<'a> {
        if group.iter().any(|relation| self.dropped.contains(relation.name.as_str())) {
            return Answer::Nothing;
        }
        let real = |relation: &Relation| self.choose(&relation.name).map(|(_, p)| p).filter(|p| relation.accepts(&p.version));
        let mut reals = group.iter().filter_map(real);
        let mut provided = group.iter().flat_map(|relation| self.provided(relation));
        let wanted = |package: &&Package| self.names.contains(&package.name.as_str());
        let choice = reals.clone().find(wanted).or_else(|| provided.clone().find(wanted));
        if let Some(package) = choice.or_else(|| reals.next()) {
            return Answer::Package(&package.name);
        }
        for relation in group {
            let now = self.choose(&relation.name);
            let higher = |(_, p): &Found<'_>| now.is_some_and(|(_, now)| version::compare(&p.version, &now.version).is_gt());
            if let Some(found) = self.versions(&relation.name).find(|found| relation.accepts(&found.1.version) && higher(found)) {
                return Answer::Raise(found);
            }
        }
        provided.next().map_or(Answer::Impossible, |package| Answer::Package(&package.name))
    }

    /// Packages whose `Provides` satisfies the relation, in byte order.
    fn provided(&self, relation: &Relation) -> impl Iterator<Item = &'a Package> + Clone {
        let names = self.providers.get(&relation.name).into_iter().flatten();
        names.filter_map(|name| self.choose(name).map(|(_, package)| package)).filter(move |package| {
            let provides = parse_relations(&package.provides).unwrap_or_default();
            provides.iter().flatten().any(|provided| {
                provided.name == relation.name && relation.accepts_provided(provided.version.as_ref().map(|(_, version)| version.as_str()))
            })
        })
    }
}

enum Answer<'a> {
    /// The dependency was dropped by the list.
    Nothing,
    Package(&'a str),
    Raise(Found<'a>),
    Impossible,
}

pub(super) fn make_pin(suite: Suite, package: &Package, depends: &BTreeSet<&str>) -> Result<Pin> {
    let pin = Pin {
        name: package.name.clone(),
        version: package.version.clone(),
        arch: package.arch.clone(),
        sha256: package.sha256.clone(),
        size: package.size,
        suite,
        path: package.path.clone(),
        depends: depends.iter().map(|name| (*name).to_owned()).collect(),
    };
    pin.check().context("the mirror's index is not valid")?;
    Ok(pin)
}

fn show(group: &[Relation]) -> String {
    let one = |relation: &Relation| match &relation.version {
        Some((operator, version)) => format!("{} ({} {version})", relation.name, operator.sign()),
        None => relation.name.clone(),
    };
    group.iter().map(one).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn index(suite: Suite, packages: &[(&str, &str, &str, &str)]) -> Index {
        let mut text = String::new();
        for (name, version, depends, provides) in packages {
            text += &format!(
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\nDepends: {depends}\nProvides: {provides}\n\
                 Filename: pool/main/{name}_{version}.deb\nSize: 7\nSHA256: {}\n\n",
                "ab".repeat(32)
            );
        }
        Index::read(suite, text.as_bytes(), "Packages").unwrap()
    }

    fn show_lock(wanted: &str, indexes: &[Index], prefer: Prefer) -> Result<String> {
        let lock = pin(&Wanted::parse(wanted, "packages")?, "amd64", indexes, prefer)?;
        let line = |pin: &Pin| format!("{}={}/{}:{}", pin.name, pin.version, pin.suite.word(), pin.depends.join(","));
        Ok(lock.pins.values().map(line).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn alternatives_and_provides_do_not_depend_on_order() {
        let main = [index(
            Suite::Main,
            &[
                ("app", "1", "awk, lib (>= 2) | lib2, debconf | debconf-2.0, mta | postfix, app", ""),
                ("gawk", "1", "", "awk"),
                ("mawk", "1", "", "awk"),
                ("lib", "1", "", ""),
                ("lib2", "1", "virtual (>= 3)", ""),
                ("postfix", "1", "", "mta"),
                ("old", "1", "", "virtual"),
                ("new", "1", "", "virtual (= 3)"),
            ],
        )];
        let both = "app=1/main:gawk,lib2,postfix gawk=1/main: lib2=1/main:new new=1/main: postfix=1/main:";
        assert_eq!(show_lock("app\n!debconf", &main, Prefer::Stable).unwrap(), both);
        // A name that is wanted anyhow is taken before another provider.
        let mawk = show_lock("app\nmawk\n!debconf", &main, Prefer::Stable).unwrap();
        assert!(mawk.starts_with("app=1/main:lib2,mawk,postfix "), "{mawk}");
        let error = show_lock("app\nappp\nnothing-near", &main, Prefer::Stable).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot pin all packages:\n  no package is named `appp` (did you mean `app`?)\n  no package is named `nothing-near`\n  \
             `app` 1 needs `debconf | debconf-2.0`, which nothing satisfies"
        );
    }

    #[test]
    fn suites_are_preferred_as_asked_and_raised_where_needed() {
        let indexes = [
            index(Suite::Security, &[("lib", "2", "", ""), ("fix", "1", "lib (>= 2)", "")]),
            index(Suite::Main, &[("lib", "1", "", ""), ("app", "1", "lib", "")]),
        ];
        assert_eq!(show_lock("app", &indexes, Prefer::Stable).unwrap(), "app=1/main:lib lib=1/main:");
        assert_eq!(show_lock("app", &indexes, Prefer::Latest).unwrap(), "app=1/main:lib lib=2/security:");
        let raised = "app=1/main:lib fix=1/security:lib lib=2/security:";
        assert_eq!(show_lock("app\nfix", &indexes, Prefer::Stable).unwrap(), raised);
    }
}
