//! The steps of plans, one file each: the type with its inputs and outputs, its description, and the functions that plan it. An engine has
//! a method for each step, with the name of the step's file (`tools/executor/src/engine.rs`).

mod build_eve;
mod build_package;
mod compose_rootfs;
mod convert_disk;
mod copy_files;
mod export_parts;
mod link;
mod make_config;
mod make_disk;
mod make_iso;
mod make_net;
mod make_persist;
mod make_sbom;
mod make_stick;
mod pack_eve;
mod pack_rootfs;
mod resolve_yml;
mod take_out;
mod write_sbom;
mod write_text;

use crate::ImageRef;
use std::path::Path;

/// Passes the list of steps to the macro `$then`: the name of the file and method, and the type. A new step needs a row here, a file, and a
/// method in each engine.
#[macro_export]
macro_rules! for_each_step {
    ($then:ident) => {
        $then! {
            build_eve BuildEve,
            build_package BuildPackage,
            compose_rootfs ComposeRootfs,
            convert_disk ConvertDisk,
            copy_files CopyFiles,
            export_parts ExportParts,
            link Link,
            make_config MakeConfig,
            make_disk MakeDisk,
            make_iso MakeIso,
            make_net MakeNet,
            make_persist MakePersist,
            make_sbom MakeSbom,
            make_stick MakeStick,
            pack_eve PackEve,
            pack_rootfs PackRootfs,
            resolve_yml ResolveYml,
            take_out TakeOut,
            write_sbom WriteSbom,
            write_text WriteText,
        }
    };
}

macro_rules! define_steps {
    ($($file:ident $step:ident,)*) => {
        $(pub use $file::$step;)*

        /// The work of a node, with all values that an engine needs. Paths are absolute.
        #[derive(Clone, Debug)]
        pub enum Step {
            $(#[doc = concat!("See [`", stringify!($step), "`].")] $step($step),)*
        }

        $(impl From<$step> for Step {
            fn from(step: $step) -> Self { Self::$step(step) }
        })*

        impl std::ops::Deref for Step {
            type Target = dyn Describe;

            fn deref(&self) -> &Self::Target {
                match self { $(Self::$step(step) => step,)* }
            }
        }
    };
}
for_each_step!(define_steps);
pub use build_eve::release_calls;
pub use make_disk::Qcow2;
pub use pack_rootfs::RootfsFiles;

/// How the artifacts of a step are kept for other builds and other trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Not at all.
    Never,
    /// Only their digests: they are made as fast as they are copied.
    Digests,
    /// As copies: somebody may write to the files, for example a virtual machine that runs on them.
    Copied,
    /// As copies, on this machine only: the files contain CONFIG, which may hold keys and passwords.
    Local,
    /// As further names of the same files, which nobody writes to.
    Linked,
}

/// Shortens a path for people.
pub type Short<'s> = dyn Fn(&Path) -> String + 's;

/// Properties of a step.
pub trait Describe {
    /// One line that describes the step. [`Node::describe`](crate::Node::describe) adds the tool.
    fn describe(&self, short: &Short<'_>) -> String;

    /// The image whose container makes the step, for an engine that uses containers.
    fn tool(&self) -> Option<&ImageRef> {
        None
    }

    /// The package, if the step builds one. The image in the cache decides whether it must be built, not a stamp.
    fn package(&self) -> Option<&BuildPackage> {
        None
    }

    /// Whether it always runs, without a stamp.
    fn is_always_due(&self) -> bool {
        false
    }

    /// Whether outputs of an earlier run that this run did not make must be deleted: later steps would pack them, or their names are wrong.
    fn owns_its_outputs(&self) -> bool {
        false
    }

    /// How its artifacts are kept for other builds. Only a step whose result depends on nothing but its values, the node's inputs and the
    /// results of the node's needs may say anything else than [`Keep::Never`].
    fn keep(&self) -> Keep {
        Keep::Never
    }

    /// Whether it changes an existing file, which must not be removed if the step fails.
    fn changes_in_place(&self) -> bool {
        false
    }
}
