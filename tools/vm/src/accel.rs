//! Finds the acceleration (KVM or HVF) for a guest. Runs a tiny guest as a probe: an existing /dev/kvm may still fail at the first
//! instruction that it must emulate.

use anyhow::{Context as _, Result};
use child::{Tools, qemu};
use common::{Arch, words};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

words! {
    /// What executes the guest's instructions, by QEMU's name.
    Accel {
        /// QEMU's translation: slow, but works everywhere.
        Tcg = "tcg",
        /// Linux' KVM.
        Kvm = "kvm",
        /// macOS' Hypervisor.framework.
        Hvf = "hvf",
    }
}

impl Accel {
    /// The default processor model. Under TCG `max` crashes Xen's dom0.
    #[must_use]
    pub const fn usual_cpu(self, arch: Arch) -> &'static str {
        match (self, arch) {
            (Self::Kvm, Arch::Amd64) => "host,invtsc=on,kvmclock=off",
            (Self::Hvf, Arch::Amd64) => "kvm64,kvmclock=off",
            (Self::Kvm | Self::Hvf, _) => "host",
            (Self::Tcg, Arch::Amd64) => "qemu64",
            (Self::Tcg, Arch::Arm64) => "cortex-a57",
            (Self::Tcg, Arch::Riscv64) => "rv64",
        }
    }

    /// The default number of processors: that of the original Makefile, but one under TCG, where more are slower.
    #[must_use]
    pub const fn usual_cpus(self) -> u32 {
        match self {
            Self::Tcg => 1,
            Self::Kvm | Self::Hvf => 4,
        }
    }

    /// The acceleration that the operating system offers for a guest of this architecture, or why it offers none.
    fn offered(arch: Arch) -> Result<Self, String> {
        let host = Arch::host().map_err(|error| error.to_string())?;
        if host != arch {
            return Err(format!("this machine is {host}"));
        }
        if cfg!(target_os = "macos") {
            return Ok(Self::Hvf);
        }
        match fs::File::options().read(true).write(true).open("/dev/kvm") {
            Ok(_) => Ok(Self::Kvm),
            Err(error) => Err(format!("/dev/kvm: {error}{}", open_advice(error.kind(), Path::new("/dev/kvm"), Path::new("/etc/group")))),
        }
    }
}

/// What a person can do about a /dev/kvm that does not open; empty if nobody knows. `groups` is the file with the names of groups.
fn open_advice(kind: io::ErrorKind, device: &Path, groups: &Path) -> String {
    match kind {
        io::ErrorKind::PermissionDenied => {
            let Ok(metadata) = fs::metadata(device) else { return String::new() };
            let group = fs::read_to_string(groups).unwrap_or_default().lines().find_map(|line| {
                let mut parts = line.split(':');
                let name = parts.next()?;
                (parts.nth(1)? == metadata.gid().to_string()).then(|| name.to_owned())
            });
            match group.filter(|_| metadata.mode() & 0o060 == 0o060) {
                Some(group) => format!("; its group may use it: sudo usermod --append --groups {group} $USER, then log in again"),
                None => format!("; only its owner may use it: sudo chmod a+rw {}, until the next boot", device.display()),
            }
        }
        io::ErrorKind::NotFound => {
            "; the firmware has virtualization switched off, or its module is not loaded: sudo modprobe kvm_intel (or kvm_amd)".to_owned()
        }
        _ => String::new(),
    }
}

/// The expected acceleration for guests of `arch`, without a probe: the operating system's if `arch` is this machine's. For TCG also the
/// reason; `off` chooses TCG without a reason.
#[must_use]
pub fn guess(arch: Arch, off: bool) -> (Accel, Option<String>) {
    match Arch::host() {
        _ if off => (Accel::Tcg, None),
        Ok(host) if host == arch && arch == Arch::Riscv64 => (Accel::Tcg, None),
        Ok(host) if host == arch => (if cfg!(target_os = "macos") { Accel::Hvf } else { Accel::Kvm }, None),
        Ok(host) => (Accel::Tcg, Some(format!("this machine is {host}"))),
        Err(error) => (Accel::Tcg, Some(error.to_string())),
    }
}

/// The longest run of the probe.
const PATIENCE: Duration = Duration::from_secs(3);

/// The acceleration for guests of `arch`, for TCG also why nothing faster works. Probes only once per process.
pub fn choose(tools: &Tools, arch: Arch) -> Result<(Accel, Option<String>)> {
    static KNOWN: Mutex<BTreeMap<Arch, (Accel, Option<String>)>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(choice) = known.get(&arch) {
        return Ok(choice.clone());
    }
    let choice = match Accel::offered(arch) {
        Err(why) => (Accel::Tcg, Some(why)),
        Ok(accel) => match probe(tools, arch, accel)? {
            Ok(()) => (accel, None),
            Err(why) => (Accel::Tcg, Some(format!("{} does not work on this machine: {why}", accel.as_str()))),
        },
    };
    known.insert(arch, choice.clone());
    Ok(choice)
}

/// The value of `-machine`. The probe must use that of the machine.
#[must_use]
pub fn machine_type(arch: Arch, accel: Accel) -> String {
    let (machine, more) = match (arch, accel) {
        // The IOMMU's interrupt remapping needs the split interrupt chip.
        (Arch::Amd64, Accel::Kvm) => ("q35", ",dump-guest-core=off,kernel-irqchip=split"),
        (Arch::Amd64, _) => ("q35", ""),
        // A guest at EL2 can run a hypervisor; KVM and HVF do not offer EL2.
        (Arch::Arm64, Accel::Tcg) => ("virt", ",virtualization=true"),
        (Arch::Arm64, Accel::Kvm) => ("virt", ",dump-guest-core=off"),
        (Arch::Arm64 | Arch::Riscv64, _) => ("virt", ""),
    };
    format!("{machine},accel={},usb=off{more}", accel.as_str())
}

