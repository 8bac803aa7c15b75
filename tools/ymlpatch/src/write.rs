//! Writes a value as YAML in block style. A string is written without quotes only if all YAML 1.1 and 1.2 parsers read it as
//! that string.

use serde_json::Value;

/// The whole document.
pub(crate) fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(value, 0, &mut out),
        Value::Array(list) if !list.is_empty() => block(value, 0, &mut out),
        scalar => {
            out.push_str(&inline(scalar, 0));
            out.push('\n');
        }
    }
    out
}

/// The lines of a non-empty array or object, indented by `depth` steps.
fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                indent(depth, out);
                entry(key, value, depth, out);
            }
        }
        Value::Array(list) => {
            for value in list {
                indent(depth, out);
                out.push_str("- ");
                item(value, depth, out);
            }
        }
        _ => {}
    }
}

fn entry(key: &str, value: &Value, depth: usize, out: &mut String) {
    out.push_str(&text(key));
    out.push(':');
    if is_block(value) {
        out.push('\n');
        block(value, depth + 1, out);
    } else {
        out.push(' ');
        out.push_str(&inline(value, depth + 1));
        out.push('\n');
    }
}

/// An array's element after `- `; an object's first entry is on the same line.
fn item(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (number, (key, value)) in map.iter().enumerate() {
                if number > 0 {
                    indent(depth + 1, out);
                }
                entry(key, value, depth + 1, out);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (number, value) in list.iter().enumerate() {
                if number > 0 {
                    indent(depth + 1, out);
                }
                out.push_str("- ");
                item(value, depth + 1, out);
            }
        }
        scalar => {
            out.push_str(&inline(scalar, depth + 1));
            out.push('\n');
        }
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    }
}

fn indent(depth: usize, out: &mut String) {
    (0..depth).for_each(|_| out.push_str("  "));
}

/// A value that starts on the line of its key; further lines are indented by `depth` steps.
fn inline(value: &Value, depth: usize) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => {
                let digits = float.to_string();
                if digits.contains('.') { digits } else { format!("{digits}.0") }
            }
            _ => number.to_string(),
        },
        Value::String(value) => lines(value, depth).unwrap_or_else(|| text(value)),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
    }
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

/// A multi-line string as a literal block; `None` if it cannot be one.
fn lines(text: &str, depth: usize) -> Option<String> {
    let plain = |c: char| c == '\n' || is_printable(c);
    let fits = text.contains('\n') && !text.starts_with([' ', '\n']) && !text.ends_with("\n\n") && text.chars().all(plain);
    // A literal block at the document's root would have no indentation.
    if !fits || depth == 0 || text.trim().is_empty() {
        return None;
    }
    let mut out = if text.ends_with('\n') { "|".to_owned() } else { "|-".to_owned() };
    for line in text.lines() {
        out.push('\n');
        if !line.is_empty() {
            indent(depth, &mut out);
            out.push_str(line);
        }
    }
    Some(out)
}

/// A string on one line: plain, single-quoted or double-quoted.
fn text(text: &str) -> String {
    if !text.chars().all(is_printable) {
        let mut quoted = String::from("\"");
        for c in text.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                '\n' => quoted.push_str("\\n"),
                '\t' => quoted.push_str("\\t"),
                c if is_printable(c) => quoted.push(c),
                c => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            }
        }
        quoted.push('"');
        return quoted;
    }
    if is_bare(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

fn is_bare(text: &str) -> bool {
    const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}
