//! What stands at each path of the root file system while its entries are written, and from which part of the yml. Decides
//! where an entry goes, and refuses one that would make earlier files disappear.
//!
//! | earlier | later | result |
//! |---|---|---|
//! | folder | folder | both, with the later metadata |
//! | file, or link to no folder | file, link or device | the later one |
//! | empty folder | file, link or device | the later one |
//! | folder with entries | file, link or device | error |
//! | link to a folder | folder, or an entry below | the entry goes into the link's folder |
//! | link to a folder with entries | link to the same folder | the later one |
//! | link to a folder with entries | file, device, or link to elsewhere | error |
//! | link to no folder | folder | error |
//! | file | folder, or an entry below | error |

use anyhow::{Result, bail};
use filetree::{EntryKind, Kind};
use std::collections::BTreeMap;

/// Limit of links in one lookup, as in Linux (`ELOOP`).
const MAX_LINKS: usize = 40;

/// Origin of an entry: the image or the part of linuxkit, and the place in the yml.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub source: &'a str,
    pub location: &'a str,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Dir,
    Symlink(Vec<u8>),
    /// File, device or pipe.
    Other,
}

#[derive(Debug)]
struct Place {
    what: What,
    /// Index into [`Places::origins`].
    origin: usize,
}

/// All paths written so far: without `.`, `..` and links in their folders.
#[derive(Debug, Default)]
pub(crate) struct Places {
    places: BTreeMap<Vec<u8>, Place>,
    /// Descriptions of the parts for errors: `init[0] (docker.io/a/b:1)`.
    origins: Vec<String>,
    /// The folder of the last entry, if its path leads through no link. Since then it has an entry, so it stays a folder, and so do those above.
    folder: Option<Vec<u8>>,
}

impl Places {
    /// Records an entry and returns the path to write it at: `path`, unless that leads through a link. `root`: the folder that
    /// the links of the entry's image regard as `/`.
    pub(crate) fn take(&mut self, root: &[u8], path: &[u8], kind: &EntryKind, from: Origin<'_>) -> Result<Vec<u8>> {
        let what = match kind {
            EntryKind::Node(Kind::Dir(_)) => What::Dir,
            EntryKind::Node(Kind::Symlink(target)) => What::Symlink(target.clone()),
            _ => What::Other,
        };
        let origin = self.origin(from);
        // Most entries are beside the one before: then nothing above is to be resolved or checked.
        let is_beside = self.is_beside_last(path);
        let plain = if is_beside { path.to_vec() } else { parts(path).join(&b'/') };
        let mut at = if is_beside { path.to_vec() } else { self.resolve(root, path, false)? };
        if let (What::Dir, Some(Place { what: What::Symlink(target), .. })) = (&what, self.places.get(&at)) {
            let folder = self.resolve(root, &at, true)?;
            if !self.is_dir(&folder) {
                let link = format!("the link `{}` -> `{}`, which leads to no folder", show(&at), show(target));
                bail!("{}", self.conflict(&at, &link, "a folder", origin));
            }
            at = folder;
        }
        if !is_beside || at != plain {
            self.check_above(&at, origin)?;
        }
        self.check(root, &at, &what, origin)?;
        self.folder = if at == path { at.iter().rposition(|byte| *byte == b'/').map(|end| at[..end].to_vec()) } else { None };
        if !at.is_empty() {
            self.places.insert(at.clone(), Place { what, origin });
        }
        Ok(if at == plain { path.to_vec() } else { at })
    }

    /// The path of a hard link's target, with links in its folders resolved; unchanged if there are none.
    pub(crate) fn target(&self, root: &[u8], path: &[u8]) -> Result<Vec<u8>> {
        let at = self.resolve(root, path, false)?;
        Ok(if at == parts(path).join(&b'/') { path.to_vec() } else { at })
    }

    /// Whether `path` is a name in the folder of the last entry.
    fn is_beside_last(&self, path: &[u8]) -> bool {
        let name = self.folder.as_ref().and_then(|folder| path.strip_prefix(&folder[..])?.strip_prefix(b"/"));
        name.is_some_and(|name| !name.contains(&b'/') && ![&b""[..], b".", b".."].contains(&name))
    }

