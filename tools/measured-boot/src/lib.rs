//! Measured boot: reads the event log of a TPM 2.0, computes PCRs from it, and says before a boot what the boot will measure: the firmware's part
//! (TCG PC Client Platform Firmware Profile), and what GRUB, systemd's stub and the kernel's start for EFI add to it. It knows formats and rules; whoever
//! calls it opens disks and reads files.

mod compare;
mod event;
pub mod firmware;
mod forecast;
pub mod gpt;
pub mod grub;
pub mod kind;
mod log;
pub mod replay;
mod secure_boot;
mod stub;

pub use compare::{LogDifference, compare, find_missing};
pub use event::ExpectedEvent;
pub use forecast::{BootFacts, PcrForecast, forecast};
pub use log::{EventLog, LoggedEvent};
pub use replay::{PcrValue, extended, replay};
