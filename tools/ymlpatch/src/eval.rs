//! Evaluates expressions: to values, and to paths ("places") in the input that updates write to.

use crate::{
    Fault, Language, fault,
    parse::{Expr, Kind, Op},
    path::{self, Path, Step, kind},
};
use regex::RegexBuilder;
use serde_json::{Map, Number, Value};
use std::{cmp::Ordering, collections::BTreeMap};

type Values = Result<Vec<Value>, Fault>;
type Places = Result<Vec<(Path, Value)>, Fault>;

/// Values of variables by name, and the language.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    variables: BTreeMap<String, Value>,
    language: Language,
}

impl Scope {
    pub(crate) fn of(language: Language) -> Self {
        Self { language, ..Self::default() }
    }

    pub(crate) fn with(&self, name: &str, value: Value) -> Self {
        let mut scope = self.clone();
        scope.variables.insert(name.to_owned(), value);
        scope
    }
}

fn truthy(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// All results of `expr` for `input`.
pub(crate) fn eval(expr: &Expr, input: &Value, scope: &Scope) -> Values {
    match &expr.kind {
        Kind::Identity => Ok(vec![input.clone()]),
        Kind::Literal(value) => Ok(vec![value.clone()]),
        Kind::Variable(name) => match scope.variables.get(name) {
            Some(value) => Ok(vec![value.clone()]),
            None => fault(expr.at, format!("the variable `${name}` is not defined")),
        },
        Kind::Index(..) | Kind::Slice(..) | Kind::Each(_) => Ok(places(expr, input, scope)?.into_iter().map(|(_, value)| value).collect()),
        Kind::Try(inner) => Ok(eval(inner, input, scope).unwrap_or_default()),
        Kind::Array(None) => Ok(vec![Value::Array(vec![])]),
        Kind::Array(Some(inner)) => Ok(vec![Value::Array(eval(inner, input, scope)?)]),
        Kind::Object(pairs) => objects(pairs, input, scope),
        Kind::Pipe(left, right) => flat_map(eval(left, input, scope)?, |value| eval(right, &value, scope)),
        Kind::Comma(left, right) => {
            let mut values = eval(left, input, scope)?;
            values.extend(eval(right, input, scope)?);
            Ok(values)
        }
        Kind::Alternative(left, right) => {
            let values: Vec<Value> = eval(left, input, scope).unwrap_or_default().into_iter().filter(truthy).collect();
            if values.is_empty() { eval(right, input, scope) } else { Ok(values) }
        }
        Kind::And(left, right) => flat_map(eval(left, input, scope)?, |left| match truthy(&left) {
            true => Ok(eval(right, input, scope)?.iter().map(|value| truthy(value).into()).collect()),
            false => Ok(vec![false.into()]),
        }),
        Kind::Or(left, right) => flat_map(eval(left, input, scope)?, |left| match truthy(&left) {
            false => Ok(eval(right, input, scope)?.iter().map(|value| truthy(value).into()).collect()),
            true => Ok(vec![true.into()]),
        }),
        Kind::Binary(op, left, right) => flat_map(eval(right, input, scope)?, |right| {
            eval(left, input, scope)?.into_iter().map(|left| operate(*op, left, &right, expr.at)).collect()
        }),
        Kind::Update(target, change, None) => Ok(vec![update(target, change, input, scope)?]),
        Kind::Update(target, change, Some(op)) => flat_map(eval(change, input, scope)?, |right| {
            let result = change_places(target, input, scope, &mut |old| operate(*op, old, &right, expr.at).map_err(|fault| fault.message));
            Ok(vec![result?])
        }),
        Kind::Assign(target, value) => {
            flat_map(eval(value, input, scope)?, |new| Ok(vec![change_places(target, input, scope, &mut |_| Ok(new.clone()))?]))
        }
        Kind::Bind(source, name, body) => flat_map(eval(source, input, scope)?, |value| eval(body, input, &scope.with(name, value))),
        Kind::Call(name, arguments) => call(name, arguments, expr.at, input, scope),
    }
}

fn flat_map(values: Vec<Value>, mut f: impl FnMut(Value) -> Values) -> Values {
    let mut out = Vec::new();
    for value in values {
        out.extend(f(value)?);
    }
    Ok(out)
}

fn objects(pairs: &[(Expr, Expr)], input: &Value, scope: &Scope) -> Values {
    let mut made = vec![Map::new()];
    for (key, value) in pairs {
        let mut next = Vec::new();
        for object in &made {
            for name in eval(key, input, scope)? {
                let Value::String(name) = name else {
                    return fault(key.at, format!("an object's key must be a string, not {}", kind(&name)));
                };
                for value in eval(value, input, scope)? {
                    let mut object = object.clone();
                    object.insert(name.clone(), value);
                    next.push(object);
                }
            }
        }
        made = next;
    }
    Ok(made.into_iter().map(Value::Object).collect())
}

/// All paths in `input` that `expr` selects, with the values there.
fn places(expr: &Expr, input: &Value, scope: &Scope) -> Places {
    match &expr.kind {
        Kind::Identity => Ok(vec![(vec![], input.clone())]),
        Kind::Index(base, key) => {
            steps(expr.at, base, input, scope, &|_| eval(key, input, scope)?.into_iter().map(|key| step_of(key, expr.at)).collect())
        }
        Kind::Slice(base, from, to) => steps(expr.at, base, input, scope, &|_| {
            let bounds = |bound: &Option<Box<Expr>>| match bound {
                Some(bound) => eval(bound, input, scope)?.iter().map(|value| bound_of(value, expr.at)).collect(),
                None => Ok(vec![None]),
            };
            let (from, to): (Vec<_>, Vec<_>) = (bounds(from)?, bounds(to)?);
            Ok(to.into_iter().flat_map(|to| from.iter().map(move |from| Step::Slice(*from, to))).collect())
        }),
        Kind::Each(base) => steps(expr.at, base, input, scope, &|value| match value {
            Value::Array(list) => Ok((0..list.len()).map(|index| Step::Index(i64::try_from(index).unwrap_or(i64::MAX))).collect()),
            Value::Object(map) => Ok(map.keys().map(|key| Step::Key(key.clone())).collect()),
            Value::Null if scope.language == Language::Yq => Ok(vec![]),
            other => fault(expr.at, format!("cannot iterate over {}", kind(other))),
        }),
        Kind::Try(inner) => Ok(places(inner, input, scope).unwrap_or_default()),
        Kind::Pipe(left, right) => {
            let mut out = Vec::new();
            for (path, value) in places(left, input, scope)? {
                out.extend(places(right, &value, scope)?.into_iter().map(|(rest, value)| ([path.clone(), rest].concat(), value)));
            }
            Ok(out)
        }
        Kind::Comma(left, right) => {
            let mut out = places(left, input, scope)?;
            out.extend(places(right, input, scope)?);
            Ok(out)
        }
        Kind::Bind(source, name, body) => {
            let mut out = Vec::new();
            for value in eval(source, input, scope)? {
                out.extend(places(body, input, &scope.with(name, value))?);
            }
            Ok(out)
        }
        Kind::Call(name, arguments) => match (name.as_str(), arguments.as_slice()) {
            ("select", [condition]) => {
                let times = eval(condition, input, scope)?.iter().filter(|value| truthy(value)).count();
                Ok(vec![(vec![], input.clone()); times])
            }
            ("empty", []) => Ok(vec![]),
            ("first", []) => Ok(vec![(vec![Step::Index(0)], path::get(input, &Step::Index(0)).or_else(|error| fault(expr.at, error))?)]),
            ("first", [inner]) => Ok(places(inner, input, scope)?.into_iter().take(1).collect()),
            ("limit", [count, inner]) => {
                let count = limit(count, input, scope)?;
                Ok(places(inner, input, scope)?.into_iter().take(count).collect())
            }
            _ => fault(expr.at, format!("`{name}` is no path, so it cannot be changed")),
        },
        _ => fault(expr.at, "this is no path such as `.kernel.image`, so it cannot be changed"),
    }
}

/// Extends all paths of `base` by one step.
fn steps(at: usize, base: &Expr, input: &Value, scope: &Scope, next: &dyn Fn(&Value) -> Result<Vec<Step>, Fault>) -> Places {
    let mut out = Vec::new();
    // A base that is no path, such as `$x.name` or `[1, 2][0]`, can still be read.
    let bases = match places(base, input, scope) {
        Ok(bases) => bases,
        Err(_) if !is_place(base) => eval(base, input, scope)?.into_iter().map(|value| (vec![], value)).collect(),
        Err(fault) => return Err(fault),
    };
    for (path, value) in bases {
        for step in next(&value)? {
            let inner = path::get(&value, &step).or_else(|error| fault(at, error))?;
            let mut path = path.clone();
            path.push(step);
            out.push((path, inner));
        }
    }
    Ok(out)
}

fn is_place(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Identity => true,
        Kind::Index(base, _) | Kind::Slice(base, ..) | Kind::Each(base) | Kind::Try(base) => is_place(base),
        Kind::Pipe(left, right) | Kind::Comma(left, right) => is_place(left) && is_place(right),
        Kind::Bind(_, _, body) => is_place(body),
        Kind::Call(name, arguments) => match name.as_str() {
            "select" | "empty" => true,
            "first" | "limit" => arguments.last().is_none_or(is_place),
            _ => false,
        },
        _ => false,
    }
}

