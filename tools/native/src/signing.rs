//! Signs the boot chain of a root file system for Secure Boot: GRUB, and kernel, initrd and command line as a unified kernel image. `secureboot` knows
//! the formats; `keys.rs` has the keys.

use crate::{keys::Pair, verity};
use anyhow::{Context as _, Result, bail};
use common::{base64, error::usage};
use diskimage::rootfs::CMDLINE;
use filetree::{Content, Node, Tree};
use plan::Signing;
use secureboot::{Certificate, Signer, UnifiedKernel, authenticode, variable::list_of_signed};
use std::{ffi::OsStr, path::Path};

/// GRUB in the root file system, and on the ESP.
const GRUB: &str = "EFI/BOOT/BOOTX64.EFI";
/// The unified kernel image in the root file system, where GRUB looks for it under Secure Boot.
const UNIFIED: &str = "EFI/Linux/eve.efi";
/// What is there when a hypervisor starts before the kernel.
const HYPERVISOR: &str = "EFI/BOOT/grub-hv.cfg";

/// The public key of who signs updates for this image, and the time of its commit: what `eve-verify` believes on the machine.
pub const UPDATE_KEY: &str = "etc/eve-update/image.pub";
/// The time, in seconds since 1970 and a line end.
pub const UPDATE_MADE: &str = "etc/eve-update/made";

/// The folder of the keys that an installer can have a firmware take: tools/installer looks for them there.
const FIRMWARE_KEYS: &str = "etc/secure-boot";

/// Signs GRUB in `tree`, and adds kernel, initrd and command line as one signed program; the initrd gets what checks the root file system (`programs`,
/// which is pkg/verity). Adds the key that signs updates, and the keys that a firmware is to take, if there are some. Returns a digest of the content, which the kernel expects.
pub(super) fn sign_boot(tree: &mut Tree, programs: &Tree, signing: &Signing, pair: &Pair<'_>, epoch: i64) -> Result<String> {
    refuse_hypervisor(tree)?;
    let signer = Signer { certificate: &pair.certificate, sign: &|bytes| pair.sign(bytes) };
    let stub = std::fs::read(&signing.stub).with_context(|| format!("cannot read `{}`", signing.stub.display()))?;
    verity::add_records(tree, programs)?;
    add_update_key(tree, signing, epoch)?;
    add_firmware_keys(tree, signing, pair, epoch)?;
    let content = verity::content(tree)?;
    let text = |path: &str| -> Result<String> {
        let text = String::from_utf8(read(tree, path)?).with_context(|| format!("{path} of the root file system is not UTF-8"))?;
        Ok(text.trim().to_owned())
    };
    let unified = UnifiedKernel {
        stub: &stub,
        os_release: &format!("ID=eve\nNAME=EVE\nVERSION_ID={}\n", text("etc/eve-release")?),
        command_line: &command_line(&text(CMDLINE)?, signing),
        initrd: &verity::with_archive(tree, programs, signing, pair, &content, epoch)?,
        kernel: &read(tree, "boot/kernel")?,
    };
    let unified = unified.build().with_context(|| format!("cannot make {UNIFIED}"))?;
    for (path, program) in [(GRUB, read(tree, GRUB)?), (UNIFIED, unified)] {
        let signed = authenticode::sign(&program, &signer).with_context(|| format!("cannot sign {path} of the root file system"))?;
        tree.insert(path, Node::file(0o644, epoch, Content::from(signed)))?;
    }
    Ok(content)
}

/// Adds the public key that machines check updates with, if there is one.
fn add_update_key(tree: &mut Tree, signing: &Signing, epoch: i64) -> Result<()> {
    if let Some(key) = &signing.update_key {
        let pem = std::fs::read(key).with_context(|| format!("cannot read `{}`", key.display()))?;
        check_update_key(&pem).with_context(|| format!("the image cannot take `{}` along", key.display()))?;
        for (path, content) in [(UPDATE_KEY, pem), (UPDATE_MADE, format!("{epoch}\n").into_bytes())] {
            tree.insert(path, Node::file(0o644, epoch, Content::from(content)))?;
        }
    }
    Ok(())
}

/// Adds the signed variables that an installer can have a firmware take, if there are some.
fn add_firmware_keys(tree: &mut Tree, signing: &Signing, pair: &Pair<'_>, epoch: i64) -> Result<()> {
    for path in signing.medium.iter().flat_map(|medium| &medium.variables) {
        let signed = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        check_variable(path, &signed, &pair.certificate).context("the installer cannot take its keys along")?;
        let name = path.file_name().and_then(OsStr::to_str).context("a variable has a name")?;
        tree.insert(format!("{FIRMWARE_KEYS}/{name}"), Node::file(0o644, epoch, Content::from(signed)))?;
    }
    Ok(())
}

/// Fails unless the file `path` with the bytes `signed` is one that a firmware could take: a signed variable, and db with `certificate`, without which
/// the firmware would refuse what is installed.
pub fn check_variable(path: &Path, signed: &[u8], certificate: &Certificate) -> Result<()> {
    let list = list_of_signed(signed).with_context(|| format!("`{}`", path.display()))?;
    let is_db = path.file_name() == Some(OsStr::new("db.auth"));
    if is_db && !list.windows(certificate.der.len()).any(|bytes| bytes == certificate.der) {
        bail!(
            "`{}` does not have the certificate of db that signs, so a firmware with it would not start what is installed\nhint: cargo xtask keys init makes keys that belong together",
            path.display()
        );
    }
    Ok(())
}

