//! Remembers the facts of Dockerfiles and build.ymls that a plan needs, so that thousands of packages are not parsed at each start. A fact is
//! found by a digest of the file's bytes, and this one by the file's metadata, which git's index has already: both as they were when the file
//! was read. The file that keeps the facts counts only if this very code wrote it.

use crate::{
    build_yml::{BuildYml, TEMPLATE_IMAGE},
    builder::check_early,
    dockerfile::{Dockerfile, ImageUse, ImagesByArch},
    tags::{blob_id, hex, settled_id},
};
use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsString,
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::SystemTime,
};

/// The code that decides the facts: the parsers, this file, and the versions of the crates that read YAML.
const CODE: &[&str] = &[
    include_str!("known.rs"),
    include_str!("build_yml.rs"),
    include_str!("build_yml/checks.rs"),
    include_str!("../../oci/src/capabilities.rs"),
    include_str!("builder/check.rs"),
    include_str!("builder/copy.rs"),
    include_str!("dockerfile/adds.rs"),
    include_str!("dockerfile/expand.rs"),
    include_str!("dockerfile/instruction.rs"),
    include_str!("dockerfile/lines.rs"),
    include_str!("dockerfile/mod.rs"),
    include_str!("dockerfile/uses.rs"),
    include_str!("dockerfile/words.rs"),
    include_str!("../../../Cargo.lock"),
];

/// Facts that no run needed are dropped when there are more of them than this.
const MOST_UNUSED: usize = 20_000;
/// Characters of a key: a kind, and an id of bytes or of a file.
const KEY: usize = 41;
/// The kinds of files.
const YML: &str = "y";
const DOCKERFILE: &str = "d";
/// The kind of a file whose bytes are known.
const READ: &str = "r";

/// The facts that are known. When it is dropped, it writes new ones to its file.
#[derive(Debug)]
pub struct Known {
    file: Option<PathBuf>,
    books: OnceLock<Mutex<Books>>,
}

#[derive(Debug, Default)]
struct Books {
    /// Lines of a key and the facts after it, sorted; what the file has.
    text: String,
    /// Start and end of each line, and whether it was asked for.
    lines: Vec<(usize, usize, bool)>,
    /// What was found out since.
    new: BTreeMap<String, String>,
    /// Paths of Dockerfiles without an instruction that the builder refuses. As text: a path's hash takes much longer.
    built: HashSet<OsString>,
    /// Paths of build.ymls that [`BuildYml::read`] refuses.
    wrong: HashSet<OsString>,
}

