//! Paths in a value: reading, writing and deleting.

use serde_json::{Map, Value};
use std::cmp::Ordering;

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
}

pub(crate) type Path = Vec<Step>;

/// jq's name of a value's type.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The absolute index in an array of `length`; negative ones count from the end. `None` if it is before the start.
fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

/// Bounds of a slice in an array of `length`.
pub(crate) fn range(from: Option<i64>, to: Option<i64>, length: usize) -> std::ops::Range<usize> {
    let clamp = |index: i64| place(index, length).unwrap_or(0).min(length);
    let from = from.map_or(0, clamp);
    from..to.map_or(length, clamp).max(from)
}

/// The value at `step`; null if there is none.
pub(crate) fn get(value: &Value, step: &Step) -> Result<Value, String> {
    match (value, step) {
        (Value::Null, _) => Ok(Value::Null),
        (Value::Object(map), Step::Key(key)) => Ok(map.get(key).cloned().unwrap_or_default()),
        (Value::Array(list), Step::Index(index)) => Ok(place(*index, list.len()).and_then(|at| list.get(at)).cloned().unwrap_or_default()),
        (Value::Array(list), Step::Slice(from, to)) => Ok(list[range(*from, *to, list.len())].to_vec().into()),
        (Value::String(text), Step::Slice(from, to)) => {
            let chars: Vec<char> = text.chars().collect();
            Ok(chars[range(*from, *to, chars.len())].iter().collect::<String>().into())
        }
        (value, step) => Err(mismatch(value, step)),
    }
}

fn mismatch(value: &Value, step: &Step) -> String {
    match step {
        Step::Key(key) => format!("cannot index {} with \"{key}\"", article(value)),
        Step::Index(_) => format!("cannot index {} with a number", article(value)),
        Step::Slice(..) => format!("cannot slice {}", article(value)),
    }
}

fn article(value: &Value) -> String {
    let kind = kind(value);
    match kind {
        "null" => kind.to_owned(),
        "array" | "object" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

/// Replaces the value at `path` by `change` of it; creates missing objects and arrays on the way.
pub(crate) fn update(value: &mut Value, path: &[Step], change: &mut dyn FnMut(Value) -> Result<Value, String>) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else {
        *value = change(value.take())?;
        return Ok(());
    };
    match (&mut *value, step) {
        (Value::Null, Step::Key(_)) => *value = Value::Object(Map::new()),
        (Value::Null, _) => *value = Value::Array(vec![]),
        _ => {}
    }
    match (value, step) {
        (Value::Object(map), Step::Key(key)) => update(map.entry(key).or_insert(Value::Null), rest, change),
        (Value::Array(list), Step::Index(index)) => {
            let Some(at) = place(*index, list.len()) else { return Err(format!("index {index} is before the start of the array")) };
            // Limits the memory that a large index can take.
            if at > list.len() + 65536 {
                return Err(format!("index {index} is too far behind the end of the array"));
            }
            if at >= list.len() {
                list.resize(at + 1, Value::Null);
            }
            update(&mut list[at], rest, change)
        }
        (Value::Array(list), Step::Slice(from, to)) => {
            let range = range(*from, *to, list.len());
            let mut slice = Value::Array(list[range.clone()].to_vec());
            update(&mut slice, rest, change)?;
            let Value::Array(new) = slice else { return Err("the new value of a slice must be an array".to_owned()) };
            list.splice(range, new);
            Ok(())
        }
        (value, step) => Err(mismatch(value, step)),
    }
}

/// Deletes the values at all `paths`.
pub(crate) fn delete(value: &mut Value, mut paths: Vec<Path>) -> Result<(), String> {
    // Last paths first, so that a deletion does not shift the indices of the others.
    paths.sort_by(|a, b| order(b, a));
    paths.dedup();
    paths.iter().try_for_each(|path| delete_one(value, path))
}

fn order(a: &[Step], b: &[Step]) -> Ordering {
    for (a, b) in a.iter().zip(b) {
        let order = match (a, b) {
            (Step::Index(a), Step::Index(b)) => a.cmp(b),
            (Step::Key(a), Step::Key(b)) => a.cmp(b),
            (Step::Slice(a, _), Step::Slice(b, _)) => a.cmp(b),
            _ => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

fn delete_one(value: &mut Value, path: &[Step]) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else {
        *value = Value::Null;
        return Ok(());
    };
    match (value, step) {
        (Value::Null, _) => {}
        (Value::Object(map), Step::Key(key)) if rest.is_empty() => drop(map.shift_remove(key)),
        (Value::Object(map), Step::Key(key)) => map.get_mut(key).map_or(Ok(()), |inner| delete_one(inner, rest))?,
        (Value::Array(list), Step::Index(index)) => match place(*index, list.len()).filter(|at| *at < list.len()) {
            Some(at) if rest.is_empty() => drop(list.remove(at)),
            Some(at) => delete_one(&mut list[at], rest)?,
            None => {}
        },
        (Value::Array(list), Step::Slice(from, to)) if rest.is_empty() => drop(list.drain(range(*from, *to, list.len()))),
        (value, step) => return Err(mismatch(value, step)),
    }
    Ok(())
}
