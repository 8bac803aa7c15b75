//! What signatures need of an X.509 certificate (RFC 5280): who issued it, its number, its public key.

use crate::der;
use anyhow::{Context as _, Result, bail};

/// The object identifier of keys of RSA.
pub const RSA: &[u32] = &[1, 2, 840, 113_549, 1, 1, 1];

/// A certificate in DER, and parts of it, each a whole element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// All of it.
    pub der: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    /// The name of its owner, a Name in DER.
    pub subject: Vec<u8>,
    /// SubjectPublicKeyInfo, as `openssl pkey -pubout -outform DER` prints it.
    pub public_key: Vec<u8>,
}

impl Certificate {
    /// Reads a certificate in DER.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).context("no X.509 certificate in DER")
    }

    /// Whether its key is one of RSA.
    #[must_use]
    pub fn is_rsa(&self) -> bool {
        let algorithm = der::read_any(&self.public_key).and_then(|key| der::read_any(key.content));
        algorithm.is_ok_and(|algorithm| algorithm.content.starts_with(&der::oid(RSA)))
    }

    /// The modulus of its RSA key, without leading zeros. Fails unless the key is one that an initrd can check signatures with: of 2048 to 4096 bits,
    /// with the exponent 65537.
    pub fn rsa_modulus(&self) -> Result<Vec<u8>> {
        let algorithm = der::read_any(der::read(&self.public_key, der::SEQUENCE)?.content)?;
        // A byte with the number of bits that are not used comes first.
        let key = der::read(algorithm.rest, der::BITS)?.content.get(1..).unwrap_or_default();
        let modulus = der::read(der::read(key, der::SEQUENCE)?.content, der::INTEGER)?;
        let exponent = der::read(modulus.rest, der::INTEGER)?;
        let zeros = modulus.content.iter().take_while(|byte| **byte == 0).count();
        let digits = &modulus.content[zeros..];
        let bits = digits.first().map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize);
        if !self.is_rsa() || exponent.content != [1, 0, 1] || !(2048..=4096).contains(&bits) {
            bail!(
                "db's key is no RSA key with 2048 to 4096 bits and the exponent 65537 (it has {bits} bits), and no machine could check its root \
                 file system with it"
            );
        }
        Ok(digits.to_vec())
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let whole = der::read(bytes, der::SEQUENCE)?;
        if !whole.rest.is_empty() {
            bail!("{} bytes follow it", whole.rest.len());
        }
        let mut fields = der::read(whole.content, der::SEQUENCE)?.content;
        if fields.first() == Some(&der::context(0, true)) {
            fields = der::read_any(fields)?.rest;
        }
        let serial = der::read(fields, der::INTEGER)?;
        let algorithm = der::read(serial.rest, der::SEQUENCE)?;
        let issuer = der::read(algorithm.rest, der::SEQUENCE)?;
        let validity = der::read(issuer.rest, der::SEQUENCE)?;
        let subject = der::read(validity.rest, der::SEQUENCE)?;
        let public_key = der::read(subject.rest, der::SEQUENCE)?;
        let [serial, issuer, subject, public_key] = [serial, issuer, subject, public_key].map(|element| element.whole.to_vec());
        Ok(Self { der: bytes.to_vec(), serial, issuer, subject, public_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate whose key has this modulus and exponent.
    fn with_key(kind: &[u32], modulus: &[u8], exponent: &[u8]) -> Certificate {
        let key = der::sequence(&[&der::element(der::INTEGER, &[&[0], modulus]), &der::element(der::INTEGER, &[exponent])]);
        let algorithm = der::sequence(&[&der::oid(kind), &der::null()]);
        let public_key = der::sequence(&[&algorithm, &der::element(der::BITS, &[&[0], &key])]);
        Certificate { der: Vec::new(), serial: Vec::new(), issuer: Vec::new(), subject: Vec::new(), public_key }
    }

    #[test]
    fn a_modulus_has_2048_to_4096_bits() {
        for (bytes, first, bits) in
            [(256, 0x80, Ok(())), (512, 0xff, Ok(())), (256, 0x7f, Err(2047)), (257, 1, Ok(())), (513, 1, Err(4097))]
        {
            let mut modulus = vec![0xff; bytes];
            modulus[0] = first;
            let read = with_key(RSA, &modulus, &[1, 0, 1]).rsa_modulus();
            match bits {
                Ok(()) => assert_eq!(read.expect("a modulus"), modulus),
                Err(bits) => assert_eq!(
                    read.expect_err("refused").to_string(),
                    format!(
                        "db's key is no RSA key with 2048 to 4096 bits and the exponent 65537 (it has {bits} bits), and no machine could check its \
                         root file system with it"
                    )
                ),
            }
        }
        for (kind, exponent) in [(RSA, &[3][..]), (&[1, 2, 840], &[1, 0, 1])] {
            let error = with_key(kind, &[0xff; 256], exponent).rsa_modulus().expect_err("refused").to_string();
            assert!(error.starts_with("db's key is no RSA key with 2048 to 4096 bits and the exponent 65537"), "{error}");
        }
    }
}