impl Known {
    /// The facts in `file`, which need not exist; none: nothing is kept.
    #[must_use]
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, books: OnceLock::new() }
    }

    /// As [`BuildYml::read_names`]. With the `id` that the file at `path` has now ([`Seen::id_of`](crate::tags::Seen::id_of)), it is not read
    /// if it had that id when it was read before.
    pub fn names(&self, path: &Path, id: Option<&str>) -> Result<BuildYml> {
        let known = self.find_file(YML, id).and_then(|facts| names_of(&facts));
        let (is_right, yml) = known.map_or_else(|| self.read_names(path, id), Ok)?;
        if !is_right {
            self.books().wrong.insert(path.as_os_str().to_owned());
        }
        Ok(yml)
    }

    /// Whether nothing in the build.yml at `path` is wrong, and its names.
    fn read_names(&self, path: &Path, id: Option<&str>) -> Result<(bool, BuildYml)> {
        let (text, bytes) = self.read(path, id)?;
        let key = key(YML, &bytes);
        if let Some(known) = self.find(&key).and_then(|facts| names_of(&facts)) {
            return Ok(known);
        }
        let name = path.display().to_string();
        let found =
            (BuildYml::parse(&text.replace(TEMPLATE_IMAGE.0, TEMPLATE_IMAGE.1), &name).is_ok(), BuildYml::parse_names(&text, &name)?);
        self.note(key, names_facts(found.0, &found.1));
        Ok(found)
    }

    /// Of the build.ymls that [`names`](Self::names) has seen, those that [`BuildYml::read`] refuses.
    #[must_use]
    pub fn wrong_ymls(&self) -> HashSet<OsString> {
        self.books().wrong.clone()
    }

    /// The images that the Dockerfile at `path` needs; `id` as in [`names`](Self::names).
    pub fn images(&self, path: &Path, id: Option<&str>) -> Result<ImagesByArch> {
        let known = self.find_file(DOCKERFILE, id).and_then(|facts| images_of(&facts));
        let (is_built, images) = known.map_or_else(|| self.read_images(path, id), Ok)?;
        if is_built {
            self.books().built.insert(path.as_os_str().to_owned());
        }
        Ok(images)
    }

    /// Whether the builder refuses nothing of the Dockerfile at `path`, and its images.
    fn read_images(&self, path: &Path, id: Option<&str>) -> Result<(bool, ImagesByArch)> {
        let (text, bytes) = self.read(path, id)?;
        self.look_for_images(path, &text, &bytes)
    }

    /// The images that a Dockerfile needs which has this `text`, and is to be at `path`.
    pub fn images_in(&self, path: &Path, text: &str) -> Result<ImagesByArch> {
        Ok(self.look_for_images(path, text, &blob_id(text.as_bytes()))?.1)
    }

    fn look_for_images(&self, path: &Path, text: &str, bytes: &str) -> Result<(bool, ImagesByArch)> {
        let key = key(DOCKERFILE, bytes);
        if let Some(known) = self.find(&key).and_then(|facts| images_of(&facts)) {
            return Ok(known);
        }
        let dockerfile = Dockerfile::parse(text, &path.display().to_string())?;
        let found = (check_early(&dockerfile).is_ok(), dockerfile.images_by_arch());
        self.note(key, images_facts(found.0, &found.1));
        Ok(found)
    }

    /// The text at `path`, and the id of its bytes. If the file may be asked for by an `id`, it is noted with the bytes.
    fn read(&self, path: &Path, id: Option<&str>) -> Result<(String, String)> {
        let read = || -> std::io::Result<_> {
            let (mut file, mut text) = (File::open(path)?, String::new());
            file.read_to_string(&mut text)?;
            // After the bytes: a file that changes meanwhile is young.
            Ok((text, file.metadata()?))
        };
        let (text, meta) = read().with_context(|| format!("cannot read `{}`", path.display()))?;
        let bytes = blob_id(text.as_bytes());
        // Not the caller's id: the file may have changed since.
        if let Some(id) = id.and_then(|_| settled_id(path, &meta, SystemTime::now())) {
            self.note(key(READ, &id), line([&*bytes]));
        }
        Ok((text, bytes))
    }

    /// The facts of the file with this `id`.
    fn find_file(&self, kind: &str, id: Option<&str>) -> Option<String> {
        let found = self.find(&key(READ, id?))?;
        self.find(&key(kind, found.strip_prefix('\t')?))
    }

    /// Whether [`images`](Self::images) has seen that the builder refuses nothing of the Dockerfile at `path`, so that
    /// [`check_early`] need not read it again.
    #[must_use]
    pub fn is_checked(&self, path: &Path) -> bool {
        self.books().built.contains(path.as_os_str())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        let books = self.books.get_or_init(|| Mutex::new(self.file.as_deref().and_then(read).unwrap_or_default()));
        books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &str) -> Option<String> {
        let mut books = self.books();
        let Books { text, lines, new, .. } = &mut *books;
        let at = lines.partition_point(|(start, ..)| text.as_bytes()[*start..*start + KEY] < *key.as_bytes());
        match lines.get_mut(at) {
            Some((start, end, is_used)) if text[*start..].starts_with(key) => {
                *is_used = true;
                Some(text[*start + KEY..*end].to_owned())
            }
            _ => new.get(key).cloned(),
        }
    }

    /// Keeps the facts, if they have a text.
    fn note(&self, key: String, facts: Option<String>) {
        if let Some(facts) = facts {
            self.books().new.insert(key, facts);
        }
    }

    /// Writes what is new: whole, and under a name of its own until then, because another process may write at the same time. The last one
    /// wins, and what the other had found out is parsed again.
    fn write(&self) -> Result<()> {
        let (Some(file), Some(books)) = (&self.file, self.books.get()) else { return Ok(()) };
        let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
        let Books { text, lines, new, .. } = &mut *books;
        if new.is_empty() {
            return Ok(());
        }
        let unused = lines.iter().filter(|(.., is_used)| !is_used).count();
        let kept = lines.iter().filter(|(.., is_used)| *is_used || unused <= MOST_UNUSED);
        let mut all: Vec<String> = kept.map(|(start, end, _)| text[*start..*end].to_owned()).collect();
        all.extend(std::mem::take(new).into_iter().map(|(key, facts)| key + &facts));
        all.sort();
        let body = all.iter().fold(String::new(), |body, line| body + line + "\n");
        let folder = file.parent().context("a file has a folder")?;
        std::fs::create_dir_all(folder)?;
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(format!("{}\n{body}", seal(&body)).as_bytes())?;
        draft.persist(file)?;
        Ok(())
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        // Without the file everything is parsed again.
        let _ = self.write();
    }
}