fn step_of(key: Value, at: usize) -> Result<Step, Fault> {
    match key {
        Value::String(key) => Ok(Step::Key(key)),
        Value::Number(number) => Ok(Step::Index(whole(&number))),
        other => fault(at, format!("an index must be a string or a number, not {}", kind(&other))),
    }
}

fn bound_of(value: &Value, at: usize) -> Result<Option<i64>, Fault> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(Some(whole(number))),
        other => fault(at, format!("the bounds of a slice must be numbers, not {}", kind(other))),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "indices are rounded down and bounded, as in jq")]
fn whole(number: &Number) -> i64 {
    number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or(0.0).floor() as i64)
}

fn limit(count: &Expr, input: &Value, scope: &Scope) -> Result<usize, Fault> {
    match eval(count, input, scope)?.as_slice() {
        [Value::Number(number)] => Ok(usize::try_from(whole(number)).unwrap_or(0)),
        _ => fault(count.at, "the first argument of `limit` must be a number"),
    }
}

/// `target |= change`; a path for which `change` gives no result is deleted, as in jq.
fn update(target: &Expr, change: &Expr, input: &Value, scope: &Scope) -> Result<Value, Fault> {
    let mut result = input.clone();
    let mut gone = Vec::new();
    for (path, _) in places(target, input, scope)? {
        let mut failed = None;
        let outcome = path::update(&mut result, &path, &mut |old| match eval(change, &old, scope) {
            Ok(values) => Ok(values.into_iter().next().unwrap_or_else(|| {
                gone.push(path.clone());
                old
            })),
            Err(fault) => {
                let message = fault.message.clone();
                failed = Some(fault);
                Err(message)
            }
        });
        if let Some(fault) = failed {
            return Err(fault);
        }
        outcome.or_else(|error| fault(target.at, error))?;
    }
    path::delete(&mut result, gone).or_else(|error| fault(target.at, error))?;
    Ok(result)
}

