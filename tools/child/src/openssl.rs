//! openssl: signs bytes with a private key and checks signatures, both with SHA-256; makes RSA keys and certificates. The keys are PEM
//! files, EC or RSA, as cosign and openssl itself read them. A key that openssl can find elsewhere is named by its URI (`pkcs11:…`, with a provider in openssl's configuration).

use super::{Tool, Tools};
use anyhow::{Context as _, Result};
use common::digest::sha256;
use std::{io::Write as _, path::Path};

/// Signs `bytes` with the private key in the file `key`.
pub fn sign(tools: &Tools, key: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
    let openssl = tools.cmd(Tool::Openssl)?.step(format!("signing with {}", key.display()));
    openssl.args(["dgst", "-sha256", "-sign"]).arg(key).stdin_bytes(bytes).stdout_bytes().with_context(|| {
        format!("`{}` cannot sign\nhint: it must be an EC or RSA private key: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY.pem", key.display())
    })
}

/// The id of the private key in the file `key`: the SHA-256 of its public key (the DER of SubjectPublicKeyInfo), in hexadecimal.
pub fn key_id(tools: &Tools, key: &Path) -> Result<String> {
    Ok(sha256(&public_key(tools, key)?))
}

/// Whether `signature` is one of `bytes` by the owner of the public key in the file `key`.
pub fn is_signed(tools: &Tools, key: &Path, bytes: &[u8], signature: &[u8]) -> Result<bool> {
    let read = tools.cmd(Tool::Openssl)?.step(format!("reading {}", key.display()));
    let read = read.args(["pkey", "-pubin", "-noout", "-in"]).arg(key).run();
    read.with_context(|| format!("`{}` is no public key\nhint: openssl pkey -in KEY.pem -pubout", key.display()))?;
    let mut file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    file.write_all(signature).context("cannot write a temporary file")?;
    let openssl = tools.cmd(Tool::Openssl)?.step("checking a signature");
    openssl.args(["dgst", "-sha256", "-verify"]).arg(key).arg("-signature").arg(file.path()).stdin_bytes(bytes).status_ok()
}

/// A new private RSA key of `bits`, as PEM.
pub fn new_rsa_key(tools: &Tools, bits: u32) -> Result<Vec<u8>> {
    let openssl = tools.cmd(Tool::Openssl)?.step("making a key");
    openssl.args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")]).stdout_bytes()
}

/// What a certificate of [`new_certificate`] says: an authority of its own, which signs programs and lists of keys, too.
const EXTENSIONS: &str = "[req]\ndistinguished_name=name\nx509_extensions=own\n[name]\n[own]\nbasicConstraints=critical,CA:TRUE\n\
    keyUsage=critical,digitalSignature,keyCertSign\nsubjectKeyIdentifier=hash\n";

/// The certificate of the private key in the file `key` for the name `name`, signed by this key, valid for `days`; as PEM.
pub fn new_certificate(tools: &Tools, key: &Path, name: &str, days: u32) -> Result<Vec<u8>> {
    let mut config = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    config.write_all(EXTENSIONS.as_bytes()).context("cannot write a temporary file")?;
    let openssl = tools.cmd(Tool::Openssl)?.step(format!("making the certificate of {}", key.display()));
    let openssl = openssl.args(["req", "-new", "-x509", "-sha256", "-utf8", "-days", &days.to_string(), "-subj", &format!("/CN={name}")]);
    openssl.arg("-config").arg(config.path()).arg("-key").arg(key).stdout_bytes()
}

/// The certificate in the file `path` (PEM or DER), as DER.
pub fn certificate(tools: &Tools, path: &Path) -> Result<Vec<u8>> {
    let openssl = tools.cmd(Tool::Openssl)?.step(format!("reading {}", path.display()));
    let der = openssl.args(["x509", "-outform", "DER", "-in"]).arg(path).stdout_bytes();
    der.with_context(|| format!("`{}` is no X.509 certificate", path.display()))
}

/// Whether the certificate in the file `path` is no longer valid.
pub fn has_expired(tools: &Tools, path: &Path) -> Result<bool> {
    let openssl = tools.cmd(Tool::Openssl)?.step(format!("reading {}", path.display()));
    Ok(!openssl.args(["x509", "-noout", "-checkend", "0", "-in"]).arg(path).status_ok()?)
}

/// The public key of the private key in the file `key`: the DER of SubjectPublicKeyInfo.
pub fn public_key(tools: &Tools, key: &Path) -> Result<Vec<u8>> {
    public(tools, key, "DER")
}

/// The same as PEM, for [`is_signed`].
pub fn public_pem(tools: &Tools, key: &Path) -> Result<Vec<u8>> {
    public(tools, key, "PEM")
}

fn public(tools: &Tools, key: &Path, form: &str) -> Result<Vec<u8>> {
    let openssl = tools.cmd(Tool::Openssl)?.step(format!("reading {}", key.display()));
    let public = openssl.args(["pkey", "-pubout", "-outform", form, "-in"]).arg(key).stdout_bytes();
    public.with_context(|| format!("`{}` is no private key", key.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_signature_is_of_these_bytes_and_this_key() {
        let tools = Tools::new([("PATH".into(), "/usr/bin:/bin".into())], false, &|_| false);
        if tools.find(Tool::Openssl).is_err() {
            skips::missing("openssl", "openssl");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let openssl = |words: &[&str]| tools.cmd(Tool::Openssl).unwrap().dir(folder.path()).args(words).run().unwrap();
        for name in ["one", "two"] {
            openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", name]);
            openssl(&["pkey", "-in", name, "-pubout", "-out", &format!("{name}.pub")]);
        }
        let signature = sign(&tools, &at("one"), b"bytes").unwrap();
        let checks = |key: &str, bytes: &[u8]| is_signed(&tools, &at(key), bytes, &signature).unwrap();
        assert!(checks("one.pub", b"bytes"));
        assert!(!checks("one.pub", b"other") && !checks("two.pub", b"bytes"));
        assert_ne!(key_id(&tools, &at("one")).unwrap(), key_id(&tools, &at("two")).unwrap());
        let error = is_signed(&tools, &at("one"), b"bytes", &signature).unwrap_err().to_string();
        assert!(error.contains("one` is no public key\nhint: openssl pkey"), "{error}");
        openssl(&["genpkey", "-algorithm", "ED25519", "-out", "ed"]);
        let error = format!("{:#}", sign(&tools, &at("ed"), b"bytes").unwrap_err());
        assert!(error.contains("ed` cannot sign\nhint: it must be an EC or RSA private key"), "{error}");
        let error = format!("{:#}", key_id(&tools, &at("one.pub")).unwrap_err());
        assert!(error.contains("one.pub` is no private key"), "{error}");
    }
}
