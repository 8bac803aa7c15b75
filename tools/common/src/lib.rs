//! What several crates of this workspace share: errors with a kind and a hint, architectures, files that appear under
//! their final name only when they are whole, digests, and sizes and times as text. Depends on no other crate of ours.

/// As in std, but a closed standard error (`cargo xtask live 2>&1 | head -3`) does not end a build.
#[macro_export]
macro_rules! eprint {
    ($($words:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!($($words)*));
    }};
}

/// See `eprint!`.
#[macro_export]
macro_rules! eprintln {
    ($($words:tt)*) => {
        $crate::eprint!("{}\n", format_args!($($words)*))
    };
}

pub mod artifact;
pub mod digest;
pub mod display;
pub mod error;
mod words;

pub use words::{Arch, PackageWork};
