//! The states that `zboot` and GRUB keep of the two slots (`pkg/grub/README.md`), as far as a start in one of them measures something of its own.

use super::disk::ImageDisk;
use anyhow::Result;
use measured_boot::{PcrForecast, grub::GrubDisk as _};

/// Tries of a slot after an update.
pub const TRIES: u8 = 3;
/// Bytes of GRUB's block of environment.
const BLOCK: usize = 1024;

/// A start of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The slot that is started: `A` or `B`.
    pub slot: char,
    /// Why it is.
    pub state: State,
}

/// The state of the slots before a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The slot is well, and the other one is not in use.
    Active,
    /// Both slots are well, and this one comes first.
    BothActive,
    /// The slot is well, and the other one has failed its trial.
    OtherFailed,
    /// The slot is on trial: so many tries are left, this one included.
    Trial(u8),
}

impl Start {
    /// What the state is called in a policy.
    pub fn name(&self) -> String {
        match self.state {
            State::Active => "active".to_owned(),
            State::BothActive => "active, the other slot too".to_owned(),
            State::OtherFailed => "active after a failed trial of the other slot".to_owned(),
            State::Trial(1) => "on trial, 1 try".to_owned(),
            State::Trial(tries) => format!("on trial, {tries} tries"),
        }
    }

    /// The block of environment, as `zboot` writes it.
    pub fn block(&self) -> Vec<u8> {
        let other = if self.slot == 'A' { 'B' } else { 'A' };
        // The slot that was updated last has the higher priority until it is well, and comes first.
        let (order, own, others) = match self.state {
            State::Active => (self.slot.to_string(), (1, 0), (0, 0)),
            State::BothActive => (format!("{} {other}", self.slot), (1, 0), (1, 0)),
            State::OtherFailed => (format!("{other} {}", self.slot), (1, 0), (0, 0)),
            State::Trial(tries) => (format!("{} {other}", self.slot), (0, tries), (1, 0)),
        };
        let [a, b] = if self.slot == 'A' { [own, others] } else { [others, own] };
        let mut text = format!("# GRUB Environment Block\nORDER={order}\nA_OK={}\nA_TRY={}\nB_OK={}\nB_TRY={}\n", a.0, a.1, b.0, b.1);
        text.extend(std::iter::repeat_n('#', BLOCK - text.len()));
        text.into_bytes()
    }
}

/// The starts of the slots that have a system.
pub fn all(disk: &ImageDisk) -> Result<Vec<Start>> {
    let (mut starts, mut systems) = (Vec::new(), 0);
    for (slot, partition) in [('A', 2), ('B', 3)] {
        if disk.has(partition, "boot/kernel")? {
            let states = [State::Active, State::OtherFailed, State::Trial(TRIES), State::Trial(2), State::Trial(1)];
            starts.extend(states.map(|state| Start { slot, state }));
            systems += 1;
        }
    }
    if systems == 2 {
        starts.extend(['A', 'B'].map(|slot| Start { slot, state: State::BothActive }));
    }
    Ok(starts)
}

/// The slot whose program the firmware loads last in a start that is known: CONFIG may name another one than the state does.
pub fn slot_of(all: &[PcrForecast]) -> Option<char> {
    let program = &all.iter().find(|pcr| pcr.pcr == 4 && pcr.value.is_some())?.events.last()?.what;
    [('A', 2), ('B', 3)].into_iter().find(|(_, partition)| program.ends_with(&format!(" of partition {partition}"))).map(|(slot, _)| slot)
}
