//! Signs EFI programs as "Windows Authenticode Portable Executable Signature Format" describes it, which UEFI's firmware checks.

use crate::{
    EfiProgram, Signer, cms,
    der::{self, BITS, OCTETS, element, oid, sequence},
};
use anyhow::Result;

const INDIRECT_DATA: &[u32] = &[1, 3, 6, 1, 4, 1, 311, 2, 1, 4];
const PE_IMAGE_DATA: &[u32] = &[1, 3, 6, 1, 4, 1, 311, 2, 1, 15];

/// `program` with one signature, that of `signer`; older ones are removed. The same program and key give the same bytes.
pub fn sign(program: &[u8], signer: &Signer<'_>) -> Result<Vec<u8>> {
    let program = EfiProgram::parse(program)?.unsigned();
    let digest = EfiProgram::parse(&program)?.digest();
    let signature = cms::enveloped(INDIRECT_DATA, &indirect_data(&digest), signer)?;
    EfiProgram::parse(&program)?.with_signature(&cms::content_info(&signature))
}

/// SpcIndirectDataContent: "the digest of a PE image". The name of the file is a constant that every signer writes.
fn indirect_data(digest: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = "<<<Obsolete>>>".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let link = element(der::context(2, true), &[&element(der::context(0, false), &[&name])]);
    let image = sequence(&[&element(BITS, &[&[0]]), &element(der::context(0, true), &[&link])]);
    let digest = sequence(&[&cms::sha256_algorithm(), &element(OCTETS, &[digest])]);
    sequence(&[&sequence(&[&oid(PE_IMAGE_DATA), &image]), &digest])
}
