//! YAML as the Go library `yaml.v2` writes it, which linuxkit uses for the metadata file: its indentation, quoting and folding.

use serde_json::Value;

/// A text is folded at the next space after this column.
const WIDTH: usize = 80;

/// The document, with a final newline.
pub(crate) fn to_string(value: &Value) -> String {
    let mut emitter = Emitter::default();
    match value {
        Value::Object(map) if !map.is_empty() => emitter.map(map, 0, false),
        Value::Array(items) if !items.is_empty() => emitter.list(items, 0, false),
        value => emitter.scalar(value, 0, true),
    }
    emitter.end_line();
    emitter.out
}

#[derive(Default)]
struct Emitter {
    out: String,
    /// Characters since the last newline.
    column: usize,
}

impl Emitter {
    fn push(&mut self, c: char) {
        self.out.push(c);
        self.column = if c == '\n' { 0 } else { self.column + 1 };
    }

    fn push_str(&mut self, text: &str) {
        text.chars().for_each(|c| self.push(c));
    }

    fn end_line(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.push('\n');
        }
    }

    fn line(&mut self, indent: usize) {
        self.end_line();
        (0..indent).for_each(|_| self.push(' '));
    }

    /// The entries of a map. `inline`: the first one follows a list's dash on the same line.
    fn map(&mut self, map: &serde_json::Map<String, Value>, indent: usize, inline: bool) {
        for (number, (key, value)) in map.iter().enumerate() {
            if number > 0 || !inline {
                self.line(indent);
            }
            self.text(key, indent, false);
            self.push(':');
            match value {
                Value::Object(map) if !map.is_empty() => self.map(map, indent + 2, false),
                // yaml.v2 does not indent a list in a map.
                Value::Array(items) if !items.is_empty() => self.list(items, indent, false),
                value => {
                    self.push(' ');
                    self.scalar(value, indent + 2, true);
                }
            }
        }
    }

    fn list(&mut self, items: &[Value], indent: usize, inline: bool) {
        for (number, item) in items.iter().enumerate() {
            if number > 0 || !inline {
                self.line(indent);
            }
            self.push_str("- ");
            match item {
                Value::Object(map) if !map.is_empty() => self.map(map, indent + 2, true),
                Value::Array(items) if !items.is_empty() => self.list(items, indent + 2, true),
                item => self.scalar(item, indent + 2, true),
            }
        }
    }

    fn scalar(&mut self, value: &Value, indent: usize, fold: bool) {
        match value {
            Value::Null => self.push_str("null"),
            Value::Bool(flag) => self.push_str(&flag.to_string()),
            Value::Number(number) => self.push_str(&number.to_string()),
            Value::String(text) => self.text(text, indent, fold),
            Value::Array(_) => self.push_str("[]"),
            Value::Object(_) => self.push_str("{}"),
        }
    }

    fn text(&mut self, text: &str, indent: usize, fold: bool) {
        let form = Form::of(text);
        if text.contains('\n') {
            if form.block && fold { self.literal(text, indent) } else { self.double(text, indent, fold) }
        } else if !is_text(text) {
            self.double(text, indent, fold);
        } else if form.plain {
            self.folded(text, indent, fold, false);
        } else if form.single {
            self.push('\'');
            self.folded(text, indent, fold, true);
            self.push('\'');
        } else {
            self.double(text, indent, fold);
        }
    }

    /// A plain or single-quoted text, folded at single spaces after [`WIDTH`].
    fn folded(&mut self, text: &str, indent: usize, fold: bool, quoted: bool) {
        let chars: Vec<char> = text.chars().collect();
        let mut after_space = false;
        for (at, &c) in chars.iter().enumerate() {
            let inside = !quoted || at > 0 && at + 1 < chars.len();
            if c == ' ' && fold && !after_space && self.column > WIDTH && inside && chars.get(at + 1) != Some(&' ') {
                self.line(indent);
            } else {
                if quoted && c == '\'' {
                    self.push('\'');
                }
                self.push(c);
            }
            after_space = c == ' ';
        }
    }

    fn double(&mut self, text: &str, indent: usize, fold: bool) {
        let chars: Vec<char> = text.chars().collect();
        let mut after_space = false;
        self.push('"');
        for (at, &c) in chars.iter().enumerate() {
            if !is_printable(c) || c == '\n' || c == '"' || c == '\\' {
                self.escape(c);
            } else if c == ' ' && fold && !after_space && self.column > WIDTH && at > 0 && at + 1 < chars.len() {
                self.line(indent);
                if chars[at + 1] == ' ' {
                    self.push('\\');
                }
            } else {
                self.push(c);
            }
            after_space = c == ' ';
        }
        self.push('"');
    }

    fn escape(&mut self, c: char) {
        let text = match c {
            '\0' => "\\0".to_owned(),
            '\x07' => "\\a".to_owned(),
            '\x08' => "\\b".to_owned(),
            '\t' => "\\t".to_owned(),
            '\n' => "\\n".to_owned(),
            '\x0b' => "\\v".to_owned(),
            '\x0c' => "\\f".to_owned(),
            '\r' => "\\r".to_owned(),
            '\x1b' => "\\e".to_owned(),
            '"' | '\\' => format!("\\{c}"),
            '\u{85}' => "\\N".to_owned(),
            '\u{a0}' => "\\_".to_owned(),
            '\u{2028}' => "\\L".to_owned(),
            '\u{2029}' => "\\P".to_owned(),
            c if u32::from(c) <= 0xff => format!("\\x{:02X}", u32::from(c)),
            c if u32::from(c) <= 0xffff => format!("\\u{:04X}", u32::from(c)),
            c => format!("\\U{:08X}", u32::from(c)),
        };
        self.push_str(&text);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.push('|');
        if text.starts_with([' ', '\n']) {
            self.push('2');
        }
        if !text.ends_with('\n') {
            self.push('-');
        } else if text == "\n" || text.ends_with("\n\n") {
            self.push('+');
        }
        self.push('\n');
        for line in text.split_inclusive('\n') {
            if line != "\n" {
                (0..indent).for_each(|_| self.push(' '));
            }
            self.push_str(line);
        }
    }
}

