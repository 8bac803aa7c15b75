//! What a measured boot reads: the event log of a TPM, and configurations of GRUB.

use anyhow::Result;
use measured_boot::{
    EventLog,
    firmware::volumes,
    grub::{GrubDisk, GrubStart, Written, run},
    kind::describe,
    replay::{PCRS, replay},
};
use secureboot::store::variables;

pub const LOG_WORDS: &[&str] = &["Spec ID Event03\0", "\u{b}\0\u{20}\0", "StartupLocality\0", "\u{4}\0\0\0", "\u{3}\0\0\0"];

/// An event log: each PCR has a value or none, and each event a line.
pub fn event_log(input: &[u8]) -> Result<()> {
    let log = EventLog::parse(input)?;
    for pcr in 0..PCRS {
        std::hint::black_box(replay(&log, pcr));
    }
    for event in &log.events {
        let line = describe(event.kind, &event.data);
        assert!(!line.contains('\n') && line.len() < 2000, "no line: {line}");
    }
    Ok(())
}

/// The code of a firmware for QEMU: its volumes are not larger than they say.
pub fn firmware(input: &[u8]) -> Result<()> {
    for volume in volumes(input)? {
        assert!(!volume.bytes.is_empty(), "an empty volume");
    }
    Ok(())
}

pub const VARIABLE_WORDS: &[&str] = &["P\0K\0\0\0", "d\0b\0\0\0"];

/// The variables of a firmware, in its flash memory.
pub fn firmware_variables(input: &[u8]) -> Result<()> {
    for variable in variables(input)? {
        assert!(variable.data.len() <= input.len(), "more than there is");
    }
    Ok(())
}

pub const GRUB_SCRIPTS: &[&str] = &[
    include_str!("../../../../pkg/grub/embedded.cfg"),
    include_str!("../../../../pkg/grub/rootfs.cfg"),
    "while [ \"$a\" != xxx ]; do\n    set a=\"${a}x\"\ndone\nmenuentry 'a' --id b {\n    linuxefi /k \"c d\" e\\'f\n    initrdefi /i\n}\n",
];

pub const GRUB_SCRIPT_WORDS: &[&str] = &[
    "if ",
    "; then\n",
    "elif ",
    "else\n",
    "fi\n",
    "for x in ",
    "; do\n",
    "done\n",
    "while ",
    "function f {",
    "}\n",
    "menuentry ",
    "configfile ",
    "source ",
    "set x=",
    "export x\n",
    "return 1\n",
    "$x",
    "${x}",
    "\"$1\"",
    "[ -f ",
    " ]\n",
    " -a ",
    " -o ",
    "! ",
    "regexp --set=1:x ",
    "'^(a*)*$' ",
    "chainloader ",
    "boot\n",
    "(hd0,gpt1)",
    "save_env --file ",
];

/// A disk with one file in each partition: the input.
struct OneFile<'i>(&'i [u8]);

impl GrubDisk for OneFile<'_> {
    fn read(&self, _: u32, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(path.ends_with('f').then(|| self.0.to_vec()))
    }

    fn has(&self, _: u32, path: &str) -> Result<bool> {
        Ok(path.ends_with('f'))
    }

    fn partition_guid(&self, partition: u32) -> Option<String> {
        (partition < 5).then(|| format!("ad6871ee-31f9-4cf3-9e09-6f7a25c3005{partition}"))
    }

    fn file_system(&self, _: u32) -> Result<Option<&'static str>> {
        Ok(Some("squash4"))
    }
}

/// A configuration of GRUB, which reads itself.
pub fn grub_script(input: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(input)?;
    let start = GrubStart { disk: "hd0".to_owned(), partition: 1, secure_boot: false };
    run(&OneFile(input), &start, text, Written::new()).map(drop)
}
