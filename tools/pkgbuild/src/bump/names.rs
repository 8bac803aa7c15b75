//! Finds the names of packages' images in texts.

use super::Member;
use crate::{build_yml::BuildYml, dockerfile::Dockerfile};
use anyhow::Result;
use std::{collections::HashMap, ops::Range, path::Path};

/// Digits of a tree id.
const DIGITS: usize = 40;

/// Architectures at the end of a tag.
const ARCHES: [&str; 3] = ["-amd64", "-arm64", "-riscv64"];

/// An image that a build.yml of a package names.
#[derive(Clone, Debug)]
pub(super) struct Image {
    package: usize,
    yml: String,
    /// The tag with zeros for the hash.
    shape: String,
}

/// The images of all packages: name without tag → build.ymls.
pub(super) struct Images(HashMap<String, Vec<Image>>);

/// A reference to a package in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The image without its tag, as in the text.
    pub(super) image: String,
    /// The tag in the text, its architecture included.
    pub(super) range: Range<usize>,
    /// The architecture at the end of the tag, with its `-`.
    pub(super) suffix: String,
    key: String,
    at: usize,
}

impl Images {
    pub(super) fn of(packages: &[Member]) -> Result<Self> {
        let mut images: HashMap<String, Vec<Image>> = HashMap::new();
        for (package, member) in packages.iter().enumerate() {
            for yml in &member.ymls {
                let names = BuildYml::read_names(&member.dir.join(yml))?;
                let shape = names.tag_of(&"0".repeat(DIGITS))?;
                let list = images.entry(format!("{}/{}", names.org, names.image)).or_default();
                list.push(Image { package, yml: yml.clone(), shape });
            }
        }
        Ok(Self(images))
    }

    pub(super) fn package(&self, found: &Found) -> usize {
        self.0[&found.key][found.at].package
    }

    pub(super) fn yml(&self, found: &Found) -> &str {
        &self.0[&found.key][found.at].yml
    }

    /// The reference `image:tag`, whose tag lies at `range`; none if it names no package, or by a tag that is no hash, such as a release's.
    fn find(&self, image: &str, tag: &str, range: Range<usize>) -> Option<Found> {
        let key = image.strip_prefix("docker.io/").unwrap_or(image);
        let variants = self.0.get(key)?;
        let suffix = ARCHES.iter().find(|arch| tag.ends_with(**arch)).copied().unwrap_or_default();
        let shape = shape_of(tag.strip_suffix(suffix)?)?;
        let at = variants.iter().position(|variant| variant.shape == shape)?;
        Some(Found { image: image.to_owned(), range, suffix: suffix.to_owned(), key: key.to_owned(), at })
    }
}

/// A tag with zeros for its hash, without the mark of uncommitted changes; none if there is no hash in it.
fn shape_of(tag: &str) -> Option<String> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let (mut start, mut length) = (0, 0);
    for (at, byte) in tag.as_bytes().iter().chain(b".").enumerate() {
        if is_digit(byte) {
            length += 1;
            continue;
        }
        if length == DIGITS {
            start = at - DIGITS;
            break;
        }
        length = 0;
    }
    if length != DIGITS {
        return None;
    }
    let (before, after) = (&tag[..start], &tag[start + DIGITS..]);
    let after = match after.strip_prefix("-dirty-") {
        Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_hexdigit()),
        None => after,
    };
    Some(format!("{before}{}{after}", "0".repeat(DIGITS)))
}

/// The package that `reference` names.
pub(super) fn of_reference(reference: &str, images: &Images) -> Option<Found> {
    let (image, tag) = reference.rsplit_once(':')?;
    images.find(image, tag, image.len() + 1..reference.len())
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@')
}

/// The words of a text that could be references, outside of comments, with their places.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split_inclusive('\n')
        .map(move |line| {
            let at = start;
            start += line.len();
            (at, line)
        })
        .filter(|(_, line)| !line.trim_start().starts_with('#'))
        .flat_map(|(at, line)| {
            let mut rest = 0;
            std::iter::from_fn(move || {
                let from = rest + line[rest..].find(is_part)?;
                let end = line[from..].find(|c| !is_part(c)).map_or(line.len(), |length| from + length);
                rest = end;
                Some((at + from, &line[from..end]))
            })
        })
}

