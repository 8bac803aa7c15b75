//! The program on a machine: from the settings to the line that says how it ended.

use crate::{
    Doing as _, NotInstalled,
    disks::{self, Disk},
    enrol::{Efivarfs, Enrolment},
    medium::{self, Inventory},
    random,
    report::{self, Log},
    settings::{InstallSettings, InstallWord},
    target::{self, Installation, Persist, Target},
    verify,
};
use anyhow::{Context as _, Result, bail};
use filetree::Tree;
use std::{fs, path::Path, time::SystemTime};

/// What the machine brings and what is wanted of it.
struct Machine<'r> {
    /// The root folder, `/`; tests have another.
    root: &'r Path,
    disks: Vec<Disk>,
    config: Tree,
    settings: InstallSettings,
    version: String,
    log: Log,
}

impl<'r> Machine<'r> {
    fn find(root: &'r Path) -> Result<Self, NotInstalled> {
        let disks = disks::survey(root).doing("disks")?;
        let config = medium::config(root, &disks).doing("config")?;
        let settings = settings(root, &config).doing("settings")?;
        let version = fs::read_to_string(root.join("etc/eve-release")).context("cannot read the version").doing("medium")?;
        Ok(Self { root, disks, config, settings, version: version.trim().to_owned(), log: Log::default() })
    }

    /// The machine's serial number: the one that was given, in the settings or in CONFIG, else the hardware's, else a random one; and whether
    /// CONFIG must tell it to the installed system.
    fn serial(&self) -> Result<(String, bool)> {
        if let Some(serial) = self.settings.value(InstallWord::SoftSerial) {
            return Ok((serial.to_owned(), true));
        }
        let known = medium::text(&self.config, "soft_serial")?;
        if !known.trim().is_empty() {
            return Ok((known.trim().to_owned(), false));
        }
        match report::hardware_serial(self.root) {
            Some(serial) => Ok((serial, false)),
            None => Ok((random::uuid()?, true)),
        }
    }

    /// Writes the report of the machine, if the medium has a partition for it; its folder.
    fn report(&self, serial: &str, facts: &Facts, more: &[(&str, String)]) -> Result<Option<String>> {
        let Some(inventory) = Inventory::mount(self.root, &self.disks)? else { return Ok(None) };
        let name = report::folder_name(serial);
        let mut files = vec![
            ("installer.log", self.log.text()),
            ("hardware.txt", facts.hardware.clone()),
            ("tpm.txt", facts.tpm.clone()),
            ("kernel.log", report::kernel_log()),
        ];
        files.extend_from_slice(more);
        let written = report::write(&inventory.folder().join(&name), &files);
        inventory.unmount()?;
        written.map(|()| Some(name))
    }

    fn open(&self, disk: &Disk) -> Result<Target> {
        let path = disk.device(self.root);
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Target::new(file, disk.sector).with_context(|| path.display().to_string())
    }
}

/// What a report says of the machine.
struct Facts {
    hardware: String,
    tpm: String,
}

fn settings(root: &Path, config: &Tree) -> Result<InstallSettings> {
    let cmdline = fs::read_to_string(root.join("proc/cmdline")).context("cannot read the kernel's command line")?;
    InstallSettings::read(&cmdline, &medium::text(config, "grub.cfg")?)
}

/// `settings`: the words that are in force on the machine below the root folder `root`, one a line.
pub fn show_settings(root: &Path) -> Result<String, NotInstalled> {
    Ok(Machine::find(root)?.settings.words().map(|word| word + "\n").collect())
}

