//! Which RUN lines are done in process.

/// A step that needs no shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `[NAME=value …] eve-debian-deploy.sh`: see [`super::deploy`]; the assignments are added to the environment.
    Deploy {
        /// Assignments before the command, `$VAR` not expanded.
        assignments: Vec<(String, String)>,
    },
    /// `eve-debian-archive.sh RELEASE`: see [`super::build_archive`].
    Archive {
        /// The release, such as `bookworm`.
        release: String,
    },
}

impl Step {
    /// Recognizes the text after RUN. Anything more than one plain command is `None`: a shell's work.
    #[must_use]
    pub fn parse(_command: &str) -> Option<Self> {
        None
    }
}
