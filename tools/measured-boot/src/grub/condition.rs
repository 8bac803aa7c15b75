//! GRUB's command `test`, also called `[`.

use anyhow::{Result, bail};

/// Whether `args` hold. `is_file` looks for a file.
pub(super) fn holds(args: &[String], is_file: &dyn Fn(&str) -> Result<bool>) -> Result<bool> {
    let mut test = Test { args, at: 0, is_file };
    let result = test.any()?;
    if test.at < args.len() {
        bail!("`test`: `{}` is out of place", args[test.at]);
    }
    Ok(result)
}

struct Test<'a> {
    args: &'a [String],
    at: usize,
    is_file: &'a dyn Fn(&str) -> Result<bool>,
}

impl Test<'_> {
    fn peek(&self, ahead: usize) -> Option<&str> {
        self.args.get(self.at + ahead).map(String::as_str)
    }

    /// `A -o B`.
    fn any(&mut self) -> Result<bool> {
        let mut result = self.all()?;
        while self.peek(0) == Some("-o") {
            self.at += 1;
            result |= self.all()?;
        }
        Ok(result)
    }

    /// `A -a B`.
    fn all(&mut self) -> Result<bool> {
        let mut result = self.one()?;
        while self.peek(0) == Some("-a") {
            self.at += 1;
            result &= self.one()?;
        }
        Ok(result)
    }

    fn one(&mut self) -> Result<bool> {
        let Some(first) = self.peek(0).map(str::to_owned) else { return Ok(false) };
        if let (Some(operator), Some(second)) = (self.peek(1), self.peek(2))
            && let Some(result) = compare(&first, operator, second)?
        {
            self.at += 3;
            return Ok(result);
        }
        match (first.as_str(), self.peek(1).map(str::to_owned)) {
            ("!", Some(_)) => {
                self.at += 1;
                Ok(!self.one()?)
            }
            ("-z", Some(text)) => self.took(2, text.is_empty()),
            ("-n", Some(text)) => self.took(2, !text.is_empty()),
            ("-f", Some(path)) => {
                let is_file = (self.is_file)(&path)?;
                self.took(2, is_file)
            }
            (other, Some(_)) if other.starts_with('-') || other == "(" => bail!("`test {other}` is not known here"),
            (text, _) => self.took(1, !text.is_empty()),
        }
    }

    fn took(&mut self, count: usize, result: bool) -> Result<bool> {
        self.at += count;
        Ok(result)
    }
}

/// The result of a comparison; none if `operator` is none.
fn compare(first: &str, operator: &str, second: &str) -> Result<Option<bool>> {
    let number = |text: &str| -> Result<i64> {
        match text.parse() {
            Ok(number) => Ok(number),
            Err(_) => bail!("`test {operator}`: `{text}` is no decimal number"),
        }
    };
    Ok(Some(match operator {
        "=" | "==" => first == second,
        "!=" => first != second,
        "-eq" => number(first)? == number(second)?,
        "-ne" => number(first)? != number(second)?,
        "-lt" => number(first)? < number(second)?,
        "-le" => number(first)? <= number(second)?,
        "-gt" => number(first)? > number(second)?,
        "-ge" => number(first)? >= number(second)?,
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn operators_bind_as_gnu_tests_do() {
        let holds = |text: &str| {
            let args: Vec<String> = text.split(' ').map(|word| word.replace('_', "")).collect();
            holds(&args, &|path| Ok(path == "there"))
        };
        for text in ["a", "_ = _", "a != b", "-z _", "-f there", "! -f here", "-z a -o a", "a -a ! _", "_ -a a -o a = a", "2 -lt 10"] {
            assert!(holds(text).unwrap(), "{text}");
        }
        for text in ["_", "-n _", "-f here", "a = b -a a", "! a"] {
            assert!(!holds(text).unwrap(), "{text}");
        }
        assert_eq!(holds("-d x").unwrap_err().to_string(), "`test -d` is not known here");
        assert_eq!(holds("a b").unwrap_err().to_string(), "`test`: `b` is out of place");
        assert_eq!(holds("a -lt 1").unwrap_err().to_string(), "`test -lt`: `a` is no decimal number");
    }
}