/// What `file` has; none if it is damaged, or if other code wrote it.
fn read(file: &Path) -> Option<Books> {
    let all = std::fs::read_to_string(file).ok()?;
    let (sealed, body) = all.split_once('\n')?;
    if sealed != seal(body) {
        return None;
    }
    let mut books = Books { text: body.to_owned(), ..Books::default() };
    let mut start = 0;
    while let Some(length) = body[start..].find('\n') {
        if length < KEY {
            return None;
        }
        books.lines.push((start, start + length, false));
        start += length + 1;
    }
    Some(books)
}

/// The first line of a file with `body`: a digest of it and of the code that wrote it.
fn seal(body: &str) -> String {
    let mut hash = Sha256::new();
    for part in CODE.iter().chain([&body]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

fn key(kind: &str, id: &str) -> String {
    [kind, id].concat()
}

/// A line of `words`, each after a tab; none if a word cannot stand in a line.
fn line<'w>(words: impl IntoIterator<Item = &'w str>) -> Option<String> {
    let mut line = String::new();
    for word in words {
        if word.contains(['\t', '\n', '\r']) {
            return None;
        }
        line.push('\t');
        line.push_str(word);
    }
    Some(line)
}

/// The words of a line.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split('\t').skip(1)
}

fn names_facts(is_right: bool, yml: &BuildYml) -> Option<String> {
    let (is_right, count) = (is_right.to_string(), yml.arches.len().to_string());
    let names = [&*is_right, &yml.image, &yml.org, &yml.tag, &count];
    line(names.into_iter().chain(yml.arches.iter().chain(&yml.extra_sources).map(String::as_str)))
}

fn names_of(facts: &str) -> Option<(bool, BuildYml)> {
    let mut words = words(facts).map(str::to_owned);
    let is_right = words.next()? == "true";
    let (image, org, tag) = (words.next()?, words.next()?, words.next()?);
    let count = words.next()?.parse().ok()?;
    let arches = words.by_ref().take(count).collect();
    Some((is_right, BuildYml { image, org, tag, arches, extra_sources: words.collect(), ..BuildYml::default() }))
}

/// Marks before a reference, and between lists.
const TARGET: char = '=';
const BUILD_MACHINE: char = '^';
const NEXT: &str = "|";

fn images_facts(is_built: bool, images: &ImagesByArch) -> Option<String> {
    let mut words = vec![is_built.to_string()];
    for (at, list) in images.lists().iter().enumerate() {
        words.extend((at > 0).then(|| NEXT.to_owned()));
        let mark = |image: &ImageUse| if image.on_build_machine { BUILD_MACHINE } else { TARGET };
        words.extend(list.iter().map(|image| format!("{}{}", mark(image), image.reference)));
    }
    line(words.iter().map(String::as_str))
}

fn images_of(facts: &str) -> Option<(bool, ImagesByArch)> {
    let mut words = words(facts);
    let is_built = words.next()? == "true";
    let mut lists = vec![Vec::new()];
    for word in words {
        if word == NEXT {
            lists.push(Vec::new());
        } else {
            let (on_build_machine, reference) = match word.strip_prefix(BUILD_MACHINE) {
                Some(reference) => (true, reference),
                None => (false, word.strip_prefix(TARGET)?),
            };
            lists.last_mut()?.push(ImageUse { reference: reference.to_owned(), on_build_machine });
        }
    }
    Some((is_built, ImagesByArch::of_lists(lists)?))
}

#[cfg(test)]
mod tests;
