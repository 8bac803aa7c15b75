//! SignedData of CMS (RFC 5652; version 1, so also PKCS #7) with SHA-256, one RSA signer and its certificate. It holds no time, and RSA's
//! padding is that of PKCS #1 v1.5: the same key signs the same content with the same bytes.

use crate::{
    Certificate,
    certificate::RSA,
    der::{self, INTEGER, OCTETS, element, null, oid, sequence, set},
};
use anyhow::Result;
use sha2::{Digest as _, Sha256};

/// Signs bytes: RSA with PKCS #1 v1.5 over their SHA-256.
pub type Sign<'a> = &'a dyn Fn(&[u8]) -> Result<Vec<u8>>;

/// Who signs.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The certificate of the key.
    pub certificate: &'a Certificate,
    /// Signs with the key.
    pub sign: Sign<'a>,
}

pub const DATA: &[u32] = &[1, 2, 840, 113_549, 1, 7, 1];
const SIGNED_DATA: &[u32] = &[1, 2, 840, 113_549, 1, 7, 2];
const CONTENT_TYPE: &[u32] = &[1, 2, 840, 113_549, 1, 9, 3];
const MESSAGE_DIGEST: &[u32] = &[1, 2, 840, 113_549, 1, 9, 4];
const SHA256: &[u32] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];

/// SHA-256 as an AlgorithmIdentifier.
pub fn sha256_algorithm() -> Vec<u8> {
    sequence(&[&oid(SHA256), &null()])
}

/// SignedData that holds `content`, a SEQUENCE of the type `kind`, and signs it by way of attributes.
pub fn enveloped(kind: &[u32], content: &[u8], signer: &Signer<'_>) -> Result<Vec<u8>> {
    let digest = Sha256::digest(der::read_any(content)?.content);
    let attribute = |name: &[u32], value: &[u8]| sequence(&[&oid(name), &set(&[value])]);
    let (kind_attribute, digest_attribute) = (attribute(CONTENT_TYPE, &oid(kind)), attribute(MESSAGE_DIGEST, &element(OCTETS, &[&digest])));
    // What is signed has the tag of a SET, what is stored that of the field.
    let signed = set(&[&kind_attribute, &digest_attribute]);
    let mut stored = signed.clone();
    stored[0] = der::context(0, true);
    let content = element(der::context(0, true), &[content]);
    signed_data(&sequence(&[&oid(kind), &content]), &stored, &signed, signer)
}

/// SignedData about `bytes`, which it does not hold; without attributes, as a firmware wants it for its variables.
pub fn detached(bytes: &[u8], signer: &Signer<'_>) -> Result<Vec<u8>> {
    signed_data(&sequence(&[&oid(DATA)]), &[], bytes, signer)
}

fn signed_data(content: &[u8], attributes: &[u8], signed: &[u8], signer: &Signer<'_>) -> Result<Vec<u8>> {
    let certificate = signer.certificate;
    let (version, algorithm) = (element(INTEGER, &[&[1]]), sha256_algorithm());
    let name = sequence(&[&certificate.issuer, &certificate.serial]);
    let signature = element(OCTETS, &[&(signer.sign)(signed)?]);
    let info = sequence(&[&version, &name, &algorithm, attributes, &sequence(&[&oid(RSA), &null()]), &signature]);
    let certificates = element(der::context(0, true), &[&certificate.der]);
    Ok(sequence(&[&version, &set(&[&algorithm]), content, &certificates, &set(&[&info])]))
}

/// ContentInfo around SignedData.
pub fn content_info(signed_data: &[u8]) -> Vec<u8> {
    sequence(&[&oid(SIGNED_DATA), &element(der::context(0, true), &[signed_data])])
}
