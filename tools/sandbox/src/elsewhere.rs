//! In place of the sandbox on systems other than Linux: every build step is an error that says what to do instead.

use anyhow::{Error, Result};
use child::{Output, Tools};
use common::error::usage;
use filetree::Tree;
use pkgbuild::builder::Step;
use std::{marker::PhantomData, path::PathBuf};

/// Runs no step.
pub struct Sandbox<'t>(PhantomData<&'t Tools>);

impl<'t> Sandbox<'t> {
    /// As on Linux.
    #[must_use]
    pub fn new(_: &'t Tools, _: PathBuf, _: Output) -> Self {
        Self(PhantomData)
    }

    /// Fails, and gives `failed` nothing.
    pub fn run(&self, step: &Step, _: &mut Tree, _: impl FnOnce(Error, &Failed<'_>) -> Error) -> Result<()> {
        Err(refusal(step))
    }

    /// Fails.
    pub fn open_shell(&self, step: &Step, _: &Tree) -> Result<()> {
        Err(refusal(step))
    }
}

/// As on Linux; there is none here.
pub struct Failed<'f>(std::convert::Infallible, PhantomData<&'f ()>);

impl Failed<'_> {
    /// Never called.
    pub fn open_shell(&self) -> Result<()> {
        match self.0 {}
    }
}

fn refusal(step: &Step) -> Error {
    usage(format!(
        "{}: a RUN step needs Linux, because it runs in namespaces\nhint: CACHE=REGISTRY takes packages that a Linux machine has built; or build in a \
         virtual machine with Linux",
        step.place
    ))
}

pub mod inside {
    //! The inner half, which only Linux has.

    use anyhow::{Result, bail};

    /// Fails.
    pub fn run(_: &str) -> Result<u8> {
        bail!("a RUN step needs Linux")
    }
}
