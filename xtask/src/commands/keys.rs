//! `keys init`: makes the keys of Secure Boot in a folder outside of the tree, and the files by which a firmware gets to know them. `keys
//! enrol` puts them into the variables of OVMF. Also finds these keys for who signs.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Tools, openssl};
use common::{artifact::write_named, digest::sha256, error::usage};
use native::{Pair, certificate, certificate_file, key_file};
use secureboot::{
    Certificate, Signer, store,
    variable::{self, Guid, Time, Variable},
};
use std::{
    fs,
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What to do with keys.
#[derive(clap::Args)]
pub struct Keys {
    /// what to do: init makes keys, enrol puts them into the variables of a virtual machine's firmware
    #[arg(value_name = "WHAT", value_parser = ["init", "enrol"])]
    what: String,
    /// for enrol: fresh variables of OVMF, such as OVMF_VARS_4M.fd
    #[arg(long, value_name = "FILE", required_if_eq("what", "enrol"))]
    firmware: Option<PathBuf>,
    /// for enrol: the file to write
    #[arg(long, value_name = "FILE", required_if_eq("what", "enrol"))]
    out: Option<PathBuf>,
    /// the name in the certificates, before the name of the key
    #[arg(long, value_name = "TEXT", default_value = "EVE")]
    name: String,
    /// bits of the keys; every firmware takes 2048
    #[arg(long, value_name = "N", value_parser = ["2048", "3072"], default_value = "2048")]
    bits: String,
}

/// How long the certificates are valid. Firmware does not look at it; sbverify and its like do.
const DAYS: u32 = 20 * 365;

/// `keys`.
pub fn run(ctx: &Ctx, args: Keys) -> Result<()> {
    match (&args.firmware, &args.out) {
        (None, None) => init(ctx, &args),
        (Some(firmware), Some(out)) if args.what == "enrol" => enrol(ctx, firmware, out),
        _ => Err(usage(
            "--firmware and --out are those of `keys enrol`\nhint: cargo xtask keys enrol --firmware OVMF_VARS_4M.fd --out VARS.fd",
        )),
    }
}

/// `keys enrol`: writes variables of a firmware that knows the keys, and has Secure Boot on.
fn enrol(ctx: &Ctx, firmware: &Path, out: &Path) -> Result<()> {
    let enrolled = enrolled(ctx, firmware)?;
    if ctx.globals.dry_run {
        println!("write {}", out.display());
        return Ok(());
    }
    write_named(out, &enrolled)?;
    println!("made: {}", out.display());
    Ok(())
}

/// The variables in the file `firmware`, with the keys and Secure Boot on.
pub(super) fn enrolled(ctx: &Ctx, firmware: &Path) -> Result<Vec<u8>> {
    let folder = folder(ctx);
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read `{}`", path.display()));
    let image = read(firmware)?;
    if !folder.join("PK.auth").is_file() {
        return Err(usage(format!(
            "`{}` has no PK.auth\nhint: cargo xtask keys init --keys FOLDER makes keys, --keys FOLDER names those that you have",
            folder.display()
        )));
    }
    let mut lists = Vec::new();
    for variable in Variable::ALL {
        let at = |ending: &str| folder.join(format!("{}.{ending}", variable.name()));
        let time = Time::of_signed(&read(&at("auth"))?).with_context(|| format!("`{}` is too short for a time", at("auth").display()))?;
        lists.push((variable, time, read(&at("esl"))?));
    }
    store::enrol(&image, &lists).with_context(|| format!("cannot enrol keys in `{}`", firmware.display()))
}

/// `keys init`.
fn init(ctx: &Ctx, args: &Keys) -> Result<()> {
    if let Some(letter) = args.name.chars().find(|letter| !letter.is_alphanumeric() && !" .-_".contains(*letter)) {
        return Err(usage(format!("--name {}: `{letter}` cannot stand in a name\nhint: letters, digits, blanks and . - _", args.name)));
    }
    let folder = folder(ctx);
    let place = place(&folder)?;
    refuse_tree(ctx, &folder, &place)?;
    if place.exists() && !fs::read_dir(&place).is_ok_and(|mut entries| entries.next().is_none()) {
        return Err(taken(&folder));
    }
    if ctx.globals.dry_run {
        println!("make keys in {}", folder.display());
        return Ok(());
    }
    // The folder appears when all is in it, so that no half set of keys is ever used.
    let parent = place.parent().context("a folder of keys lies in a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make the folder `{}`", parent.display()))?;
    let part = tempfile::Builder::new().prefix(".keys").tempdir_in(parent);
    let part = part.with_context(|| format!("cannot make a folder in `{}`", parent.display()))?;
    let inside = part.path().join("keys");
    fs::DirBuilder::new().mode(0o700).create(&inside).with_context(|| format!("cannot make the folder `{}`", inside.display()))?;
    make(&ctx.tools, &inside, args)?;
    fs::rename(&inside, &place).map_err(|error| match error.kind() {
        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => taken(&folder),
        _ => anyhow::Error::new(error).context(format!("cannot make the folder `{}`", folder.display())),
    })?;
    println!("made: {}", folder.display());
    println!("A firmware in setup mode enrols db.auth, KEK.auth and then PK.auth. Keep the .key files secret, and a copy of them safe.");
    Ok(())
}

