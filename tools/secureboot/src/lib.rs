//! UEFI Secure Boot's formats: Authenticode signatures of EFI programs, unified kernel images, signature lists, signed variables (UEFI specification 2.10,
//! sections 8.2 and 32.4), and the store of variables of EDK2's firmware. Makes and reads bytes; whoever has the private key passes a function that signs with it.

pub mod authenticode;
mod certificate;
mod cms;
mod der;
mod pe;
pub mod store;
pub mod uki;
pub mod variable;

pub use certificate::Certificate;
pub use cms::{Sign, Signer};
pub use pe::EfiProgram;
pub use uki::UnifiedKernel;
