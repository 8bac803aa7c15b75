//! `sign FILE`: signs an EFI program with the key db, so that a firmware that knows the key starts it.

use super::keys;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{artifact::write_named, digest::hex, error::usage};
use native::Pair;
use secureboot::{EfiProgram, Signer, authenticode, variable::Variable};
use std::path::PathBuf;

/// The program and who signs.
#[derive(clap::Args)]
pub struct Sign {
    /// the EFI program: a boot loader, a kernel, Xen
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// write the signed program to this file; FILE itself when unset
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// sign with this private key (PEM, or a URI that openssl knows, such as pkcs11:…) instead of db.key in the folder of keys
    #[arg(long, value_name = "FILE", requires = "certificate")]
    sign_key: Option<PathBuf>,
    /// the certificate of --sign-key
    #[arg(long, value_name = "FILE", requires = "sign_key")]
    certificate: Option<PathBuf>,
}

/// `sign`.
pub fn run(ctx: &Ctx, Sign { file, out, sign_key, certificate }: Sign) -> Result<()> {
    let program = std::fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    EfiProgram::parse(&program)
        .map_err(|error| usage(format!("{error:#}")))
        .with_context(|| format!("cannot sign `{}`", file.display()))?;
    let pair = match (&sign_key, &certificate) {
        (Some(key), Some(certificate)) => Pair::of_files(&ctx.tools, key, certificate)?,
        _ => Pair::of_folder(&ctx.tools, &keys::folder(ctx), Variable::Db)?,
    };
    let out = out.unwrap_or_else(|| file.clone());
    if ctx.globals.dry_run {
        println!("sign {}, and write {}", file.display(), out.display());
        return Ok(());
    }
    let signer = Signer { certificate: &pair.certificate, sign: &|bytes| pair.sign(bytes) };
    let signed = authenticode::sign(&program, &signer).with_context(|| format!("cannot sign `{}`", file.display()))?;
    write_named(&out, &signed)?;
    println!("signed: {}, Authenticode's SHA-256 {}", out.display(), hex(&EfiProgram::parse(&signed)?.digest()));
    Ok(())
}
