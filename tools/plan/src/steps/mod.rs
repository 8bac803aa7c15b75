//! The steps that a plan is made of, one file each: its type with what it reads and writes, its words, and the functions that plan
//! it. An engine makes a step by its method of the same name as the file (`tools/executor/src/engine.rs`).

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
mod pack_rootfs;
mod resolve_yml;
mod take_out;
mod write_text;

use crate::ImageRef;
use std::path::Path;

/// Hands the list of steps to the macro `$then`: the file and method name of each, and its type. A new step is a row here, its file
/// and a method of each engine.
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
            pack_rootfs PackRootfs,
            resolve_yml ResolveYml,
            take_out TakeOut,
            write_text WriteText,
        }
    };
}

macro_rules! define_steps {
    ($($file:ident $step:ident,)*) => {
        $(pub use $file::$step;)*

        /// What a node does, with all that an engine needs to know. Paths are absolute.
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

/// Shortens a path for a person to read.
pub type Short<'s> = dyn Fn(&Path) -> String + 's;

/// What a step says of itself.
pub trait Describe {
    /// One line: what it does. The tool is added by [`Node::describe`](crate::Node::describe).
    fn describe(&self, short: &Short<'_>) -> String;

    /// The image whose container does it, for an engine that works in containers.
    fn tool(&self) -> Option<&ImageRef> {
        None
    }

    /// The package that is built: its image in the cache tells whether it must be made, not a stamp.
    fn package(&self) -> Option<&BuildPackage> {
        None
    }

    /// It runs whenever it is asked for, and has no stamp.
    fn is_always_due(&self) -> bool {
        false
    }

    /// Its outputs are all that it put into a folder. Those that an earlier run made and this one did not are deleted, or later steps
    /// would pack them.
    fn owns_its_outputs(&self) -> bool {
        false
    }

    /// It changes a file that was there before, which must not be removed when it fails.
    fn changes_in_place(&self) -> bool {
        false
    }
}