fn refuse_hypervisor(tree: &Tree) -> Result<()> {
    if tree.get(HYPERVISOR).is_some() {
        return Err(usage(format!("the root file system has {HYPERVISOR}: a hypervisor cannot be signed yet\nhint: HV=kvm, or SIGN=n")));
    }
    Ok(())
}

/// Fails unless this public key (PEM) is one that machines can read: RSA with 2048 or 3072 bits and the exponent 65537.
pub fn check_update_key(pem: &[u8]) -> Result<()> {
    const HINT: &str = "hint: cargo xtask keys init makes image.key and image.pub";
    let text = String::from_utf8_lossy(pem);
    let base64: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::decode(&base64).unwrap_or_default();
    // SubjectPublicKeyInfo: lengths, rsaEncryption, lengths and the sign of the modulus; behind the modulus the exponent.
    let rsa = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let is_known = [(294, 256), (422, 384)].into_iter().any(|(length, modulus)| {
        let is_modulus = |at: usize| der[at..].starts_with(&[0]) && der[at + 1] & 0x80 != 0;
        der.len() == length && der[4..].starts_with(rsa) && is_modulus(length - 5 - modulus - 1) && der.ends_with(&[2, 3, 1, 0, 1])
    });
    if !is_known {
        bail!("it is no public RSA key with 2048 or 3072 bits, which is what machines check updates with\n{HINT}");
    }
    Ok(())
}

/// The kernel's command line, with `own`, that of the image's yml. It is the same for both slots and for a slot on trial, because it is signed: so the
/// image says where it was started from, and a kernel that panics or hangs always starts the machine again soon. By `eve_verity` the initrd knows
/// that it must check the root file system. An ISO is no partition: there the initrd looks for the file.
fn command_line(own: &str, signing: &Signing) -> String {
    let usual = "console=tty0 console=ttyS0,115200 root=LoaderDevicePartUUID";
    let file = signing.medium.as_ref().and_then(|medium| medium.file.as_ref()).map_or_else(String::new, |file| format!(" rootimg=/{file}"));
    format!("{usual}{file} rootfstype=squashfs ro eve_verity {own} panic=10 softlockup_panic=1 watchdog_thresh=60 gpt")
}

fn read(tree: &Tree, path: &str) -> Result<Vec<u8>> {
    verity::read(tree, path)?.with_context(|| format!("the root file system has no {path}, so its boot chain cannot be signed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use child::{Tools, openssl};
    use plan::SignedMedium;

    #[test]
    fn a_tree_without_a_part_of_the_chain_is_refused() {
        let mut tree = Tree::new();
        assert_eq!(
            read(&tree, "boot/kernel").expect_err("no kernel").to_string(),
            "the root file system has no boot/kernel, so its boot chain cannot be signed"
        );
        tree.insert(HYPERVISOR, Node::file(0o644, 0, Content::from(""))).expect("inserted");
        let error = refuse_hypervisor(&tree).expect_err("Xen").to_string();
        assert!(error.starts_with("the root file system has EFI/BOOT/grub-hv.cfg: a hypervisor cannot be signed yet"), "{error}");
    }

    #[test]
    fn machines_read_rsa_keys_only() {
        let tools = Tools::new([("PATH".into(), "/usr/bin:/bin".into())], false, &|_| false);
        if tools.find(child::Tool::Openssl).is_err() {
            return skips::missing("openssl", "openssl");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let public = |words: &[&str]| {
            let key = folder.path().join("key");
            let openssl = tools.cmd(child::Tool::Openssl).expect("openssl").args(["genpkey", "-quiet", "-algorithm"]).args(words);
            std::fs::write(&key, openssl.stdout_bytes().expect("a key")).expect("written");
            openssl::public_pem(&tools, &key).expect("its public half")
        };
        for bits in ["2048", "3072"] {
            check_update_key(&public(&["RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")])).expect(bits);
        }
        let ec = public(&["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        let other = public(&["RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"]);
        for pem in [ec.as_slice(), &other, b"", b"text"] {
            let error = check_update_key(pem).expect_err("refused").to_string();
            assert!(error.starts_with("it is no public RSA key with 2048 or 3072 bits"), "{error}");
        }
    }

    #[test]
    fn the_command_line_names_no_slot() {
        assert_eq!(
            command_line("rootdelay=30 quiet", &signing(None)),
            "console=tty0 console=ttyS0,115200 root=LoaderDevicePartUUID rootfstype=squashfs ro eve_verity rootdelay=30 quiet panic=10 softlockup_panic=1 watchdog_thresh=60 gpt"
        );
        let medium = |file: Option<&str>| Some(SignedMedium { file: file.map(str::to_owned), variables: vec![] });
        let on_disk = command_line("quiet", &signing(medium(None)));
        assert!(!on_disk.contains("rootimg="), "{on_disk}");
        let line = command_line("quiet", &signing(medium(Some("installer.img"))));
        assert_eq!(line, on_disk.replace(" rootfstype=", " rootimg=/installer.img rootfstype="));
    }

    fn signing(medium: Option<SignedMedium>) -> Signing {
        Signing {
            keys: "/keys".into(),
            stub: "/stub".into(),
            update_key: None,
            verity: plan::ImageRef { reference: "verity".into(), arch: common::Arch::Amd64 },
            version: "1".into(),
            arch: common::Arch::Amd64,
            medium,
        }
    }
}
