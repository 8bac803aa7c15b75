//! JSON as Go's `json.MarshalIndent` writes it with four spaces: `<`, `>`, `&`, U+2028 and U+2029 escaped, no final newline.

use anyhow::Result;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

pub(crate) fn to_vec(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, Go(PrettyFormatter::with_indent(b"    "))))?;
    Ok(out)
}

struct Go(PrettyFormatter<'static>);

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            out.write_all(&rest.as_bytes()[..at])?;
            let special = rest[at..].chars().next().unwrap_or_default();
            write!(out, "\\u{:04x}", u32::from(special))?;
            rest = &rest[at + special.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_are_go_s() {
        let value = serde_json::json!({ "a": "<&>\u{2028}é\n", "b": [], "c": {}, "d": [1] });
        let text = String::from_utf8(super::to_vec(&value).expect("json")).expect("utf-8");
        let expected =
            "{\n    \"a\": \"\\u003c\\u0026\\u003e\\u2028é\\n\",\n    \"b\": [],\n    \"c\": {},\n    \"d\": [\n        1\n    ]\n}";
        assert_eq!(text, expected);
    }
}
