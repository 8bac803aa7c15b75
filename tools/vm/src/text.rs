//! What a serial port printed, as a person can read it: without control sequences, the frames of menus and the blanks of a screen.

/// Number of bytes that are kept: hundreds of lines.
pub(super) const KEPT: usize = 256 << 10;
/// Number of lines that an error shows.
const TAIL: usize = 20;
/// The longest row of blanks that an error shows: a column of a table, but no empty screen.
const BLANKS: usize = 8;
/// Number of letters that make a line with bytes of another character set worth showing.
const LEAST_LETTERS: usize = 3;

/// The last lines of `printed` that are not blank, as a person can read them.
#[must_use]
pub fn tail(printed: &[u8]) -> Vec<String> {
    let mut lines = readable(&printed[printed.len().saturating_sub(KEPT)..]);
    lines.drain(..lines.len().saturating_sub(TAIL));
    lines
}

/// The lines that a person can read: without control sequences, the frames of menus and the blanks that fill a screen.
pub(super) fn readable(printed: &[u8]) -> Vec<String> {
    plain(printed).lines().filter_map(readable_line).collect()
}

fn readable_line(line: &str) -> Option<String> {
    // A loader's menu is drawn in the character set of old PCs, of which most is no UTF-8.
    let is_drawn = line.contains(char::REPLACEMENT_CHARACTER);
    let line: String = line.chars().filter(|c| !is_drawn || c.is_ascii()).collect();
    if is_drawn && line.chars().filter(char::is_ascii_alphanumeric).count() < LEAST_LETTERS {
        return None;
    }
    let (mut out, mut blanks) = (String::new(), 0);
    for c in line.trim_end().chars() {
        blanks = if c == ' ' { blanks + 1 } else { 0 };
        if blanks <= BLANKS {
            out.push(c);
        }
    }
    (!out.trim().is_empty()).then_some(out)
}

/// The text without control sequences and control characters other than newline and tab. A bare carriage return becomes a newline.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // CSI: parameters, then a final byte. H and f go to another place of the screen: in most cases another line.
                Some('[') => {
                    let goes = chars.find(|c| matches!(c, '@'..='~')).is_some_and(|last| "Hf".contains(last));
                    if goes && !out.is_empty() && !out.ends_with('\n') {
                        out.push('\n');
                    }
                }
                // The choice of a character set has one more character.
                Some('(' | ')') => drop(chars.next()),
                _ => {}
            },
            '\r' if chars.peek().is_some_and(|next| !matches!(next, '\r' | '\n')) => out.push('\n'),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_readable() {
        let bytes = b"\x1b[2J\x1b[01;01H\x1b[1mBdsDxe\x1b[0m: loading\r\n\r\n[    1.0] up\r\r\n50%\r60%\r\ndone\x1b(B\x07";
        assert_eq!(plain(bytes), "BdsDxe: loading\n\n[    1.0] up\n50%\n60%\ndone");
        // GRUB's menu: a frame in code page 437, entries at their places, and blanks to the end of the line.
        let menu = b"\x1b[04;02H\xda\xc4\xc4\xc4\xc4\xbf\x1b[05;02H\xb3\xb3\x1b[05;03H*Boot EVE from hd0,gpt2          \x1b[06;03H          \r\r\nEVE\n";
        assert_eq!(tail(&menu.repeat(30))[18..], ["*Boot EVE from hd0,gpt2", "EVE"]);
        assert_eq!(tail(b"a          b  c\n"), ["a        b  c"]);
    }
}
