//! The kinds of knobs: the value name of an argument says which settings it has and how its values are shown.

use clap::Arg;

/// The value name of a switch.
pub(crate) const SWITCH: &str = "y|n";
/// The value name of a text that no output may show.
pub(crate) const SECRET: &str = "SECRET";
/// The value name of options for another program.
pub(crate) const OPTIONS: &str = "OPTIONS";

/// Adds the settings that all knobs with the same value name have.
pub(crate) fn complete(arg: Arg) -> Arg {
    match value_name(&arg).as_str() {
        SWITCH => arg.num_args(0..=1).require_equals(true).default_missing_value("y"),
        OPTIONS => arg.allow_hyphen_values(true),
        _ => arg,
    }
}

/// The value name in the help of `arg`.
pub(crate) fn value_name(arg: &Arg) -> String {
    arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default()
}