fn change_places(
    target: &Expr,
    input: &Value,
    scope: &Scope,
    change: &mut dyn FnMut(Value) -> Result<Value, String>,
) -> Result<Value, Fault> {
    let mut result = input.clone();
    for (path, _) in places(target, input, scope)? {
        path::update(&mut result, &path, change).or_else(|error| fault(target.at, error))?;
    }
    Ok(result)
}

fn operate(op: Op, left: Value, right: &Value, at: usize) -> Result<Value, Fault> {
    let order = |wanted: &[Ordering]| compare(&left, right).map(|order| Value::from(wanted.contains(&order)));
    let compared = match op {
        Op::Equal => return Ok(same(&left, right).into()),
        Op::Unequal => return Ok((!same(&left, right)).into()),
        Op::Less => order(&[Ordering::Less]),
        Op::LessEqual => order(&[Ordering::Less, Ordering::Equal]),
        Op::Greater => order(&[Ordering::Greater]),
        Op::GreaterEqual => order(&[Ordering::Greater, Ordering::Equal]),
        Op::Add | Op::Subtract | Op::Multiply => arithmetic(op, left.clone(), right),
    };
    let verb = match op {
        Op::Add => "added",
        Op::Subtract => "subtracted",
        Op::Multiply => "multiplied",
        _ => "compared",
    };
    compared.map_or_else(|| fault(at, format!("{} and {} cannot be {verb}", kind(&left), kind(right))), Ok)
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => left == right,
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn arithmetic(op: Op, left: Value, right: &Value) -> Option<Value> {
    Some(match (op, left, right) {
        (Op::Add, Value::Null, other) => other.clone(),
        (Op::Add, other, Value::Null) => other,
        (Op::Add, Value::String(a), Value::String(b)) => (a + b).into(),
        (Op::Add, Value::Array(mut a), Value::Array(b)) => {
            a.extend(b.iter().cloned());
            a.into()
        }
        (Op::Add, Value::Object(mut a), Value::Object(b)) => {
            a.extend(b.clone());
            a.into()
        }
        (Op::Subtract, Value::Array(mut a), Value::Array(b)) => {
            a.retain(|value| !b.iter().any(|gone| same(value, gone)));
            a.into()
        }
        (op, Value::Number(a), Value::Number(b)) => {
            let whole = match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => match op {
                    Op::Add => a.checked_add(b),
                    Op::Subtract => a.checked_sub(b),
                    _ => a.checked_mul(b),
                },
                _ => None,
            };
            let (a, b) = (a.as_f64()?, b.as_f64()?);
            let float = match op {
                Op::Add => a + b,
                Op::Subtract => a - b,
                _ => a * b,
            };
            whole.map_or_else(|| Number::from_f64(float), |whole| Some(whole.into()))?.into()
        }
        _ => return None,
    })
}

