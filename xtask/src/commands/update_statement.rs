//! The signed statement about a rootfs.img (`FILE.update.jsonl`), by which a machine that holds its owner's key takes the file as an update.
//! `sign` makes it, and `update` before it sends the file. `eve-verify` reads it on the machine.

use super::keys;
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::openssl;
use common::{
    artifact::{write_named, write_to_disk},
    digest::sha256_of,
    eprintln,
    error::usage,
};
use imagefs::{Volume, open_file};
use native::{UPDATE_KEY, UPDATE_MADE, check_update_key};
use provenance::{Envelope, Update, UpdateStatement, signed_bytes};
use secureboot::uki::{STUB_PACKAGE, stub_version};
use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// The boot loaders of a root file system, with their architectures.
const LOADERS: [(&str, &str); 3] =
    [("EFI/BOOT/BOOTX64.EFI", "amd64"), ("EFI/BOOT/BOOTAA64.EFI", "arm64"), ("EFI/BOOT/BOOTRISCV64.EFI", "riscv64")];

/// The unified kernel image, and the most bytes that are read of it.
const UNIFIED: &str = "EFI/Linux/eve.efi";
const UNIFIED_MOST: u64 = 512 << 20;

/// Where the statement about `file` is.
pub(super) fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".update.jsonl");
    name.into()
}

/// The private key of the folder of keys that signs updates.
pub(super) fn key(ctx: &Ctx) -> PathBuf {
    keys::folder(ctx).join("image.key")
}

/// Whether `file` is a squashfs or an ext4, by the first bytes.
pub(super) fn is_root_file_system(file: &Path) -> Result<bool> {
    let open = File::open(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let has = |at: u64, magic: &[u8]| {
        let mut found = vec![0; magic.len()];
        open.read_exact_at(&mut found, at).is_ok() && found == magic
    };
    Ok(has(0, b"hsqs") || has(1080, b"\x53\xef"))
}

/// Signs a statement about `file` with the private key in `key`, and writes it to `out`, which a person named, or beside `file`.
pub(super) fn sign(ctx: &Ctx, file: &Path, key: &Path, out: Option<&Path>) -> Result<()> {
    let volume = open_file(file, None)?;
    let update = facts(&volume, file)?;
    let is_there = key.is_file() || key.to_string_lossy().contains(':');
    if !is_there {
        return Err(usage(format!(
            "`{}` is not there\nhint: cargo xtask keys init --keys FOLDER makes keys, --keys FOLDER names those that you have",
            key.display()
        )));
    }
    let public = openssl::public_pem(&ctx.tools, key)?;
    check_update_key(&public).with_context(|| format!("`{}` cannot sign an update", key.display()))?;
    if volume.text(UPDATE_KEY).is_some_and(|held| held.trim().as_bytes() != public.trim_ascii()) {
        eprintln!(
            "note: `{}` holds another key than the one that signs it: who runs it takes the next update from the owner of that key",
            file.display()
        );
    }
    let place = out.map_or_else(|| beside(file), Path::to_owned);
    if ctx.globals.dry_run {
        println!("sign a statement about {}, and write {}", file.display(), place.display());
        return Ok(());
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let version = update.version.clone();
    let statement = UpdateStatement::new(&name, &sha256_of(file)?, update);
    let json = statement.with_context(|| format!("cannot make a statement about `{}`", file.display()))?.to_json()?;
    let signature = openssl::sign(&ctx.tools, key, &signed_bytes(json.as_bytes()))?;
    let envelope = Envelope::new(json.as_bytes(), &openssl::key_id(&ctx.tools, key)?, &signature);
    let json = envelope.to_json()?;
    match out {
        Some(named) => write_named(named, json.as_bytes())?,
        None => write_to_disk(&place, json.as_bytes())?,
    }
    println!("signed: {}, for machines to take {version}", place.display());
    Ok(())
}

/// What the root file system in `volume` says of itself.
fn facts(volume: &Volume, file: &Path) -> Result<Update> {
    let shown = file.display();
    let text = |path: &str| volume.text(path).map(|text| text.trim().to_owned());
    let version =
        text("etc/eve-release").with_context(|| format!("`{shown}` is no root file system of EVE: it has no /etc/eve-release"))?;
    let loader = LOADERS.iter().find(|(path, _)| volume.get(path.as_bytes()).is_some());
    let (_, architecture) =
        loader.with_context(|| format!("`{shown}` has no boot loader, so nothing says for which architecture it is"))?;
    let made = text(UPDATE_MADE).and_then(|text| text.parse().ok());
    let (Some(made), Some(_)) = (made, volume.get(UPDATE_KEY.as_bytes())) else {
        return Err(usage(format!(
            "`{shown}` holds no key of its owner (/{UPDATE_KEY}): a machine that runs it would take any update after it\nhint: cargo xtask rootfs --sign"
        )));
    };
    let size = std::fs::metadata(file).with_context(|| format!("cannot read `{shown}`"))?.len();
    let unified = volume.get(UNIFIED.as_bytes()).map(|entry| volume.read(entry, UNIFIED_MOST)).transpose()?;
    let stub =
        unified.map(|program| stub_version(&program)).transpose().with_context(|| format!("`{shown}` has a wrong {UNIFIED}"))?.flatten();
    let stub = stub.map(|version| format!("{STUB_PACKAGE} {version}"));
    Ok(Update { version, architecture: (*architecture).to_owned(), size, made, stub })
}

/// The statement to send with a file.
pub(super) enum ToSend {
    /// The one beside it.
    There(PathBuf),
    /// One that is made here first, with the key in the folder of keys.
    Made(PathBuf),
}

/// The statement to send with `file`. None if the file holds no key, or this machine has none. One that is there may be signed by another
/// key than that in the folder of keys: a machine that gets a new owner's image takes it from the old owner.
pub(super) fn for_sending(ctx: &Ctx, file: &Path) -> Result<Option<ToSend>> {
    let statement = beside(file);
    let key = key(ctx);
    let envelope = about(&statement, file)?;
    if let Some(envelope) = envelope {
        if key.is_file() && !envelope.is_by(&openssl::key_id(&ctx.tools, &key)?) {
            eprintln!(
                "note: `{}` is signed by another key than `{}`; cargo xtask sign {} signs with this one",
                statement.display(),
                key.display(),
                file.display()
            );
        }
        return Ok(Some(ToSend::There(statement)));
    }
    let is_signed = is_root_file_system(file)? && open_file(file, None)?.get(UPDATE_KEY.as_bytes()).is_some() && key.is_file();
    Ok(is_signed.then_some(ToSend::Made(statement)))
}

/// The envelope in `statement`, if it names the bytes of `file`. Its signature is the machine's concern.
fn about(statement: &Path, file: &Path) -> Result<Option<Envelope>> {
    if !statement.is_file() {
        return Ok(None);
    }
    let read = || -> Result<(Envelope, UpdateStatement)> {
        let envelope = Envelope::parse(&std::fs::read(statement)?)?;
        let read = UpdateStatement::parse(&envelope.payload()?)?;
        Ok((envelope, read))
    };
    let (envelope, read) = read().with_context(|| format!("cannot read the statement `{}`", statement.display()))?;
    let Some(sha256) = read.sha256() else { bail!("`{}` names no SHA-256", statement.display()) };
    let is_about = read.predicate.size == std::fs::metadata(file)?.len() && sha256 == sha256_of(file)?;
    Ok(is_about.then_some(envelope))
}
