//! What the PCRs of a boot will be: the rules of EDK2's firmware for QEMU, of our GRUB, of systemd's stub and of the kernel's start for EFI, put together.
//! A PCR into which something goes that no file says has no value here, but the reason.

use crate::{
    event::ExpectedEvent,
    firmware::{self, FirmwareVolume},
    grub::{self, GrubDisk, GrubStart, Loaded, Written},
    kind::PLATFORM_FIRMWARE_BLOB,
    replay::{PcrValue, extended},
    secure_boot::{self, Verdict},
    stub,
};
use anyhow::{Context as _, Result, bail};
use secureboot::{store::StoredVariable, uki::section};

/// The partition that the firmware starts from, and the program there.
const ESP: u32 = 1;
const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";
/// The block in which GRUB keeps the state of the slots, on the ESP.
const STATE: &str = "EFI/BOOT/grubenv";
/// Programs that may start each other.
const MOST_PROGRAMS: usize = 4;
/// A condition of what the firmware measures of the disk.
const FIRST_DISK: &str = "if the firmware tries no other device before this disk";

/// What is known of a boot before it.
pub struct BootFacts<'a> {
    /// The disk that the firmware boots.
    pub disk: &'a dyn GrubDisk,
    /// GRUB's name of the disk, such as `hd0`.
    pub grub_disk: &'a str,
    /// The event of the disk's partition table, or why nobody knows it.
    pub table: std::result::Result<ExpectedEvent, String>,
    /// The list of CONFIG's files that `pkg/measure-config` makes, or why nobody knows it.
    pub config: std::result::Result<String, String>,
    /// The firmware's code.
    pub firmware: Option<&'a [u8]>,
    /// The firmware's variables, if they are known.
    pub variables: Option<&'a [StoredVariable]>,
    /// Another state of the slots than the disk has.
    pub state: Option<Vec<u8>>,
}

/// What is known of a PCR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrForecast {
    /// The PCR.
    pub pcr: u32,
    /// Its value after the boot, if it is known.
    pub value: Option<PcrValue>,
    /// The events behind the value; without a value, those that are known all the same, in their order.
    pub events: Vec<ExpectedEvent>,
    /// Whether the events are in the firmware's log. A running system extends PCRs without it.
    pub logged: bool,
    /// Why there is no value, or on what the value depends besides the files; may be empty.
    pub remark: String,
}

impl PcrForecast {
    fn known(pcr: u32, events: Vec<ExpectedEvent>, remark: impl Into<String>) -> Self {
        let value = extended(events.iter().map(|event| event.digest));
        Self { pcr, value: Some(value), events, logged: true, remark: remark.into() }
    }

    fn unknown(pcr: u32, why: impl Into<String>) -> Self {
        Self { pcr, value: None, events: Vec::new(), logged: true, remark: why.into() }
    }
}

/// The volumes of the firmware, or why nobody knows them.
type Volumes = std::result::Result<Vec<FirmwareVolume>, String>;

/// What the PCRs 0 to 9 and 11 to 14 will be.
pub fn forecast(facts: &BootFacts<'_>) -> Vec<PcrForecast> {
    let volumes = match facts.firmware.map(firmware::volumes) {
        Some(volumes) => volumes.map_err(|error| format!("{error:#}")),
        None => Err("the firmware measures its own code: --firmware FILE names it".to_owned()),
    };
    let chain = chain(facts, &volumes);
    let off = if facts.variables.is_none() { "if Secure Boot is off (--vars FILE tells)" } else { "" };
    let of_chain = |pcr: u32, remark: &str| match &chain {
        Ok(chain) => {
            let remark = [off, remark].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
            PcrForecast::known(pcr, chain.iter().filter(|event| event.pcr == pcr).cloned().collect(), remark)
        }
        Err(error) => PcrForecast::unknown(pcr, format!("{error:#}")),
    };
    let separator = |pcr: u32, remark: &str| PcrForecast::known(pcr, vec![ExpectedEvent::separator(pcr)], remark);
    let mut all = vec![
        code(&volumes),
        PcrForecast::unknown(1, "the firmware measures what the machine is: tables of QEMU and SMBIOS, and the order of its boot devices"),
        separator(2, "if no card brings a driver of its own (an option ROM)"),
        separator(3, "if no card or driver has a configuration that is measured"),
        boot_programs(of_chain(4, FIRST_DISK)),
        partition_table(facts, &chain),
        separator(6, "if the machine's maker measures nothing of its own"),
        secure_boot_policy(facts, &volumes, &chain),
    ];
    let slots = if facts.state.is_some() { "the slots are in this state" } else { "the state of the slots is that of the disk" };
    all.push(of_chain(8, &format!("if GRUB calls the disk so, nobody picks an entry of its menu, and {slots}")));
    all.push(of_chain(9, ""));
    all.push(of_chain(11, ""));
    all.push(of_chain(12, ""));
    all.push(of_chain(13, "nothing of this image extends it"));
    all.push(config(&facts.config));
    all
}

/// PCR 0: the firmware. The modules of its first volume run before it is measured, and write to it in memory, so there is no value.
fn code(volumes: &Volumes) -> PcrForecast {
    let volumes = match volumes {
        Ok(volumes) => volumes,
        Err(why) => return PcrForecast::unknown(0, why),
    };
    let mut events = Vec::new();
    for volume in volumes.iter().filter(|volume| volume.is_measured_as_in_the_file) {
        events.push(ExpectedEvent::of(0, PLATFORM_FIRMWARE_BLOB, &volume.bytes, volume.name));
    }
    events.push(ExpectedEvent::separator(0));
    let why = "OVMF measures its first volume (PEIFV) after modules in it have run and written to it; of PCR 0 only some events are known";
    PcrForecast { events, ..PcrForecast::unknown(0, why) }
}

