//! Where statements are: in files beside artifacts, and in the registry CACHE: `attest --push` sends a file and the statement that refers to it, `verify --pull` takes the
//! statement.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::{artifact::write_to_disk, digest::sha256_of, error::usage};
use provenance::{Envelope, PAYLOAD_TYPE, Statement};
use registry::Team;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The endings of the files with a statement, and with a signed one.
pub(super) const STATEMENT: &str = ".intoto.json";
pub(super) const SIGNED: &str = ".intoto.jsonl";

/// The media type of a signed statement.
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// The registry that CACHE names; `words` asks for it.
pub(super) fn registry(ctx: &Ctx, words: &str) -> Result<Arc<Team>> {
    let hint = format!("hint: cargo xtask {words} CACHE=registry.example.org/team");
    native::team(ctx)?.ok_or_else(|| usage(format!("`{words}` needs a registry: no CACHE, CACHE_MODE=off or --offline\n{hint}")))
}

/// Sends `file` and the statement in the file `statement`, under a tag with the version.
pub(super) fn send(registry: &Team, file: &Path, statement: &Path, version: &str) -> Result<()> {
    let bytes = std::fs::read(statement).with_context(|| format!("cannot read `{}`", statement.display()))?;
    let is_signed = statement.extension().is_some_and(|ending| ending == "jsonl");
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let tag = tag(&format!("{version}-{name}"));
    registry.publish(file, &tag, if is_signed { ENVELOPE } else { PAYLOAD_TYPE }, &bytes)?;
    println!("sent: {}/attested:{tag}", registry.place());
    Ok(())
}

/// A text as a tag: other characters become `_`, and the end is kept.
fn tag(text: &str) -> String {
    const MOST: usize = 128;
    let is_good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let text: String = text.chars().map(|c| if is_good(c) { c } else { '_' }).collect();
    let text = &text[text.len().saturating_sub(MOST)..];
    text.trim_start_matches(['.', '-']).to_owned()
}

/// Takes the statement about `file` and writes it beside it. With a public key, one that its owner signed.
pub(super) fn fetch(ctx: &Ctx, registry: &Team, file: &Path, key: Option<&Path>) -> Result<()> {
    if !file.is_file() {
        return Err(usage(format!("`{}` is no file\nhint: cargo xtask verify FILE --pull", file.display())));
    }
    let found = registry.statements(file, &[ENVELOPE, PAYLOAD_TYPE])?;
    if found.is_empty() {
        bail!(
            "{} has no statement about `{}`, by its name and bytes\nhint: cargo xtask attest TARGET --push, by who builds it",
            registry.place(),
            file.display()
        );
    }
    let digest = sha256_of(file)?;
    let (count, mut refused) = (found.len(), None);
    let mut good = None;
    for (media_type, bytes) in found {
        let checked = key.map_or(Ok(()), |key| check(ctx, &media_type, &bytes, key));
        match checked.and_then(|()| check_subject(&media_type, &bytes, &digest)) {
            Ok(()) => good = good.or(Some((media_type, bytes))),
            Err(error) => refused = Some(error),
        }
    }
    let Some((media_type, bytes)) = good else {
        let what = format!("none of {count} statements about `{}` in {} can be trusted", file.display(), registry.place());
        return Err(refused.map_or_else(|| anyhow::anyhow!("{what}"), |error| error.context(what.clone())));
    };
    if key.is_none() && !may_replace(file, &bytes)? {
        return Err(usage(format!(
            "`{}` is a signed statement, and without a key nobody has checked the one that would replace it\nhint: --key PUBLIC.pem; or remove the file",
            beside(file, SIGNED).display()
        )));
    }
    let (ending, other) = if media_type == ENVELOPE { (SIGNED, STATEMENT) } else { (STATEMENT, SIGNED) };
    write_to_disk(&beside(file, ending), &bytes)?;
    let _ = std::fs::remove_file(beside(file, other));
    Ok(())
}

/// Whether a statement of which nobody has checked the signature may be written: no other signed one is there.
fn may_replace(file: &Path, bytes: &[u8]) -> Result<bool> {
    let signed = beside(file, SIGNED);
    match std::fs::read(&signed) {
        Ok(there) => Ok(there == bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", signed.display())),
    }
}

/// Fails unless a statement is about a file with this SHA-256.
fn check_subject(media_type: &str, bytes: &[u8], digest: &str) -> Result<()> {
    let statement = match media_type {
        ENVELOPE => Statement::parse(&Envelope::parse(bytes)?.payload()?)?,
        _ => Statement::parse(bytes)?,
    };
    match statement.subject.iter().any(|subject| subject.sha256() == Some(digest)) {
        true => Ok(()),
        false => bail!("it is about another file than the one with the SHA-256 {digest}"),
    }
}

/// The file beside `file` with this ending.
pub(super) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Fails unless a statement is signed by the owner of the public key in the file `key`.
fn check(ctx: &Ctx, media_type: &str, bytes: &[u8], key: &Path) -> Result<()> {
    if media_type != ENVELOPE {
        bail!("it is not signed");
    }
    native::open_envelope(&ctx.tools, &Envelope::parse(bytes)?, key).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_and_a_file_are_a_tag() {
        assert_eq!(tag("1.0+x-kvm-amd64-live.qcow2"), "1.0_x-kvm-amd64-live.qcow2");
        let long = tag(&format!("{}-live.raw", "v".repeat(200)));
        assert!(long.len() == 128 && long.ends_with("-live.raw"), "{long}");
    }
}
