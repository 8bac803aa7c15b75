//! Unified kernel images, as the UAPI group's specification describes them: kernel, initrd and command line as sections of one EFI program, so that one
//! signature covers all of them. The code in it is a stub of systemd (`linuxx64.efi.stub`), which takes no other command line under Secure Boot.

use crate::pe::{EfiProgram, number};
use anyhow::{Context as _, Result, bail};

/// What goes into the program.
#[derive(Clone, Copy, Debug)]
pub struct UnifiedKernel<'a> {
    /// The stub, which starts the kernel.
    pub stub: &'a [u8],
    /// The text of an os-release file, which tells people and tools what the program is.
    pub os_release: &'a str,
    /// The kernel's command line.
    pub command_line: &'a str,
    /// The initrd.
    pub initrd: &'a [u8],
    /// The kernel, an EFI program.
    pub kernel: &'a [u8],
}

/// Bytes of a section's header.
const SECTION: usize = 40;
/// Initialized data that is only read.
const READ_ONLY_DATA: u32 = 0x4000_0040;
/// Sections begin on pages, so that firmware may protect them one by one.
const PAGE: usize = 0x1000;

impl UnifiedKernel<'_> {
    /// The program, without signature. The same parts give the same bytes.
    pub fn build(&self) -> Result<Vec<u8>> {
        if let Some(letter) = self.command_line.chars().find(|letter| !letter.is_ascii() || letter.is_ascii_control()) {
            bail!("the kernel's command line has {letter:?}, and may have printable ASCII only");
        }
        EfiProgram::parse(self.kernel).context("the kernel")?;
        let sections = [
            (".osrel", self.os_release.as_bytes()),
            (".cmdline", self.command_line.as_bytes()),
            (".initrd", self.initrd),
            (".linux", self.kernel),
        ];
        with_sections(self.stub, &sections).context("the stub of the unified kernel image")
    }
}

/// The parts of `program`, a unified kernel image, by the names of their sections.
pub fn section<'a>(program: &'a [u8], name: &str) -> Result<Option<&'a [u8]>> {
    let headers = Headers::read(program)?;
    for at in headers.sections() {
        if program[at..at + 8].split(|byte| *byte == 0).next() == Some(name.as_bytes()) {
            let (used, size, start) = (number(program, at + 8, 4)?, number(program, at + 16, 4)?, number(program, at + 20, 4)?);
            return Ok(program.get(start..start + used.min(size)));
        }
    }
    Ok(None)
}

/// The Debian package of the stub.
pub const STUB_PACKAGE: &str = "systemd-boot-efi";

/// The version that systemd's stub says of itself, in itself and in each unified kernel image that is made of it: that of Debian's package.
/// None if it says nothing.
pub fn stub_version(program: &[u8]) -> Result<Option<String>> {
    let text = section(program, ".sdmagic")?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    let version = text.split_once("LoaderInfo: systemd-stub ").and_then(|(_, rest)| rest.split([' ', '\0']).next());
    Ok(version.filter(|version| !version.is_empty()).map(str::to_owned))
}

/// The places in a program's headers that more sections change.
struct Headers {
    coff: usize,
    optional: usize,
    /// The headers of the sections.
    table: usize,
    count: usize,
}

impl Headers {
    fn read(program: &[u8]) -> Result<Self> {
        EfiProgram::parse(program)?;
        let coff = number(program, 0x3c, 4)?;
        let optional = coff + 24;
        Ok(Self { coff, optional, table: optional + number(program, coff + 20, 2)?, count: number(program, coff + 6, 2)? })
    }

    fn sections(&self) -> impl Iterator<Item = usize> + use<> {
        let table = self.table;
        (0..self.count).map(move |index| table + SECTION * index)
    }
}

/// `program` with more sections behind its own. It must have room for their headers, and no signature.
fn with_sections(program: &[u8], sections: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let headers = Headers::read(program)?;
    let (file_alignment, size_of_headers) = (number(program, headers.optional + 36, 4)?, number(program, headers.optional + 60, 4)?);
    if !file_alignment.is_power_of_two() {
        bail!("its sections are aligned to {file_alignment}, which is no power of two");
    }
    let (mut end, mut address) = (size_of_headers, 0);
    for at in headers.sections() {
        let (used, place) = (number(program, at + 8, 4)?, number(program, at + 12, 4)?);
        let (size, start) = (number(program, at + 16, 4)?, number(program, at + 20, 4)?);
        if section_is_named(program, at, sections) {
            bail!("it has a section `{}` already: it is no stub, but a whole image", name_of(program, at));
        }
        address = address.max(place + used.max(size));
        if size > 0 {
            end = end.max(start + size);
        }
    }
    let mut table_end = headers.table + SECTION * headers.count;
    if table_end + SECTION * sections.len() > size_of_headers {
        bail!("its headers have no room for {} more sections", sections.len());
    }
    // Debian's stub has symbols for debuggers behind its sections. No program needs them, and they may not lie between sections.
    let symbols = headers.coff + 12;
    let is_only_symbols = number(program, symbols, 4)? == end && !EfiProgram::parse(program)?.is_signed();
    if program[table_end..size_of_headers].iter().any(|byte| *byte != 0) || program.len() != end && !is_only_symbols {
        bail!("it has data besides its headers, sections and symbols; is it signed?");
    }
    let mut bytes = program[..end].to_vec();
    bytes[symbols..symbols + 8].fill(0);
    for (name, content) in sections {
        bytes.resize(bytes.len().next_multiple_of(file_alignment), 0);
        address = address.next_multiple_of(PAGE);
        let size = content.len().next_multiple_of(file_alignment);
        let values = [content.len(), address, size, bytes.len(), 0, 0, 0];
        bytes[table_end..table_end + name.len()].copy_from_slice(name.as_bytes());
        for (index, value) in values.into_iter().enumerate() {
            put(&mut bytes, table_end + 8 + 4 * index, value)?;
        }
        bytes[table_end + 36..table_end + SECTION].copy_from_slice(&READ_ONLY_DATA.to_le_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(file_alignment), 0);
        table_end += SECTION;
        address += content.len();
    }
    let count = u16::try_from(headers.count + sections.len())?;
    bytes[headers.coff + 6..headers.coff + 8].copy_from_slice(&count.to_le_bytes());
    let data = number(&bytes, headers.optional + 8, 4)? + bytes.len() - end;
    put(&mut bytes, headers.optional + 8, data)?;
    put(&mut bytes, headers.optional + 56, address.next_multiple_of(PAGE))?;
    // The checksum of the stub is wrong now; firmware does not look, and a signature brings a right one.
    put(&mut bytes, headers.optional + 64, 0)?;
    Ok(bytes)
}