    /// Records the folders above the resolved path `at`. Fails if one of them is a file.
    fn check_above(&mut self, at: &[u8], origin: usize) -> Result<()> {
        for (end, _) in at.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let above = self.places.entry(at[..end].to_vec()).or_insert(Place { what: What::Dir, origin });
            if above.what != What::Dir {
                let entry = format!("a folder with `{}`", show(&at[end + 1..]));
                bail!("{}", self.conflict(&at[..end], &format!("the file `{}`", show(&at[..end])), &entry, origin));
            }
        }
        Ok(())
    }

    /// Fails if `what` at the resolved path `at` would make earlier entries disappear.
    fn check(&self, root: &[u8], at: &[u8], what: &What, origin: usize) -> Result<()> {
        let Some(old) = self.places.get(at) else { return Ok(()) };
        let new = match what {
            What::Dir => "a folder".to_owned(),
            What::Symlink(target) => format!("a link to `{}`", show(target)),
            What::Other => "a file".to_owned(),
        };
        match (&old.what, what) {
            (What::Dir, What::Dir) | (What::Other, What::Symlink(_) | What::Other) => Ok(()),
            (What::Dir, _) => match self.first_below(at) {
                Some(lost) => bail!("{}", self.conflict(lost, &format!("`{}`", show(lost)), &format!("{new} at `{}`", show(at)), origin)),
                None => Ok(()),
            },
            (What::Other, What::Dir) => bail!("{}", self.conflict(at, &format!("the file `{}`", show(at)), &new, origin)),
            (What::Symlink(target), _) => {
                let folder = self.resolve(root, at, true)?;
                let same = match what {
                    What::Symlink(target) => self.resolve(root, &beside(root, at, target), true)? == folder,
                    _ => false,
                };
                if same || self.first_below(&folder).is_none() {
                    return Ok(());
                }
                let link = format!("the link `{}` -> `{}`, which leads to a folder with entries", show(at), show(target));
                bail!("{}", self.conflict(at, &link, &new, origin))
            }
        }
    }

    /// The sentence for an entry that would disappear: what and whose it is, and what is to replace it.
    fn conflict(&self, at: &[u8], old: &str, new: &str, origin: usize) -> String {
        let owner = self.places.get(at).map_or("", |place| &self.origins[place.origin]);
        let hint = "hint: let both write into the same folder, or to different paths";
        format!("{old} of {owner} would be lost: {} has {new} there\n{hint}", self.origins[origin])
    }

    fn origin(&mut self, from: Origin<'_>) -> usize {
        let text = format!("{} ({})", from.location, from.source);
        // Entries of one part follow each other.
        if self.origins.last() != Some(&text) {
            self.origins.push(text);
        }
        self.origins.len() - 1
    }

    fn is_dir(&self, at: &[u8]) -> bool {
        at.is_empty() || self.places.get(at).is_some_and(|place| place.what == What::Dir)
    }

    /// The first entry below the folder `at`, preferably one that is no folder.
    fn first_below(&self, at: &[u8]) -> Option<&[u8]> {
        let start = if at.is_empty() { Vec::new() } else { [at, b"/"].concat() };
        let below = || self.places.range(start.clone()..).take_while(|(path, _)| path.starts_with(&start));
        below().find(|(_, place)| place.what != What::Dir).or_else(|| below().next()).map(|(path, _)| &path[..])
    }

    /// `path` with the links in its folders resolved, and its last part too when `follow_last`. Parts that do not exist are
    /// kept. Links cannot leave `root`, in which absolute ones start.
    fn resolve(&self, root: &[u8], path: &[u8], follow_last: bool) -> Result<Vec<u8>> {
        let floor = if path.starts_with(root) { parts(root).len() } else { 0 };
        let mut pending: Vec<Vec<u8>> = parts(path).into_iter().rev().map(<[u8]>::to_vec).collect();
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = pending.pop() {
            if part == b".." {
                done.truncate((done.len().saturating_sub(1)).max(floor.min(done.len())));
                continue;
            }
            done.push(part);
            if pending.is_empty() && !follow_last {
                break;
            }
            let Some(Place { what: What::Symlink(target), .. }) = self.places.get(&done.join(&b'/')) else { continue };
            links += 1;
            if links > MAX_LINKS {
                bail!("too many levels of symbolic links in `{}`", show(path));
            }
            done.pop();
            if target.starts_with(b"/") {
                done.truncate(floor);
            }
            pending.extend(parts(target).into_iter().rev().map(<[u8]>::to_vec));
        }
        Ok(done.join(&b'/'))
    }
}

/// The path that a link at `at` with this target leads to, not resolved.
fn beside(root: &[u8], at: &[u8], target: &[u8]) -> Vec<u8> {
    let folder = if target.starts_with(b"/") { root } else { at.iter().rposition(|b| *b == b'/').map_or(&[][..], |end| &at[..end]) };
    [folder, b"/", target].concat()
}

fn parts(path: &[u8]) -> Vec<&[u8]> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect()
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use filetree::Content;

    #[test]
    fn an_entry_beside_the_last_one_has_the_place_that_it_has_alone() {
        let dir = EntryKind::Node(Kind::Dir(std::collections::BTreeMap::new()));
        let file = EntryKind::Node(Kind::File { content: Content::from(""), link: None });
        let link = |target: &str| EntryKind::Node(Kind::Symlink(target.as_bytes().to_vec()));
        let from = Origin { source: "image", location: "init[0]" };
        let entries: [(&str, EntryKind, &str); 12] = [
            ("usr/lib/a", file.clone(), "usr/lib/a"),
            ("usr/lib/b", link("../bin"), "usr/lib/b"),
            ("usr/lib/.", dir.clone(), "usr/lib/."),
            ("usr/lib/a", file.clone(), "usr/lib/a"),
            ("usr/lib/..", dir.clone(), "usr"),
            ("usr/bin", dir.clone(), "usr/bin"),
            // A link to a folder stays where a folder comes.
            ("usr/lib/c", file.clone(), "usr/lib/c"),
            ("usr/lib/b", dir.clone(), "usr/bin"),
            ("usr/lib/b/d", file.clone(), "usr/bin/d"),
            ("usr/lib/b/e", file.clone(), "usr/bin/e"),
            ("lib", link("usr/lib"), "lib"),
            ("lib/f", file.clone(), "usr/lib/f"),
        ];
        let (mut places, mut alone) = (Places::default(), Places::default());
        for (path, kind, wanted) in entries {
            let at = places.take(b"", path.as_bytes(), &kind, from).expect("a place");
            assert_eq!(String::from_utf8_lossy(&at), wanted, "{path}");
            alone.folder = None;
            assert_eq!(alone.take(b"", path.as_bytes(), &kind, from).expect("a place"), at, "{path}");
        }
        assert_eq!(places.places.keys().collect::<Vec<_>>(), alone.places.keys().collect::<Vec<_>>());
        for (path, kind) in [("usr/lib/a", dir), ("usr/lib", file.clone()), ("usr/bin/e/below", file)] {
            assert!(
                places.take(b"", path.as_bytes(), &kind, from).expect_err("refused").to_string().contains(" would be lost: "),
                "{path}"
            );
        }
    }
}
