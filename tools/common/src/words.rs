//! The macro `words!` for enums whose values are words, and the two such enums that many crates need.

use crate::error::usage;
use anyhow::Result;

/// Declares an enum with a word for each value: `as_str`, `Display` and `FromStr` use the word, `WORDS` lists all words.
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
    /// What to do with a package.
    PackageWork { /// Build it, unless its image exists.
        Build = "build", /// Build it and push its image to the registry.
        Push = "push", /// Push the registry's index of its architectures.
        Manifest = "manifest" }
}

impl Arch {
    /// The word for this machine's architecture; amd64 if EVE does not support it, which [`Arch::host`] reports.
    #[must_use]
    pub fn host_word() -> &'static str {
        Self::host().unwrap_or(Self::Amd64).as_str()
    }

    /// This machine's architecture; an error if EVE does not support it.
    pub fn host() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            "riscv64" => Ok(Self::Riscv64),
            other => Err(usage(format!("this machine is {other}, but EVE can be built only on x86_64, aarch64 and riscv64"))),
        }
    }
}
