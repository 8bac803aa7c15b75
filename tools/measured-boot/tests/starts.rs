//! Our own configuration of GRUB under Secure Boot: what it starts by the state of the slots, and the state that it leaves.
#![allow(clippy::unwrap_used, missing_docs)]

use measured_boot::grub::{GrubDisk, GrubStart, Loaded, Written, run};

const STATE: &str = "EFI/BOOT/grubenv";

/// A disk with this state of the slots, and systems in some.
struct Disk {
    state: String,
    systems: &'static [u32],
}

impl GrubDisk for Disk {
    fn read(&self, partition: u32, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(match (partition, path) {
            (1, STATE) if !self.state.is_empty() => Some(self.state.clone().into_bytes()),
            (slot, "boot/kernel" | "EFI/Linux/eve.efi") if self.systems.contains(&slot) => Some(path.into()),
            _ => None,
        })
    }

    fn partition_guid(&self, _: u32) -> Option<String> {
        None
    }

    fn file_system(&self, _: u32) -> anyhow::Result<Option<&'static str>> {
        Ok(None)
    }
}

/// A block of environment: the order, OK and TRY of both slots, and the other lines.
fn state(order: &str, [a_ok, a_try, b_ok, b_try]: [u8; 4], rest: &str) -> String {
    let lines = format!("ORDER={order}\nA_OK={a_ok}\nA_TRY={a_try}\nB_OK={b_ok}\nB_TRY={b_try}\n{rest}");
    format!("{:#<1024}", format!("# GRUB Environment Block\n{lines}"))
}

/// The partition from which such a machine starts, and the state afterwards.
fn start(state: &str, systems: &'static [u32]) -> (u32, String) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pkg/grub/embedded.cfg");
    let configuration = std::fs::read_to_string(path).unwrap();
    let grub = GrubStart { disk: "hd0".to_owned(), partition: 1, secure_boot: true };
    let mut done = run(&Disk { state: state.to_owned(), systems }, &grub, &configuration, Written::new()).unwrap();
    let Some(Loaded::Program { partition, path, .. }) = done.loaded else { unreachable!("{state}: {:?}", done.loaded) };
    assert_eq!(path, "EFI/Linux/eve.efi");
    let written = done.written.remove(&(1, STATE.to_owned()));
    (partition, written.map_or(state.to_owned(), |bytes| String::from_utf8(bytes).unwrap()))
}

const A: u32 = 2;
const B: u32 = 3;
const BOTH: &[u32] = &[A, B];

#[test]
fn starts_of_the_first_slot_that_is_well_are_counted() {
    let new = |rest: &str| state("A", [1, 0, 0, 0], rest);
    // Not on a machine with one system, whatever the block says.
    for rest in ["", "STARTS=5\n"] {
        assert_eq!(start(&new(rest), &[A]), (A, new(rest)), "{rest}");
    }
    for (before, after) in [("", 1), ("STARTS=0\n", 1), ("STARTS=1\n", 2), ("STARTS=3\n", 4), ("STARTS=4\n", 5), ("STARTS=x\n", 1)] {
        assert_eq!(start(&new(before), BOTH), (A, new(&format!("STARTS={after}\n"))), "{before}");
    }
    // A slot on trial has tries of its own.
    let trial = |tries| state("B A", [1, 0, 0, tries], "STARTS=5\n");
    assert_eq!(start(&trial(2), BOTH), (B, trial(1)));
}

#[test]
fn after_five_starts_the_other_slot_is_on_trial_once() {
    for (order, slots) in [("A", [1, 0, 0, 0]), ("A B", [1, 0, 1, 0]), ("A B", [1, 0, 0, 2])] {
        let (taken, mut now) = start(&state(order, slots, "STARTS=5\n"), BOTH);
        // Only `zboot good` there makes it one that is well; A stays one.
        assert_eq!((taken, now.as_str()), (B, state("B A", [1, 0, 0, 0], "STARTS=0\n").as_str()), "{order} {slots:?}");
        // B did not become ready: A has its turn, and B has none, however often A does not come up.
        for count in [1, 2, 3, 4, 5, 5, 5] {
            let (taken, next) = start(&now, BOTH);
            assert_eq!((taken, next.as_str()), (A, state("B A", [1, 0, 0, 0], &format!("STARTS={count}\n")).as_str()));
            now = next;
        }
    }
    // The same from B, and with a slot that failed its trial after an update.
    assert_eq!(start(&state("B", [0, 0, 1, 0], "STARTS=5\n"), BOTH), (A, state("A B", [0, 0, 1, 0], "STARTS=0\n")));
    let failed = state("A B", [0, 0, 1, 0], "STARTS=5\n");
    assert_eq!(start(&failed, BOTH), (B, failed));
}

#[test]
fn without_a_whole_state_nothing_is_written() {
    let wrong = state("A", [1, 7, 0, 0], "STARTS=5\n");
    for damaged in ["", "# GRUB Environment Block\nORDER=A\n", &wrong] {
        assert_eq!(start(damaged, BOTH), (A, damaged.to_owned()), "{damaged}");
    }
}