/// `install`: does what the settings ask for, on the machine below the root folder `root`; the line for the console.
pub fn install(root: &Path) -> Result<String, NotInstalled> {
    let machine = Machine::find(root)?;
    let (serial, is_new) = machine.serial().doing("serial")?;
    for word in machine.settings.words() {
        machine.log.say(&word);
    }
    let enrolment = enrolment(&machine).doing("enroll");
    if machine.settings.is_on(InstallWord::NukeAllDisks) {
        enrolment?;
        return nuke_all(&machine).doing("nuke");
    }
    let what = match enrolment {
        Err(failure) => Err(failure),
        Ok(_) if machine.settings.is_on(InstallWord::Blackbox) => Ok("EVE-BLACKBOX".to_owned()),
        // The firmware gets keys when there is a system that it starts with them, and not before.
        Ok(enrolment) => install_on(&machine, &serial, is_new).and_then(|line| enrol(&machine, enrolment.as_ref(), line)),
    };
    if let Err(failure) = &what {
        machine.log.keep(&format!("EVE-FAILED install: {failure}"));
    }
    let checks = if machine.settings.is_on(InstallWord::Verify) { verify::check(root, &machine.disks) } else { Vec::new() };
    for line in &checks {
        machine.log.say(line);
    }
    let what = what.map(|line| match verify::failures(&checks) {
        _ if checks.is_empty() => line,
        0 => format!("{line} verification=ok"),
        count => format!("{line} verification={count}-failed"),
    });
    let facts = Facts { hardware: report::hardware(root, &machine.disks), tpm: report::tpm(root) };
    let more = if checks.is_empty() { Vec::new() } else { vec![("summary.log", summary(&facts, &what, &checks))] };
    match machine.report(&serial, &facts, &more) {
        Ok(Some(folder)) => what.map(|line| format!("{line} report={folder}")),
        Ok(None) => {
            for line in facts.hardware.lines().chain(facts.tpm.lines()) {
                machine.log.say(line);
            }
            what
        }
        // The report is all that was wanted.
        Err(error) if machine.settings.is_on(InstallWord::Blackbox) => Err(error).doing("report"),
        // The installation is what counts.
        Err(error) => {
            machine.log.say(&format!("warning: no report on the medium: {error:#}"));
            what
        }
    }
}

/// What the firmware is to take, if it is asked for: found out before anything is written.
fn enrolment(machine: &Machine<'_>) -> Result<Option<(Efivarfs, Enrolment)>> {
    use InstallWord::{Blackbox, EnrollKeys, NukeAllDisks, SkipRootfs};
    if !machine.settings.is_on(EnrollKeys) {
        return Ok(None);
    }
    if let Some(word) = [Blackbox, NukeAllDisks].into_iter().find(|word| machine.settings.is_on(*word)) {
        bail!("{} installs nothing that the keys are for: leave out one of the two words", word.name());
    }
    if machine.settings.is_on(SkipRootfs) {
        bail!("{} keeps a system that the keys may not have signed: leave out one of the two words", SkipRootfs.name());
    }
    let firmware = Efivarfs::open(machine.root)?;
    let enrolment = Enrolment::prepare(machine.root, &firmware)?;
    Ok(Some((firmware, enrolment)))
}

/// Enrols the keys if that is asked for; `line`, with what was done.
fn enrol(machine: &Machine<'_>, wanted: Option<&(Efivarfs, Enrolment)>, line: String) -> Result<String, NotInstalled> {
    let Some((firmware, enrolment)) = wanted else { return Ok(line) };
    if enrolment.is_done() {
        machine.log.say("the firmware has the keys of this medium already");
        return Ok(format!("{line} keys=present"));
    }
    machine.log.say("enrolling db, KEK and PK");
    enrolment.enrol(firmware).with_context(|| format!("{} is installed, but", machine.version)).doing("enroll")?;
    machine.log.say("the firmware has the keys, and checks what it starts from its next start on");
    Ok(format!("{line} keys=enrolled"))
}

/// What `extract-verification-info` shows.
fn summary(facts: &Facts, what: &Result<String, NotInstalled>, checks: &[String]) -> String {
    let first = match what {
        Ok(line) => line.clone(),
        Err(failure) => format!("EVE-FAILED install: {failure}"),
    };
    format!("{first}\n{}\n\n{}\n{}", checks.join("\n"), facts.hardware, facts.tpm)
}