fn call(name: &str, arguments: &[Expr], at: usize, input: &Value, scope: &Scope) -> Values {
    let value = match (name, arguments) {
        ("select" | "empty" | "first", _) if name != "first" || arguments.is_empty() => {
            return Ok(places(&Expr { at, kind: Kind::Call(name.to_owned(), arguments.to_vec()) }, input, scope)?
                .into_iter()
                .map(|(_, value)| value)
                .collect());
        }
        ("first", [inner]) => return Ok(eval(inner, input, scope)?.into_iter().take(1).collect()),
        ("limit", [count, inner]) => {
            let count = limit(count, input, scope)?;
            return Ok(eval(inner, input, scope)?.into_iter().take(count).collect());
        }
        ("del", [target]) => {
            let paths = places(target, input, scope)?.into_iter().map(|(path, _)| path).collect();
            let mut result = input.clone();
            path::delete(&mut result, paths).or_else(|error| fault(at, error))?;
            result
        }
        ("map", [change]) => {
            let Value::Array(list) = input else { return fault(at, format!("`map` needs an array, not {}", kind(input))) };
            Value::Array(flat_map(list.clone(), |value| eval(change, &value, scope))?)
        }
        ("not", _) => (!truthy(input)).into(),
        ("length" | "keys" | "to_entries", _) => about(name, input, at)?,
        ("test", [pattern]) => return flat_map(eval(pattern, input, scope)?, |pattern| test(input, &pattern, &Value::Null, at)),
        ("test", [pattern, flags]) => {
            return flat_map(eval(flags, input, scope)?, |flags| {
                flat_map(eval(pattern, input, scope)?, |pattern| test(input, &pattern, &flags, at))
            });
        }
        (_, [argument]) => return flat_map(eval(argument, input, scope)?, |argument| Ok(vec![ask(name, input, &argument, at)?])),
        _ => return fault(at, format!("the function `{name}` is not supported")),
    };
    Ok(vec![value])
}

fn about(name: &str, input: &Value, at: usize) -> Result<Value, Fault> {
    Ok(match (name, input) {
        ("length", Value::Null) => 0.into(),
        ("length", Value::String(text)) => text.chars().count().into(),
        ("length", Value::Array(list)) => list.len().into(),
        ("length", Value::Object(map)) => map.len().into(),
        ("keys", Value::Array(list)) => (0..list.len()).collect::<Vec<_>>().into(),
        ("keys", Value::Object(map)) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            keys.into_iter().cloned().collect::<Vec<_>>().into()
        }
        // As in jq, the keys of an array's entries are numbers.
        ("to_entries", Value::Array(list)) => entries(list.iter().enumerate().map(|(index, value)| (index.into(), value))),
        ("to_entries", Value::Object(map)) => entries(map.iter().map(|(key, value)| (key.clone().into(), value))),
        _ => return fault(at, format!("`{name}` cannot be applied to {}", kind(input))),
    })
}

fn entries<'v>(pairs: impl Iterator<Item = (Value, &'v Value)>) -> Value {
    pairs.map(|(key, value)| serde_json::json!({"key": key, "value": value})).collect::<Vec<_>>().into()
}

fn ask(name: &str, input: &Value, argument: &Value, at: usize) -> Result<Value, Fault> {
    Ok(match (name, input, argument) {
        ("has", Value::Object(map), Value::String(key)) => map.contains_key(key).into(),
        ("has", Value::Array(list), Value::Number(index)) => usize::try_from(whole(index)).is_ok_and(|index| index < list.len()).into(),
        ("startswith", Value::String(text), Value::String(part)) => text.starts_with(part.as_str()).into(),
        ("endswith", Value::String(text), Value::String(part)) => text.ends_with(part.as_str()).into(),
        _ => return fault(at, format!("`{name}` cannot be applied to {} with argument {}", kind(input), kind(argument))),
    })
}

fn test(input: &Value, pattern: &Value, flags: &Value, at: usize) -> Values {
    let (Value::String(text), Value::String(pattern)) = (input, pattern) else {
        return fault(at, format!("`test` cannot be applied to {} with argument {}", kind(input), kind(pattern)));
    };
    let mut builder = RegexBuilder::new(pattern);
    for flag in flags.as_str().unwrap_or_default().chars() {
        match flag {
            'x' => drop(builder.ignore_whitespace(true)),
            's' => drop(builder.dot_matches_new_line(true)),
            'g' | 'n' => {}
            other => return fault(at, format!("the flag `{other}` of `test` is not supported")),
        }
    }
    match builder.build() {
        Ok(pattern) => Ok(vec![pattern.is_match(text).into()]),
        Err(error) => fault(at, format!("invalid pattern: {error}")),
    }
}
