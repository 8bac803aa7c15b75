//! Parses GRUB's scripts (GRUB's manual, chapter "Writing full configuration files directly"): commands, quoting, variables, `if`, `for`, `while`,
//! functions and blocks. What is not in a configuration of ours (pipes, translated strings) is an error.

use anyhow::{Result, bail};

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text as it stands.
    Text(String),
    /// Text in quotes: it is a word even if it is empty.
    Quoted(String),
    /// The value of a variable; outside of quotes it is split at blanks.
    Variable { name: String, quoted: bool },
    /// What stands between braces.
    Block(String),
}

/// A word of a command.
pub(super) type Word = Vec<Piece>;

/// A command of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Simple(Vec<Word>),
    /// Conditions with their commands, and those of `else`.
    If(Vec<(Script, Script)>, Script),
    For {
        name: String,
        words: Vec<Word>,
        body: Script,
    },
    /// `until` runs while its condition does not hold.
    While {
        condition: Script,
        body: Script,
        until: bool,
    },
    Function {
        name: String,
        body: Script,
    },
}

/// Commands in their order.
pub(super) type Script = Vec<Command>;

/// How deep commands may be in each other.
const MOST_DEPTH: usize = 32;

/// Parses a whole script.
pub(super) fn parse(text: &str) -> Result<Script> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let script = parser.commands(&[])?;
    parser.skip_separators();
    match parser.peek() {
        None => Ok(script),
        Some(letter) => bail!("line {}: `{letter}` is out of place", parser.line()),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

/// Letters that end a word outside of quotes.
const ENDS: &[char] = &[' ', '\t', '\n', ';', '{', '}', '|', '&', '<', '>'];

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn line(&self) -> usize {
        self.line_of(self.at)
    }

    /// The line of the byte at `at`. It is counted for an error only: not once for each word of a long text.
    fn line_of(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    fn skip_blanks(&mut self) {
        loop {
            if self.rest().starts_with("\\\n") {
                self.at += 2;
            } else if matches!(self.peek(), Some(' ' | '\t' | '\r')) {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    /// Goes to the next command.
    fn skip_separators(&mut self) {
        loop {
            self.skip_blanks();
            match self.peek() {
                Some('\n' | ';') => self.at += 1,
                Some('#') => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                _ => return,
            }
        }
    }

    /// The word without quotes and variables at this place, if there is one.
    fn plain_word(&self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|letter: char| ENDS.contains(&letter) || "'\"$\\".contains(letter)).unwrap_or(rest.len());
        if rest[end..].starts_with(['\'', '"', '$', '\\']) { "" } else { &rest[..end] }
    }

    /// Takes the word `word`.
    fn expect(&mut self, word: &str) -> Result<()> {
        self.skip_separators();
        if self.plain_word() != word {
            bail!("line {}: `{word}` is missing", self.line());
        }
        self.at += word.len();
        Ok(())
    }

    /// Commands up to one of the words `until`, a closing brace or the end.
    fn commands(&mut self, until: &[&str]) -> Result<Script> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            bail!("line {}: more than {MOST_DEPTH} commands are in each other", self.line());
        }
        let mut script = Script::new();
        loop {
            self.skip_separators();
            if matches!(self.peek(), None | Some('}')) || until.contains(&self.plain_word()) {
                self.depth -= 1;
                return Ok(script);
            }
            script.push(self.command()?);
        }
    }

    fn command(&mut self) -> Result<Command> {
        let word = self.plain_word();
        match word {
            "if" => self.parse_if(),
            "for" => self.parse_for(),
            "while" | "until" => {
                self.at += word.len();
                let condition = self.commands(&["do"])?;
                let body = self.body("do", "done")?;
                Ok(Command::While { condition, body, until: word == "until" })
            }
            "function" => {
                self.at += word.len();
                let name = self.name()?;
                self.skip_separators();
                if self.next() != Some('{') {
                    bail!("line {}: the function `{name}` has no body", self.line());
                }
                let body = self.commands(&[])?;
                if self.next() != Some('}') {
                    bail!("line {}: the function `{name}` does not end", self.line());
                }
                Ok(Command::Function { name, body })
            }
            _ => self.simple(),
        }
    }

    fn parse_if(&mut self) -> Result<Command> {
        self.at += "if".len();
        let mut branches = Vec::new();
        loop {
            let condition = self.commands(&["then"])?;
            self.expect("then")?;
            branches.push((condition, self.commands(&["elif", "else", "fi"])?));
            match self.plain_word() {
                "elif" => self.at += "elif".len(),
                "else" => return Ok(Command::If(branches, self.body("else", "fi")?)),
                _ => {
                    self.expect("fi")?;
                    return Ok(Command::If(branches, Script::new()));
                }
            }
        }
    }

    fn parse_for(&mut self) -> Result<Command> {
        self.at += "for".len();
        let name = self.name()?;
        self.expect("in")?;
        let words = self.words()?;
        Ok(Command::For { name, words, body: self.body("do", "done")? })
    }

    /// The commands between the words `first` and `last`.
    fn body(&mut self, first: &str, last: &str) -> Result<Script> {
        self.expect(first)?;
        let body = self.commands(&[last])?;
        self.expect(last)?;
        Ok(body)
    }

    fn name(&mut self) -> Result<String> {
        self.skip_blanks();
        let word = self.plain_word();
        if word.is_empty() {
            bail!("line {}: a name is missing", self.line());
        }
        self.at += word.len();
        Ok(word.to_owned())
    }

    fn simple(&mut self) -> Result<Command> {
        let words = self.words()?;
        if words.is_empty() {
            bail!("line {}: a command is missing", self.line());
        }
        Ok(Command::Simple(words))
    }

    /// Words up to the end of the command.
    fn words(&mut self) -> Result<Vec<Word>> {
        let mut words = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some('\n' | ';' | '}') => return Ok(words),
                Some('{') => words.push(vec![Piece::Block(self.block()?)]),
                Some(letter @ ('|' | '&' | '<' | '>')) => bail!("line {}: `{letter}` is not read", self.line()),
                Some('#') => return Ok(words),
                Some(_) => words.push(self.word()?),
            }
        }
    }

    /// What stands between the braces here, as it stands.
    fn block(&mut self) -> Result<String> {
        self.at += 1;
        let start = self.at;
        self.commands(&[])?;
        let end = self.at;
        if self.next() != Some('}') {
            bail!("line {}: the block does not end", self.line_of(start));
        }
        Ok(self.text[start..end].to_owned())
    }

    fn word(&mut self) -> Result<Word> {
        let mut word = Word::new();
        let mut text = String::new();
        let flush = |text: &mut String, word: &mut Word| {
            if !text.is_empty() {
                word.push(Piece::Text(std::mem::take(text)));
            }
        };
        while let Some(letter) = self.peek().filter(|letter| !ENDS.contains(letter)) {
            match letter {
                '\'' => {
                    flush(&mut text, &mut word);
                    let Some(end) = self.rest()[1..].find('\'') else { bail!("line {}: a quote does not end", self.line()) };
                    word.push(Piece::Quoted(self.rest()[1..=end].to_owned()));
                    self.at += end + 2;
                }
                '"' => {
                    flush(&mut text, &mut word);
                    self.at += 1;
                    self.double_quoted(&mut word)?;
                }
                '$' => {
                    flush(&mut text, &mut word);
                    word.push(self.variable(false)?);
                }
                '\\' => {
                    self.at += 1;
                    // A line feed behind it continues the line.
                    text.extend(self.next().filter(|letter| *letter != '\n'));
                }
                _ => text.extend(self.next()),
            }
        }
        flush(&mut text, &mut word);
        Ok(word)
    }

    /// The rest of a text in double quotes.
    fn double_quoted(&mut self, word: &mut Word) -> Result<()> {
        let (start, mut text) = (self.at, String::new());
        loop {
            match self.peek() {
                None => bail!("line {}: a quote does not end", self.line_of(start)),
                Some('"') => {
                    self.at += 1;
                    word.push(Piece::Quoted(text));
                    return Ok(());
                }
                Some('$') => {
                    word.push(Piece::Quoted(std::mem::take(&mut text)));
                    word.push(self.variable(true)?);
                }
                Some('\\') => {
                    self.at += 1;
                    match self.next() {
                        Some(letter @ ('$' | '\\' | '"')) => text.push(letter),
                        Some('\n') => {}
                        Some(letter) => text.extend(['\\', letter]),
                        None => {}
                    }
                }
                Some(_) => text.extend(self.next()),
            }
        }
    }

    /// The variable at this place, which begins with `$`.
    fn variable(&mut self, quoted: bool) -> Result<Piece> {
        self.at += 1;
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let rest = self.rest();
        let (name, used) = if let Some(rest) = rest.strip_prefix('{') {
            let Some(end) = rest.find('}') else { bail!("line {}: `${{` does not end", self.line()) };
            (&rest[..end], end + 2)
        } else if rest.starts_with(['#', '?', '@', '*']) {
            (&rest[..1], 1)
        } else {
            let first_is_digit = rest.starts_with(|letter: char| letter.is_ascii_digit());
            let end = rest.find(|letter: char| if first_is_digit { !letter.is_ascii_digit() } else { !is_name(letter) });
            let end = end.unwrap_or(rest.len());
            (&rest[..end], end)
        };
        if name.is_empty() {
            bail!("line {}: a `$` without the name of a variable is not read", self.line());
        }
        self.at += used;
        Ok(Piece::Variable { name: name.to_owned(), quoted })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn simple(text: &str) -> Vec<Word> {
        match parse(text).unwrap().as_slice() {
            [Command::Simple(words)] => words.clone(),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn words_have_quotes_variables_and_blocks() {
        let text = |text: &str| Piece::Text(text.into());
        let quoted = |text: &str| Piece::Quoted(text.into());
        let variable = |name: &str, quoted| Piece::Variable { name: name.into(), quoted };
        assert_eq!(simple("set x=\"a $b\" # c"), [vec![text("set")], vec![text("x="), quoted("a "), variable("b", true), quoted("")]]);
        assert_eq!(
            simple("a ${1}_TRY$c'd e'\\ f"),
            [vec![text("a")], vec![variable("1", false), text("_TRY"), variable("c", false), quoted("d e"), text(" f")]]
        );
        assert_eq!(
            simple("menuentry \"\" {\n  boot\n}"),
            [vec![text("menuentry")], vec![quoted("")], vec![Piece::Block("\n  boot\n".into())]]
        );
        assert_eq!(simple("a \\\n b"), [vec![text("a")], vec![text("b")]]);
    }

    #[test]
    fn commands_nest() {
        let script = parse("if a; then b\nelif c; then\n for x in 1 $y; do d; done\nelse function f { e }\nfi").unwrap();
        let [Command::If(branches, otherwise)] = script.as_slice() else { unreachable!("{script:?}") };
        assert_eq!(branches.len(), 2);
        assert!(matches!(branches[1].1.as_slice(), [Command::For { name, words, .. }] if name == "x" && words.len() == 2));
        assert!(matches!(otherwise.as_slice(), [Command::Function { name, body }] if name == "f" && body.len() == 1));
        assert!(matches!(parse("while a; do b; done").unwrap().as_slice(), [Command::While { until: false, .. }]));
    }

    #[test]
    fn what_is_not_read_is_an_error_with_its_line() {
        for (text, said) in [
            ("a\nb | c", "line 2: `|` is not read"),
            ("if a; then b", "line 1: `fi` is missing"),
            ("a }", "line 1: `}` is out of place"),
            ("a 'b", "line 1: a quote does not end"),
            ("a \"b", "line 1: a quote does not end"),
            ("a $\"b\"", "line 1: a `$` without the name of a variable is not read"),
            ("a ${b", "line 1: `${` does not end"),
            ("function f\na", "line 2: the function `f` has no body"),
            ("menuentry {\na", "line 1: the block does not end"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), said, "{text}");
        }
        assert!(parse(&"if ".repeat(100)).unwrap_err().to_string().contains("more than 32 commands are in each other"));
    }
}
