//! Enums that stand for a closed set of words, and the one that every crate needs: the processor architecture.

use crate::error::usage;
use anyhow::Result;

/// Declares an enum whose values are a closed set of words: `as_str`, `Display` and `FromStr` use the word, `WORDS` lists them.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word of every value, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($text),+];

            /// The word for it on the command line and in file names.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result { f.pad(self.as_str()) }
        }

        impl ::std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err(format!("`{text}` is none of {}", Self::WORDS.join(", "))) }
            }
        }
    };
}

words! {
    /// A processor architecture, by its name in OCI and Go.
    Arch { /// x86_64.
        Amd64 = "amd64", /// aarch64.
        Arm64 = "arm64", /// RISC-V.
        Riscv64 = "riscv64" }
}
words! {
    /// What is done with a package.
    PackageWork { /// It is built, unless its image exists.
        Build = "build", /// It is built and goes to the registry.
        Push = "push", /// The registry's index of its architectures is made.
        Manifest = "manifest" }
}

impl Arch {
    /// The word for the machine that we run on; amd64 on one that EVE does not know, which [`Arch::host`] refuses.
    #[must_use]
    pub fn host_word() -> &'static str {
        Self::host().unwrap_or(Self::Amd64).as_str()
    }

    /// The machine that we run on; an error on one that EVE does not know.
    pub fn host() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            "riscv64" => Ok(Self::Riscv64),
            other => Err(usage(format!("this machine is {other}: EVE is built on x86_64, aarch64 and riscv64"))),
        }
    }
}