fn taken(folder: &Path) -> anyhow::Error {
    usage(format!(
        "`{}` is there, and keys are never overwritten: what they signed would be refused\nhint: --keys OTHER-FOLDER",
        folder.display()
    ))
}

/// Where `folder` is, or will be once its parents are made: absolute, without links and `..`.
fn place(folder: &Path) -> Result<PathBuf> {
    let folder = std::path::absolute(folder).with_context(|| format!("cannot find `{}`", folder.display()))?;
    let mut place = PathBuf::new();
    for part in folder.components() {
        match part {
            Component::ParentDir => drop(place.pop()),
            part => place.push(part),
        }
        // What is not there yet will be a folder, and no link.
        place = place.canonicalize().unwrap_or(place);
    }
    Ok(place)
}

/// Refuses a folder whose place is in the tree: whoever commits the tree or sends it would give the keys away.
fn refuse_tree(ctx: &Ctx, folder: &Path, place: &Path) -> Result<()> {
    let root = ctx.root.canonicalize().with_context(|| format!("cannot find `{}`", ctx.root.display()))?;
    if place.starts_with(&root) {
        return Err(usage(format!(
            "`{}` is in the tree, and what is in the tree gets into commits and archives\nhint: --keys FOLDER, one outside of `{}`",
            folder.display(),
            ctx.root.display()
        )));
    }
    Ok(())
}

fn make(tools: &Tools, folder: &Path, args: &Keys) -> Result<()> {
    let bits = args.bits.parse().context("a number of bits")?;
    for variable in Variable::ALL {
        let key = key_file(folder, variable);
        write(&key, 0o600, &openssl::new_rsa_key(tools, bits)?)?;
        let name = format!("{} {}", args.name, variable.name());
        write(&certificate_file(folder, variable), 0o644, &openssl::new_certificate(tools, &key, &name, DAYS)?)?;
    }
    let image = folder.join("image.key");
    write(&image, 0o600, &openssl::new_rsa_key(tools, bits)?)?;
    write(&folder.join("image.pub"), 0o644, &openssl::public_pem(tools, &image)?)?;
    let owner = owner(&certificate(tools, &certificate_file(folder, Variable::Pk))?);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    for variable in Variable::ALL {
        let certificate = certificate(tools, &certificate_file(folder, variable))?;
        let list = variable::signature_list(&certificate, owner)?;
        let by = Pair::of_folder(tools, folder, variable.signer())?;
        let signed =
            variable::signed(variable, &list, Time::of(now), &Signer { certificate: &by.certificate, sign: &|bytes| by.sign(bytes) })?;
        let at = |ending: &str| folder.join(format!("{}.{ending}", variable.name()));
        write(&at("cer"), 0o644, &certificate.der)?;
        write(&at("esl"), 0o644, &list)?;
        write(&at("auth"), 0o644, &signed)?;
    }
    Ok(())
}

/// Who owns the entries in the signature lists: a GUID from the certificate of PK, in the form of random ones.
fn owner(certificate: &Certificate) -> Guid {
    let digits = sha256(&certificate.der);
    let mut guid = [0; 16];
    for (byte, pair) in guid.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    guid[7] = guid[7] & 0x0f | 0x40;
    guid[8] = guid[8] & 0x3f | 0x80;
    guid
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let file = fs::File::options().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.with_context(|| format!("cannot write `{}`", path.display()))
}

/// The folder of keys.
pub(super) fn folder(ctx: &Ctx) -> PathBuf {
    ctx.knobs.host.keys.clone().unwrap_or_else(|| ctx.environment.config().join("keys"))
}
