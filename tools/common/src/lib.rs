//! Shared by the crates of this workspace: errors with a kind and hints, architectures, files that get their final names only when complete,
//! digests, and sizes and durations as text. Knows nothing of trees, knobs or tools. Depends on no other crate of ours.

/// std's `eprint!`, which does not panic if standard error is closed (`cargo xtask live 2>&1 | head -3`).
#[macro_export]
macro_rules! eprint {
    ($($words:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!($($words)*));
    }};
}

/// std's `eprintln!`, see `eprint!`.
#[macro_export]
macro_rules! eprintln {
    ($($words:tt)*) => {
        $crate::eprint!("{}\n", format_args!($($words)*))
    };
}

pub mod artifact;
pub mod base64;
pub mod digest;
pub mod display;
pub mod error;
pub mod owned_folder;
mod words;

pub use words::{Arch, PackageWork};
