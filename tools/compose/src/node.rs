//! YAML as a tree of values with their lines. Types are those of the core schema, as linuxkit's parser reads them.

use anyhow::{Result, anyhow};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// A YAML value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float,
    Text(String),
    List(Vec<Node>),
    /// In file order; the parser refuses repeated keys.
    Map(Vec<(Node, Node)>),
}

/// A value and its first line, counted from 1; 0 if unknown.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub value: Value,
    pub line: u64,
}

impl Node {
    /// Parses `text`; `name` is its file name in error messages.
    pub(crate) fn parse(text: &str, name: &str) -> Result<Self> {
        let options = serde_saphyr::options! {
            strict_booleans: true,
            legacy_octal_numbers: true,
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let line = error.location().map_or(0, |at| at.line());
            anyhow!("`{name}`, line {line}: {}", error.without_snippet())
        })
    }

    /// The type, for error messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "a whole number",
            Value::Float => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { value: spanned.value, line: spanned.referenced.line() })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float, Value::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Float)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines() {
        let node = Node::parse("a: 1\nb:\n  - x\n  - {c: yes, d: 0755, e: '1'}\n", "t.yml").expect("yaml");
        let Value::Map(entries) = node.value else { unreachable!("a map") };
        assert_eq!((entries[0].0.line, entries[1].0.line), (1, 2));
        let Value::List(items) = &entries[1].1.value else { unreachable!("a list") };
        assert_eq!(items[1].line, 4);
        let Value::Map(inner) = &items[1].value else { unreachable!("a map") };
        assert!(matches!(&inner[0].1.value, Value::Text(yes) if yes == "yes"));
        assert!(matches!(inner[1].1.value, Value::Int(493)));
        assert!(matches!(&inner[2].1.value, Value::Text(one) if one == "1"));
    }

    #[test]
    fn a_broken_file_names_the_line() {
        let error = Node::parse("a: 1\nb: [\n", "t.yml").expect_err("broken").to_string();
        assert!(error.starts_with("`t.yml`, line "), "{error}");
        let error = Node::parse("a: 1\na: 2\n", "t.yml").expect_err("twice").to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