/// The references to packages in `text`, in its order. In a Dockerfile (`path`), also the defaults of `ARG`s that are a tag and nothing else.
pub(super) fn find(text: &str, path: Option<&Path>, images: &Images) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (start, word) in words(text) {
        // A digest would have to change too, and is not known before the build.
        let Some((image, tag)) = word.rsplit_once(':').filter(|_| !word.contains('@')) else { continue };
        let from = start + image.len() + 1;
        found.extend(images.find(image, tag, from..from + tag.len()));
    }
    let parsed = path.and_then(|path| Dockerfile::parse(text, &path.display().to_string()).ok());
    for image in parsed.iter().flat_map(Dockerfile::images) {
        let Some(named) = of_reference(&image.reference, images) else { continue };
        let tag = &image.reference[named.range.clone()];
        if found.iter().any(|found| found.key == named.key && &text[found.range.clone()] == tag) {
            continue;
        }
        let ends = |at: usize| text[at + tag.len()..].chars().next().is_none_or(|c| c.is_whitespace() || matches!(c, '"' | '\''));
        let begins = |at: usize| text[..at].ends_with(['=', '"', '\'']) && is_arg(&text[..at]);
        found.extend(
            text.match_indices(tag)
                .map(|(at, _)| at)
                .filter(|at| begins(*at) && ends(*at))
                .map(|at| Found { range: at..at + tag.len(), ..named.clone() }),
        );
    }
    found.sort_by_key(|found| found.range.start);
    found.dedup_by_key(|found| found.range.start);
    found
}

/// Whether a text ends in a line that begins as an `ARG`.
fn is_arg(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default().trim_start();
    line.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("arg "))
}

/// `text` with `tag` wherever it names `image` with another tag; a digest behind the tag goes, because it is another image's.
#[must_use]
pub fn set_tag(text: &str, image: &str, tag: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for range in tags_of(text, image) {
        out.push_str(&text[end..range.start]);
        out.push_str(tag);
        end = range.end;
    }
    out.push_str(&text[end..]);
    out
}

/// Whether `text` names `image` with a tag.
#[must_use]
pub fn names_image(text: &str, image: &str) -> bool {
    tags_of(text, image).next().is_some()
}

/// The places of the tags of `image`, with the digests behind them.
fn tags_of(text: &str, image: &str) -> impl Iterator<Item = Range<usize>> {
    words(text).filter_map(move |(start, word)| {
        let (named, old) = word.split('@').next().unwrap_or(word).rsplit_once(':')?;
        (named == image && !old.is_empty()).then(|| start + named.len() + 1..start + word.len())
    })
}

impl Dockerfile {
    /// The images and tags that stages start from, with the defaults of global `ARG`s; stages and images without a tag are left out.
    pub(super) fn bases(&self) -> Vec<(String, String)> {
        let mut args: HashMap<&str, String> = HashMap::new();
        for arg in &self.args {
            let default = arg.default.as_deref().unwrap_or_default();
            let value = crate::dockerfile::expand(default, self.escape, &|name| args.get(name).cloned()).unwrap_or_default();
            args.insert(&arg.name, value);
        }
        let base = |stage: &crate::dockerfile::Stage| {
            let word = crate::dockerfile::expand(&stage.base, self.escape, &|name| args.get(name).cloned()).ok()?;
            let (image, tag) = word.rsplit_once(':').filter(|(_, tag)| !tag.contains('/') && !word.contains('@'))?;
            Some((image.to_owned(), tag.to_owned()))
        };
        self.stages.iter().filter_map(base).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_to_the_image_moves_and_no_other() {
        let text = "FROM a/b:1-x AS c\nFROM x/a/b:1\nFROM a/bb:1\n# a/b:1\nCOPY --from=a/b:0.2_3 / /\nARG X=a/b:\nFROM \"a/b:1@sha256:00\"";
        let moved = "FROM a/b:9 AS c\nFROM x/a/b:1\nFROM a/bb:1\n# a/b:1\nCOPY --from=a/b:9 / /\nARG X=a/b:\nFROM \"a/b:9\"";
        assert_eq!(set_tag(text, "a/b", "9"), moved);
    }

    #[test]
    fn a_tag_is_a_package_s_if_it_has_a_hash() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        let zeros = "0".repeat(DIGITS);
        assert_eq!(shape_of(hash), Some(zeros.clone()));
        assert_eq!(shape_of(&format!("{hash}-dirty-01ab234")), Some(zeros.clone()));
        assert_eq!(shape_of(&format!("k-{hash}-dirty-01ab234-dev")), Some(format!("k-{zeros}-dev")));
        for other in ["1.93.1-1", "latest", "0123456789abcdef", &format!("{hash}0"), ""] {
            assert_eq!(shape_of(other), None, "{other}");
        }
    }
}
