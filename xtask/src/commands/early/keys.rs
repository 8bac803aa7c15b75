//! Whether the keys of SIGN can sign: before the first step, because signing is one of the last.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::openssl;
use common::{eprintln, error::usage};
use native::{Pair, certificate_file, check_update_key, check_variable};
use plan::{SignedMedium, Signing};
use secureboot::{Certificate, variable::Variable};
use std::path::Path;

/// Fails if `signing` names a key that cannot sign a boot chain, or a public key that no machine could check an update with.
pub(super) fn check(ctx: &Ctx, signing: &Signing) -> Result<()> {
    const WHAT: &str = "SIGN=y: the keys cannot sign";
    // A machine compares the times of commits, and no image could say that its time is another.
    if signing.update_key.is_some() && ctx.environment.source_date_epoch()?.is_some() {
        return Err(usage("SIGN=y: SOURCE_DATE_EPOCH is set, and machines tell older images by the time of the commit\nhint: unset it"));
    }
    let folder = &signing.keys;
    let pair = Pair::of_folder(&ctx.tools, folder, Variable::Db).context(WHAT)?;
    // A key can be readable and refuse, such as one on a token.
    pair.sign(b"trial").context(WHAT)?;
    pair.certificate.rsa_modulus().context(WHAT)?;
    let certificate = certificate_file(folder, Variable::Db);
    if openssl::has_expired(&ctx.tools, &certificate)? {
        eprintln!("warning: SIGN=y: `{}` has expired: firmware does not look at that, but other tools do", certificate.display());
    }
    if let Some(medium) = &signing.medium {
        return check_medium(folder, medium, &pair.certificate);
    }
    let Some(public) = &signing.update_key else {
        eprintln!("note: `{}` has no image.pub, so a machine with this image takes every update", folder.display());
        return Ok(());
    };
    let pem = std::fs::read(public).with_context(|| format!("cannot read `{}`", public.display()))?;
    check_update_key(&pem).with_context(|| format!("SIGN=y: the image cannot take `{}` along", public.display()))?;
    // The private half may be elsewhere. If it is here, it must be that one, or no update of this machine would be believed.
    let private = folder.join("image.key");
    if private.is_file() && openssl::public_pem(&ctx.tools, &private)?.trim_ascii() != pem.trim_ascii() {
        return Err(usage(format!("SIGN=y: `{}` is not the public half of `{}`", public.display(), private.display())));
    }
    Ok(())
}

/// Fails if the files of `medium` are no variables that a firmware could take.
fn check_medium(folder: &Path, medium: &SignedMedium, certificate: &Certificate) -> Result<()> {
    if medium.variables.is_empty() {
        eprintln!(
            "note: `{}` has no PK.auth, KEK.auth and db.auth, so the installer cannot enrol keys (eve_enroll_keys)",
            folder.display()
        );
    }
    for path in &medium.variables {
        let signed = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        check_variable(path, &signed, certificate).context("SIGN=y: the installer cannot take its keys along")?;
    }
    Ok(())
}