fn install_on(machine: &Machine<'_>, serial: &str, is_new: bool) -> Result<String, NotInstalled> {
    let Machine { disks, settings, log, .. } = machine;
    // Nothing is written before all that can be known is known.
    let nuked = settings.value(InstallWord::NukeDisks).unwrap_or_default().split(',').filter(|name| !name.is_empty());
    let nuked: Vec<&Disk> = nuked.map(|name| disks::named(disks, name, 0)).collect::<Result<_>>().doing("nuke")?;
    let persist_name = settings.value(InstallWord::PersistDisk);
    let elsewhere = persist_name.is_some_and(|name| settings.value(InstallWord::InstallDisk) != Some(name));
    // The disk for P3 is not one to install on.
    let candidates: Vec<Disk> = disks.iter().filter(|disk| !elsewhere || Some(disk.name.as_str()) != persist_name).cloned().collect();
    let (disk, others) =
        disks::choose(&candidates, settings.value(InstallWord::InstallDisk), target::least_size(!elsewhere)).doing("disk")?;
    if !others.is_empty() {
        log.say(&format!("warning: {} could be used as well; eve_install_disk=NAME chooses", others.join(", ")));
    }
    log.say(&format!("installing {} on {}, {} MiB, machine {serial}", machine.version, disk.name, disk.size >> 20));
    let keep_persist = settings.is_on(InstallWord::SkipPersist);
    let persist = match (elsewhere, keep_persist) {
        (true, _) => Persist::Elsewhere,
        (false, true) => Persist::Keep,
        (false, false) => Persist::New,
    };
    let persist_disk = match (elsewhere, keep_persist, persist_name) {
        (true, false, Some(name)) => {
            Some(disks::named(disks, name, target::least_size(true) - target::least_size(false)).doing("persist")?)
        }
        _ => None,
    };
    if let (true, true, Some(name)) = (elsewhere, keep_persist, persist_name) {
        check_persist(machine, name, &nuked).doing("persist")?;
    }
    let twins = disks::with_eve(disks, disk);
    if !twins.is_empty() {
        log.say(&format!("{} with EVE: this one gets GUIDs of its own, by which its kernel finds its root", twins.join(", ")));
    }
    let job = Installation {
        rootfs: medium::rootfs(machine.root).doing("medium")?,
        config: config_for(machine, serial, is_new).doing("config")?,
        keep_rootfs: settings.is_on(InstallWord::SkipRootfs),
        keep_config: settings.is_on(InstallWord::SkipConfig),
        persist,
        random_guids: settings.is_on(InstallWord::RandomUuids) || !twins.is_empty(),
        now: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0)),
        say: &|line| log.say(line),
    };
    let target = machine.open(disk).doing("write")?;
    let prepared = target::prepare(&target, &job).doing("write")?;
    if prepared.keeps() && nuked.contains(&disk) {
        return Err(anyhow::anyhow!("eve_nuke_disks names {}, of which partitions are to be kept", disk.name)).doing("settings");
    }
    for disk in nuked {
        machine.open(disk).and_then(|target| target.nuke()).doing("nuke")?;
        log.say(&format!("removed the partition tables of {}", disk.name));
    }
    if let Some(disk) = persist_disk {
        log.say(&format!("writing P3 on {}", disk.name));
        machine.open(disk).and_then(|target| target::install_persist(&target, job.random_guids)).doing("persist")?;
    }
    target::install(&target, &job, prepared).doing("write")?;
    let persist = if elsewhere { format!(" persist={}", persist_name.unwrap_or_default()) } else { String::new() };
    log.say("installed and read back");
    Ok(format!("EVE-INSTALLED {} disk={}{persist}", machine.version, disk.name))
}

/// Fails unless the disk `name`, which is not installed on, has a P3 that stays.
fn check_persist(machine: &Machine<'_>, name: &str, nuked: &[&Disk]) -> Result<()> {
    let disk = disks::named(&machine.disks, name, 0)?;
    if !machine.open(disk)?.has_partition("P3")? {
        bail!("eve_install_skip_persist: {name} has no partition P3 to keep");
    }
    if nuked.contains(&disk) {
        bail!("eve_nuke_disks names {name}, of which P3 is to be kept");
    }
    Ok(())
}

/// The files of CONFIG on this machine.
fn config_for(machine: &Machine<'_>, serial: &str, is_new: bool) -> Result<Tree> {
    let mut config = machine.config.clone();
    let server = machine.settings.value(InstallWord::Server);
    if machine.settings.is_on(InstallWord::SkipConfig)
        && let Some(word) = [InstallWord::Server, InstallWord::SoftSerial].into_iter().find(|word| machine.settings.value(*word).is_some())
    {
        bail!("eve_install_skip_config keeps CONFIG, so `{}` cannot be written to it: leave out one of the two words", word.name());
    }
    for (name, text) in [("soft_serial", Some(serial).filter(|_| is_new)), ("server", server)] {
        if let Some(text) = text {
            medium::set_text(&mut config, name, text)?;
        }
    }
    Ok(config)
}

/// Removes the partition tables of all disks that may be written.
fn nuke_all(machine: &Machine<'_>) -> Result<String> {
    let mut nuked = Vec::new();
    for disk in machine.disks.iter().filter(|disk| disk.refusal(0).is_none()) {
        machine.open(disk)?.nuke().with_context(|| disk.name.clone())?;
        nuked.push(disk.name.clone());
    }
    Ok(format!("EVE-NUKED {}", if nuked.is_empty() { "no disk".to_owned() } else { nuked.join(",") }))
}

#[cfg(test)]
mod tests;
