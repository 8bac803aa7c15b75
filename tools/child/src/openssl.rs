//! openssl: signs bytes with a private key and checks signatures, both with SHA-256. The keys are PEM files, EC or RSA, as cosign and
//! openssl itself read them. A key that openssl can find elsewhere is named by its URI (`pkcs11:…`, with a provider in openssl's configuration).

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
    let openssl = tools.cmd(Tool::Openssl)?.step(format!("reading {}", key.display()));
    let public = openssl.args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(key).stdout_bytes();
    Ok(sha256(&public.with_context(|| format!("`{}` is no private key", key.display()))?))
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
