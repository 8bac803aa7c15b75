//! What systemd's stub measures of a unified kernel image (PCR 11 of the UAPI group's "Linux TPM PCR Registry"), and what the start for EFI of the kernel
//! in it measures (PCR 9 there).

use crate::{event::ExpectedEvent, kind::EVENT_TAG};
use anyhow::{Context as _, Result, bail};
use secureboot::uki::{section, stub_version};

/// The version of the stub whose order this is; later ones measure more.
const VERSION: &str = "252";
/// The sections in the order of the stub.
const SECTIONS: [&str; 6] = [".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb"];
/// Other sections of unified kernel images (UAPI group's specification). The stub's own `.sbat` is not measured by this version.
const OTHERS: [&str; 8] = [".ucode", ".uname", ".pcrsig", ".pcrpkey", ".profile", ".dtbauto", ".hwids", ".efifw"];
/// What the kernel says in its events, for those that it knows.
const OPTIONS: &str = "LOADED_IMAGE::LoadOptions";
const INITRD: &str = "Linux initrd";

/// The events of `program`. Under Secure Boot the stub lets the kernel pass, so that the firmware measures it no more.
pub(crate) fn events(program: &[u8], secure_boot: bool) -> Result<Vec<ExpectedEvent>> {
    if !secure_boot {
        bail!("what a unified kernel image measures without Secure Boot is not known here");
    }
    let version = stub_version(program)?.context("which version of systemd its stub is of is not said in it")?;
    if version.split(|letter: char| !letter.is_ascii_digit()).next() != Some(VERSION) {
        bail!("its stub is of systemd {version}, and what is measured is known here for {VERSION} only");
    }
    for name in OTHERS {
        if section(program, name)?.is_some() {
            bail!("it has a section `{name}`, and whether its stub measures that is not known here");
        }
    }
    let mut events = Vec::new();
    for name in SECTIONS {
        if let Some(content) = section(program, name)? {
            events.push(ExpectedEvent::loader(11, format!("{name}\0").as_bytes(), format!("{name}: the name")));
            events.push(ExpectedEvent::loader(11, content, format!("{name}: the content")));
        }
    }
    let kernel = section(program, ".linux")?.context("it has no kernel")?;
    let measures = |what: &str| kernel.windows(what.len()).any(|bytes| bytes == what.as_bytes());
    if let Some(line) = section(program, ".cmdline")?.filter(|_| measures(OPTIONS)) {
        // The stub gives the kernel UTF-16 with its end.
        let line: Vec<u8> = String::from_utf8_lossy(line).encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        events.push(ExpectedEvent::of(9, EVENT_TAG, &line, OPTIONS));
    }
    if let Some(initrd) = section(program, ".initrd")?.filter(|_| measures(INITRD)) {
        events.push(ExpectedEvent::of(9, EVENT_TAG, initrd, INITRD));
    }
    Ok(events)
}
