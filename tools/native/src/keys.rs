//! The keys of who signs for Secure Boot: pairs of a private key, which openssl has, and its certificate.

use anyhow::{Context as _, Result, bail};
use child::{Tools, openssl};
use common::error::usage;
use secureboot::{Certificate, variable::Variable};
use std::path::{Path, PathBuf};

/// The private key of a variable in a folder of keys.
#[must_use]
pub fn key_file(folder: &Path, variable: Variable) -> PathBuf {
    folder.join(format!("{}.key", variable.name()))
}

/// The certificate of that key.
#[must_use]
pub fn certificate_file(folder: &Path, variable: Variable) -> PathBuf {
    folder.join(format!("{}.crt", variable.name()))
}

/// The certificate in a file.
pub fn certificate(tools: &Tools, path: &Path) -> Result<Certificate> {
    Certificate::parse(&openssl::certificate(tools, path)?).with_context(|| format!("`{}`", path.display()))
}

/// A private key and its certificate.
pub struct Pair<'t> {
    tools: &'t Tools,
    key: PathBuf,
    /// The certificate.
    pub certificate: Certificate,
}

impl<'t> Pair<'t> {
    /// That of a variable in a folder of keys.
    pub fn of_folder(tools: &'t Tools, folder: &Path, variable: Variable) -> Result<Self> {
        let key = key_file(folder, variable);
        if !key.is_file() {
            return Err(usage(format!(
                "`{}` is not there\nhint: cargo xtask keys init --keys FOLDER makes keys, --keys FOLDER names those that you have",
                key.display()
            )));
        }
        Self::of_files(tools, &key, &certificate_file(folder, variable))
    }

    /// Those in two files. The key may also be a URI that openssl knows.
    pub fn of_files(tools: &'t Tools, key: &Path, certificate_file: &Path) -> Result<Self> {
        let certificate = certificate(tools, certificate_file)?;
        if openssl::public_key(tools, key)? != certificate.public_key {
            bail!("`{}` is the certificate of another key than `{}`", certificate_file.display(), key.display());
        }
        if !certificate.is_rsa() {
            bail!(
                "`{}` has a key that is not RSA, and firmware checks no other signatures\nhint: cargo xtask keys init",
                certificate_file.display()
            );
        }
        Ok(Self { tools, key: key.to_owned(), certificate })
    }

    /// Signs with the private key.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        openssl::sign(self.tools, &self.key, bytes)
    }
}