/// The styles that can represent a text, as in libyaml's `yaml_emitter_analyze_scalar` in block context.
struct Form {
    plain: bool,
    single: bool,
    block: bool,
}

impl Form {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let blank = |at: usize| chars.get(at).is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
        let mut indicator = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut space_break, mut break_space) = (false, false, false);
        for (at, &c) in chars.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| chars[at]);
            indicator |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' if at == 0 => true,
                '?' | '-' if at == 0 => blank(at + 1),
                ':' => blank(at + 1),
                '#' => before.is_some_and(|c| matches!(c, ' ' | '\t' | '\n')),
                _ => false,
            };
            special |= !is_printable(c);
            space_break |= c == '\n' && before == Some(' ');
            break_space |= c == ' ' && before == Some('\n');
        }
        let edge = text.starts_with([' ', '\n']) || text.ends_with([' ', '\n']);
        let broken = special || space_break;
        Self {
            plain: !(indicator || edge || broken || break_space || text.contains('\n')),
            single: !(broken || break_space),
            block: !(broken || text.ends_with(' ')),
        }
    }
}

/// Whether `yaml.v2` writes `c` unescaped; it escapes tabs.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
        || c >= '\u{10000}'
}

/// Whether a plain `text` is read as a string, not as a number, date, boolean or null. Base 60 numbers count as numbers:
/// yaml.v2 reads them as strings but quotes them for other parsers.
fn is_text(text: &str) -> bool {
    const WORDS: [&str; 33] = [
        "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", "n", "N", "no", "No", "NO", "false", "False", "FALSE",
        "off", "Off", "OFF", "", "~", "null", "Null", "NULL", ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF",
    ];
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if WORDS.contains(&text) || unsigned != text && [".inf", ".Inf", ".INF"].contains(&unsigned) {
        return false;
    }
    match text.bytes().next() {
        Some(b'.') => text.parse::<f64>().is_err(),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let plain: String = unsigned.chars().filter(|c| *c != '_').collect();
            !(is_int(&plain) || is_float(&plain) || is_date(text) || is_base_60(unsigned))
        }
        _ => true,
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether Go's `strconv.ParseInt` with base 0 accepts the unsigned `text`.
fn is_int(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    !digits.starts_with(['+', '-']) && u64::from_str_radix(digits, base).is_ok()
}

fn is_float(text: &str) -> bool {
    let (number, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(number, exponent)| (number, Some(exponent)));
    let (whole, part) = number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    let mantissa = match (whole, part) {
        ("", part) => part.is_some_and(digits),
        (whole, part) => digits(whole) && part.is_none_or(|part| part.is_empty() || digits(part)),
    };
    mantissa && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// `1:30`, `12:30:45.5`.
fn is_base_60(text: &str) -> bool {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let mut parts = whole.split(':');
    let first = parts.next().is_some_and(|first| first.starts_with(|c: char| c.is_ascii_digit()));
    let rest: Vec<&str> = parts.collect();
    first && !rest.is_empty() && rest.iter().all(|part| part.len() <= 2 && part.parse::<u8>().is_ok_and(|n| n < 60) && digits(part))
}

/// `2006-1-2`, alone or with a time of day.
fn is_date(text: &str) -> bool {
    let (date, time) = text.split_once(['T', 't', ' ']).map_or((text, None), |(date, time)| (date, Some(time)));
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let within =
        |part: &str, most: u8| (1..=2).contains(&part.len()) && digits(part) && part.parse::<u8>().is_ok_and(|n| (1..=most).contains(&n));
    let clock = |time: &str| time.split(':').count() >= 3 && time.starts_with(|c: char| c.is_ascii_digit());
    year.len() == 4 && digits(year) && within(month, 12) && within(day, 31) && time.is_none_or(clock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_quoted_as_go_does() {
        for (text, shown) in [
            ("0755", "\"0755\""),
            ("0.0.0-spike", "0.0.0-spike"),
            ("rootdelay=3", "rootdelay=3"),
            ("", "\"\""),
            ("yes", "\"yes\""),
            ("-1", "\"-1\""),
            ("1e3", "\"1e3\""),
            ("1:30", "\"1:30\""),
            ("2024-01-02", "\"2024-01-02\""),
            ("a: b", "'a: b'"),
            ("it's: x", "'it''s: x'"),
            ("/a:/b", "/a:/b"),
            ("-c", "-c"),
            ("- x", "'- x'"),
            ("*", "'*'"),
            (" x", "' x'"),
            ("a\tb", "\"a\\tb\""),
            ("a # b", "'a # b'"),
            ("0x1g", "0x1g"),
            ("8f1e6a07", "8f1e6a07"),
            ("1_000", "\"1_000\""),
            ("é", "é"),
        ] {
            assert_eq!(to_string(&json!({ "k": text })), format!("k: {shown}\n"), "{text}");
        }
    }

    #[test]
    fn long_texts_are_folded_and_lines_are_literal() {
        let long = "word ".repeat(30);
        let text = to_string(&json!({ "c": [long.trim_end()] }));
        let words = |count: usize| vec!["word"; count].join(" ");
        assert_eq!(text, format!("c:\n- {}\n  {}\n", words(16), words(14)));
        let value =
            json!({ "files": [{ "path": "/x", "contents": "a\n\nb\n" }, { "contents": "a\nb" }, { "contents": "a \nb" }], "e": {} });
        let expected = "files:\n- path: /x\n  contents: |\n    a\n\n    b\n- contents: |-\n    a\n    b\n- contents: \"a \\nb\"\ne: {}\n";
        assert_eq!(to_string(&value), expected);
    }
}