/// Runs the tiny guest. The inner error is why the acceleration failed, the outer one is about QEMU itself.
pub fn probe(tools: &Tools, arch: Arch, accel: Accel) -> Result<Result<(), String>> {
    let dir = tempfile::tempdir().context("cannot make a folder for the probe of the acceleration")?;
    let rom = dir.path().join("probe.rom");
    fs::write(&rom, guest(arch)).context("cannot write the probe of the acceleration")?;
    let machine = machine_type(arch, accel);
    let cmd = qemu::command(tools, arch)?
        .args(["-no-user-config", "-nodefaults", "-display", "none", "-m", "16", "-machine", &machine, "-cpu", accel.usual_cpu(arch)])
        .arg("-bios")
        .arg(&rom)
        .timeout(PATIENCE);
    let cmd = if arch == Arch::Amd64 { cmd.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]) } else { cmd };
    Ok(qemu::probe_outcome(cmd, if arch == Arch::Amd64 { DONE } else { 0 }))
}

/// QEMU's status after the guest wrote 0x10 to the debug port: twice that and one.
const DONE: i32 = 0x10 << 1 | 1;

/// A ROM whose first instructions signal that they were executed.
fn guest(arch: Arch) -> Vec<u8> {
    match arch {
        Arch::Arm64 => {
            // mov w0, #0x8; movk w0, #0x8400, lsl #16; hvc #0 (PSCI: SYSTEM_OFF); b .
            [0x5280_0100_u32, 0x72b0_8000, 0xd400_0002, 0x1400_0000].iter().flat_map(|word| word.to_le_bytes()).collect()
        }
        _ => {
            // At the reset vector: fwait; fninit; mov al, 0x10; out 0xf4, al; jmp $. Every firmware has floating point instructions,
            // and a hypervisor with incomplete real mode emulation fails on them.
            let mut rom = vec![0x90; 64 << 10];
            rom[0xfff0..0xfff9].copy_from_slice(&[0x9b, 0xdb, 0xe3, 0xb0, 0x10, 0xe6, 0xf4, 0xeb, 0xfe]);
            rom
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use child::{Tool, fake};

    #[test]
    fn what_to_do_is_said_where_kvm_does_not_open() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (device, groups) = (dir.path().join("kvm"), dir.path().join("group"));
        fs::write(&device, "").unwrap();
        let group = fs::metadata(&device).unwrap().gid();
        fs::write(&groups, format!("other:x:{}:\nmachines:x:{group}:me\n", group + 1)).unwrap();
        let advice = |mode| {
            fs::set_permissions(&device, fs::Permissions::from_mode(mode)).unwrap();
            open_advice(io::ErrorKind::PermissionDenied, &device, &groups)
        };
        assert_eq!(advice(0o660), "; its group may use it: sudo usermod --append --groups machines $USER, then log in again");
        let all = format!("; only its owner may use it: sudo chmod a+rw {}, until the next boot", device.display());
        assert_eq!(advice(0o600), all);
        fs::remove_file(&groups).unwrap();
        assert_eq!(advice(0o660), all, "a group without a name");
        let missing = open_advice(io::ErrorKind::NotFound, &device, &groups);
        assert!(missing.ends_with("its module is not loaded: sudo modprobe kvm_intel (or kvm_amd)"), "{missing}");
        assert_eq!(open_advice(io::ErrorKind::Other, &device, &groups), "");
    }

    #[test]
    fn the_probe_tells_a_guest_that_ran_from_one_that_did_not() {
        let dir = tempfile::tempdir().unwrap();
        for (script, works) in [
            ("exit 33", Ok(())),
            ("echo 'qemu: warning: slow'; echo 'failed to set MSR 0x10a'; kill -ABRT $$", Err("failed to set MSR 0x10a")),
            ("exit 0", Err("exit status 0")),
            ("echo 'KVM internal error. Suberror: 1'; sleep 60", Err("KVM internal error. Suberror: 1")),
        ] {
            fake::tool(dir.path(), Tool::QemuAmd64, script);
            let outcome = probe(&fake::tools(dir.path()), Arch::Amd64, Accel::Kvm).unwrap();
            assert_eq!(outcome, works.map_err(ToOwned::to_owned), "{script}");
        }
    }

    #[test]
    fn the_tiny_guests_run_under_translation() {
        let tools = Tools::only_in("/usr/bin:/usr/local/bin:/opt/homebrew/bin");
        if tools.find(Tool::QemuAmd64).is_ok() {
            assert_eq!(probe(&tools, Arch::Amd64, Accel::Tcg).unwrap(), Ok(()));
        } else {
            skips::missing("qemu-system-x86_64", "qemu-system-x86");
        }
        if tools.find(Tool::QemuArm64).is_ok() {
            // Without `probe`'s machine: under TCG that has EL2, where `hvc` does not call PSCI.
            let dir = tempfile::tempdir().unwrap();
            let rom = dir.path().join("probe.rom");
            fs::write(&rom, guest(Arch::Arm64)).unwrap();
            let words = ["-nodefaults", "-display", "none", "-m", "16", "-machine", "virt,accel=tcg", "-cpu", "cortex-a57", "-bios"];
            let cmd = qemu::command(&tools, Arch::Arm64).unwrap().args(words).arg(&rom).timeout(Duration::from_secs(60));
            assert_eq!(qemu::probe_outcome(cmd, 0), Ok(()));
        } else {
            skips::missing("qemu-system-aarch64", "qemu-system-arm");
        }
    }
}
