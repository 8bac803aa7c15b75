//! `pcrs [IMAGE]`: which values the PCRs of a TPM will have after a boot of a disk, from the files alone, and the events behind them; a policy for
//! verifiers; and with `--log` where the event log of a machine begins to differ from that.

mod disk;
mod log;
mod policy;
mod starts;

use super::machines::{newest_live, secure_boot_firmware};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{artifact::write_named, digest::hex, eprintln, error::usage};
use disk::ImageDisk;
use measured_boot::{BootFacts, PcrForecast, forecast, kind::printable};
use secureboot::store::{StoredVariable, variables};
use starts::{Start, State};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The disk, the firmware, and what is asked.
#[derive(clap::Args)]
pub struct Pcrs {
    /// the disk that will boot [default: the newest live image]
    #[arg(value_name = "IMAGE")]
    image: Option<PathBuf>,
    /// the code of the firmware (OVMF) [default: that of the last build, which `run` takes]
    #[arg(long, value_name = "FILE")]
    firmware: Option<PathBuf>,
    /// the variables of the firmware [default: those of the last build]
    #[arg(long, value_name = "FILE")]
    vars: Option<PathBuf>,
    /// the firmware of `run --secure-boot`: OVMF's secure variant with the keys of SIGN_KEYS
    #[arg(long, conflicts_with_all = ["firmware", "vars"])]
    secure_boot: bool,
    /// a rootfs.img as in the slot that is not in use: its first start, on trial
    #[arg(long, value_name = "FILE")]
    update: Option<PathBuf>,
    /// GRUB's name of the disk; another one than hd0 where the firmware finds other disks first
    #[arg(long, value_name = "NAME", default_value = "hd0")]
    grub_disk: String,
    /// print the events behind each value
    #[arg(long)]
    events: bool,
    /// write a policy to FILE: the values that a verifier may accept, for each start
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// compare with this event log (/sys/kernel/security/tpm0/binary_bios_measurements), event by event
    #[arg(long, value_name = "FILE", conflicts_with_all = ["policy", "events"])]
    log: Option<PathBuf>,
    /// with --log: the machine's values, as `grep . /sys/class/tpm/tpm0/pcr-sha256/*` prints them
    #[arg(long, value_name = "FILE", requires = "log")]
    values: Option<PathBuf>,
    /// print the result as JSON
    #[arg(long)]
    json: bool,
}

/// The files of the firmware, as far as they are known.
struct FirmwareFiles {
    code: Option<Vec<u8>>,
    variables: Option<Vec<StoredVariable>>,
}

/// `pcrs`.
pub fn run(ctx: &Ctx, args: Pcrs) -> Result<()> {
    let newest = if args.image.is_none() || args.firmware.is_none() { newest_live(ctx) } else { Err(usage("not asked")) };
    let (image, folder) = match (&args.image, newest) {
        (Some(image), newest) => (image.clone(), newest.ok().map(|(_, folder)| folder)),
        (None, newest) => newest.map(|(image, folder)| (image, Some(folder)))?,
    };
    let firmware = firmware(ctx, &args, folder.as_deref())?;
    let mut disk = ImageDisk::open(&image)?;
    let update = args.update.as_deref().map(|update| disk.put_into_free_slot(update)).transpose()?;
    let trial = update.map(|slot| Start { slot, state: State::Trial(starts::TRIES) });
    let first = of_start(&args, &disk, &firmware, trial.as_ref())?;
    if let Some(file) = &args.log {
        let machine = log::Machine::read(file, args.values.as_deref())?;
        return compare(&args, &disk, &firmware, &machine, first);
    }
    if let Some(out) = &args.policy {
        let mut all = Vec::new();
        for start in starts::all(&disk)? {
            all.push((of_start(&args, &disk, &firmware, Some(&start))?, start));
        }
        let now = of_start(&args, &disk, &firmware, None)?;
        let text = policy::document(&image, &now, &all)?;
        write_named(out, text.as_bytes())?;
        eprintln!("made: {}", out.display());
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&policy::values(&first))?);
    } else {
        print(&first, args.events);
    }
    Ok(())
}

/// Compares a machine with the start `first`, or with the first start in another state of the slots that fits.
fn compare(args: &Pcrs, disk: &ImageDisk, firmware: &FirmwareFiles, machine: &log::Machine, first: Vec<PcrForecast>) -> Result<()> {
    // The state of the slots is measured in PCR 8.
    if machine.differs_in(&first, 8) {
        for start in starts::all(disk)? {
            let expected = of_start(args, disk, firmware, Some(&start))?;
            if machine.fits(&expected) {
                eprintln!("note: it started slot {}, {}; the state of the slots on the disk is another one", start.slot, start.name());
                return machine.show(&expected, args.json);
            }
        }
    }
    machine.show(&first, args.json)
}

/// Reads the firmware's files.
fn firmware(ctx: &Ctx, args: &Pcrs, folder: Option<&Path>) -> Result<FirmwareFiles> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read `{}`", path.display()));
    if args.secure_boot {
        let (code, enrolled) = secure_boot_firmware(ctx)?;
        return Ok(FirmwareFiles { code: Some(read(code)?), variables: Some(variables(&enrolled)?) });
    }
    let usual = |name: &str| folder.map(|folder| folder.join(name)).filter(|file| file.is_file());
    // Code of one build and variables of another are no firmware.
    let code = args.firmware.clone().or_else(|| usual("OVMF_CODE.fd"));
    let vars = args.vars.clone().or_else(|| if args.firmware.is_none() { usual("OVMF_VARS.fd") } else { None });
    let variables = vars.map(|file| variables(&read(&file)?).with_context(|| format!("`{}`", file.display()))).transpose()?;
    Ok(FirmwareFiles { code: code.map(|file| read(&file)).transpose()?, variables })
}

/// What a start of the disk gives; as the disk is now, or in the state `start` of its slots.
fn of_start(args: &Pcrs, disk: &ImageDisk, firmware: &FirmwareFiles, start: Option<&Start>) -> Result<Vec<PcrForecast>> {
    let table = match start {
        None => disk.table().map_err(|error| format!("{error:#}")),
        Some(_) => Err("the partition table holds the state of the slots, and sizes that the first start chooses".to_owned()),
    };
    Ok(forecast(&BootFacts {
        disk,
        grub_disk: &args.grub_disk,
        table,
        config: disk.measured_config().map_err(|error| format!("{error:#}")),
        firmware: firmware.code.as_deref(),
        variables: firmware.variables.as_deref(),
        state: start.map(Start::block),
    }))
}

/// Prints a line for each PCR.
fn print(all: &[PcrForecast], events: bool) {
    for pcr in all {
        let value = pcr.value.map_or_else(|| "unknown".to_owned(), |value| hex(&value));
        println!("{:>2}  {value:<64}  {}", pcr.pcr, printable(&pcr.remark));
        for event in pcr.events.iter().filter(|_| events) {
            println!("      {}  {:<32} {}", hex(&event.digest[..8]), event.kind.to_string(), printable(&event.what));
        }
    }
}