fn put(bytes: &mut [u8], at: usize, value: usize) -> Result<()> {
    bytes[at..at + 4].copy_from_slice(&u32::try_from(value).context("a program of more than 4 GiB")?.to_le_bytes());
    Ok(())
}

fn name_of(program: &[u8], at: usize) -> String {
    String::from_utf8_lossy(&program[at..at + 8]).trim_end_matches('\0').to_owned()
}

fn section_is_named(program: &[u8], at: usize, sections: &[(&str, &[u8])]) -> bool {
    let name = name_of(program, at);
    sections.iter().any(|(other, _)| *other == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pe::tests::program;

    fn unified<'a>(stub: &'a [u8], kernel: &'a [u8]) -> UnifiedKernel<'a> {
        UnifiedKernel { stub, os_release: "ID=eve\n", command_line: "quiet root=/dev/vda", initrd: b"initrd", kernel }
    }

    fn stub() -> Vec<u8> {
        let mut stub = program(0x400);
        stub[0x58 + 36..0x58 + 40].copy_from_slice(&0x200_u32.to_le_bytes());
        stub[0x58 + 60..0x58 + 64].copy_from_slice(&0x400_u32.to_le_bytes());
        stub[0x148 + 8..0x148 + 16].copy_from_slice(&[0, 4, 0, 0, 0, 0x10, 0, 0]);
        stub[0x148 + 20..0x148 + 24].copy_from_slice(&0x400_u32.to_le_bytes());
        stub.splice(0x200..0x200, [0; 0x200]);
        stub
    }

    #[test]
    fn the_stub_says_its_version() {
        let with = |text: &[u8]| {
            let program = with_sections(&stub(), &[(".sdmagic", text)]).expect("a section more");
            stub_version(&program).expect("sections")
        };
        assert_eq!(with(b"#### LoaderInfo: systemd-stub 252.39-1~deb12u2 ####\0\0").as_deref(), Some("252.39-1~deb12u2"));
        assert_eq!(with(b"#### LoaderInfo: other 1 ####"), None);
        assert_eq!(stub_version(&stub()).expect("sections"), None);
    }

    #[test]
    fn all_parts_are_in_the_program_and_its_digest() {
        let (stub, kernel) = (stub(), program(700));
        let bytes = unified(&stub, &kernel).build().expect("built");
        for (name, content) in
            [(".osrel", &b"ID=eve\n"[..]), (".cmdline", b"quiet root=/dev/vda"), (".initrd", b"initrd"), (".linux", &kernel)]
        {
            assert_eq!(section(&bytes, name).expect("sections"), Some(content), "{name}");
        }
        assert_eq!(section(&bytes, ".other").expect("sections"), None);
        let digest = |bytes: &[u8]| EfiProgram::parse(bytes).expect("program").digest();
        for at in (0x200..bytes.len()).step_by(97) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_ne!(digest(&changed), digest(&bytes), "{at:#x}");
        }
        // The last section ends where the image does.
        let size = number(&bytes, 0x58 + 56, 4).expect("size");
        assert!(size.is_multiple_of(PAGE) && number(&bytes, 0x148 + 4 * SECTION + 12, 4).expect("address") + kernel.len() <= size);
    }

    #[test]
    fn what_is_no_stub_is_refused() {
        let (stub, kernel) = (stub(), program(700));
        let error = |uki: UnifiedKernel<'_>| format!("{:#}", uki.build().expect_err("refused"));
        let whole = unified(&stub, &kernel).build().expect("built");
        assert!(error(unified(&whole, &kernel)).ends_with("it has a section `.osrel` already: it is no stub, but a whole image"));
        let longer = [&stub[..], &[1]].concat();
        assert!(error(unified(&longer, &kernel)).ends_with("it has data besides its headers, sections and symbols; is it signed?"));
        let mut symbols = longer.clone();
        symbols[0x4c..0x50].copy_from_slice(&u32::try_from(stub.len()).expect("small").to_le_bytes());
        assert!(unified(&symbols, &kernel).build().expect("built") == whole, "symbols stay away");
        let mut full = stub.clone();
        full[0x58 + 60..0x58 + 64].copy_from_slice(&0x200_u32.to_le_bytes());
        full[0x148 + 20..0x148 + 24].copy_from_slice(&0x200_u32.to_le_bytes());
        full.drain(0x200..0x400);
        assert!(error(unified(&full, &kernel)).ends_with("its headers have no room for 4 more sections"));
        assert!(error(unified(&stub, b"gzip")).starts_with("the kernel: no EFI program"));
        let lines = UnifiedKernel { command_line: "a\nb", ..unified(&stub, &kernel) };
        assert_eq!(error(lines), "the kernel's command line has '\\n', and may have printable ASCII only");
    }
}
