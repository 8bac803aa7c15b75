//! Text from an image for the terminal.

/// The text without control characters other than tabs, which must not reach the terminal.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() && letter != '\t' { '\u{fffd}' } else { letter }).collect()
}