/// PCR 4: the firmware says that it starts something, and then what.
fn boot_programs(mut programs: PcrForecast) -> PcrForecast {
    if programs.value.is_some() {
        let mut events = vec![ExpectedEvent::action(4, "Calling EFI Application from Boot Option"), ExpectedEvent::separator(4)];
        events.append(&mut programs.events);
        return PcrForecast::known(4, events, programs.remark);
    }
    programs
}

/// PCR 5: the partition table, and the end of the firmware's services. Without a kernel at the end of the chain nobody knows whether that is measured.
fn partition_table(facts: &BootFacts<'_>, chain: &Result<Vec<ExpectedEvent>>) -> PcrForecast {
    let table = match &facts.table {
        Ok(table) => table.clone(),
        Err(why) => return PcrForecast::unknown(5, why),
    };
    let mut events = vec![ExpectedEvent::separator(5), table];
    if let Err(error) = chain {
        return PcrForecast { events, ..PcrForecast::unknown(5, format!("{error:#}")) };
    }
    events.extend(["Exit Boot Services Invocation", "Exit Boot Services Returned with Success"].map(|name| ExpectedEvent::action(5, name)));
    PcrForecast::known(5, events, format!("as the disk is now: the first start of a live image makes more partitions; {FIRST_DISK}"))
}

/// PCR 7: Secure Boot.
fn secure_boot_policy(facts: &BootFacts<'_>, volumes: &Volumes, chain: &Result<Vec<ExpectedEvent>>) -> PcrForecast {
    let Some(variables) = facts.variables else {
        return PcrForecast::unknown(7, "the firmware measures its keys: --vars FILE names the file with its variables");
    };
    let condition = match volumes {
        Ok(volumes) if secure_boot::is_known_to(volumes) => "",
        Ok(_) => return PcrForecast::unknown(7, "the firmware has no Secure Boot, and what it measures of the keys is not known here"),
        Err(_) => "if the firmware has Secure Boot, be it on or off: without, it has no variable SecureBoot",
    };
    let mut events = secure_boot::policy(variables);
    match chain {
        Ok(chain) => events.extend(chain.iter().filter(|event| event.pcr == 7).cloned()),
        Err(error) => return PcrForecast::unknown(7, format!("{error:#}")),
    }
    PcrForecast::known(7, events, condition)
}

/// PCR 14, which `pkg/measure-config` extends in the running system.
fn config(list: &std::result::Result<String, String>) -> PcrForecast {
    let list = match list {
        Ok(list) => list,
        Err(why) => return PcrForecast { logged: false, ..PcrForecast::unknown(14, why) },
    };
    let digest = ExpectedEvent::loader(14, list.as_bytes(), "").digest;
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("config sha256:{digest}\n");
    let event = ExpectedEvent::loader(14, line.as_bytes(), format!("config sha256:{digest}, {} files", list.lines().count()));
    PcrForecast { logged: false, ..PcrForecast::known(14, vec![event], "if the system runs pkg/measure-config, which keeps no log") }
}

/// The events of the programs that start each other, from the firmware's boot loader to the kernel.
fn chain(facts: &BootFacts<'_>, volumes: &Volumes) -> Result<Vec<ExpectedEvent>> {
    let secure_boot = facts.variables.is_some_and(secure_boot::is_on);
    if secure_boot && volumes.as_ref().is_ok_and(|volumes| !secure_boot::is_known_to(volumes)) {
        bail!("the variables switch Secure Boot on, and the firmware has none");
    }
    let mut events = Vec::new();
    let mut written: Written = facts.state.iter().map(|block| ((ESP, STATE.to_owned()), block.clone())).collect();
    let (mut partition, mut path) = (ESP, LOADER.to_owned());
    let mut program =
        facts.disk.read(ESP, LOADER)?.with_context(|| format!("the disk has no /{LOADER} on its ESP: only amd64 is known"))?;
    for _ in 0..MOST_PROGRAMS {
        let shown = format!("/{path} of partition {partition}");
        if secure_boot {
            let verdict = secure_boot::verdict(facts.variables.unwrap_or_default(), &program);
            match verdict.with_context(|| format!("Secure Boot is on, and whether the firmware starts {shown} is not known here"))? {
                Verdict::Refused(why) => bail!("Secure Boot is on, and the firmware would not start {shown}: {why}"),
                Verdict::Allowed(authority) if events.contains(&authority) => {}
                Verdict::Allowed(authority) => events.push(authority),
            }
        }
        events.push(ExpectedEvent::application(&program, &shown).context(shown.clone())?);
        if section(&program, ".linux")?.is_some() {
            events.extend(stub::events(&program, secure_boot).context(shown)?);
            return Ok(events);
        }
        let configuration = grub::embedded_configuration(&program).with_context(|| shown.clone())?;
        let start = GrubStart { disk: facts.grub_disk.to_owned(), partition, secure_boot };
        let run = grub::run(facts.disk, &start, &configuration, written).with_context(|| shown.clone())?;
        events.extend(run.events);
        written = run.written;
        match run.loaded {
            None => bail!("{shown} starts nothing"),
            Some(Loaded::Linux { .. }) => return Ok(events),
            Some(Loaded::Program { partition: next, path: named, bytes }) => (partition, path, program) = (next, named, bytes),
        }
    }
    bail!("more than {MOST_PROGRAMS} programs start each other")
}
