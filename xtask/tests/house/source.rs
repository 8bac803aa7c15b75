//! A Rust file as its tokens, each known to be the program's or a test's. The lexer is the compiler's own grammar (proc-macro2), so
//! comments, strings and characters that look like code are never taken for code.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One token. Brackets are tokens of their own and know their partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Ident(String),
    Punct(char),
    /// A string, a character or a number, as it is written.
    Literal(String),
    /// `(`, `[` or `{`, and the index of what closes it.
    Open(char, usize),
    /// `)`, `]` or `}`.
    Close(char),
}

#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    /// Counted from 1.
    pub line: usize,
    /// Whether it belongs to an item under `#[cfg(test)]`, or to a file of tests.
    pub test: bool,
    /// Whether it belongs to an item under `#[cfg(target_os = "linux")]`.
    pub linux: bool,
}

impl Token {
    pub fn is(&self, punct: char) -> bool {
        self.kind == Kind::Punct(punct)
    }

    pub fn is_ident(&self, word: &str) -> bool {
        self.ident() == Some(word)
    }

    pub fn ident(&self) -> Option<&str> {
        if let Kind::Ident(word) = &self.kind { Some(word) } else { None }
    }

    pub fn is_open(&self, bracket: char) -> bool {
        matches!(self.kind, Kind::Open(found, _) if found == bracket)
    }

    pub fn is_string(&self) -> bool {
        matches!(&self.kind, Kind::Literal(text) if text.ends_with('"') || text.ends_with("\"#"))
    }
}

/// A file of the repository.
pub struct Source {
    /// Its path from the repository's root.
    pub name: String,
    pub lines: usize,
    pub tokens: Vec<Token>,
}

/// A path such as `std::process::Command`: as written in code, or as a `use` spells it out.
#[derive(Debug, PartialEq, Eq)]
pub struct Path {
    /// Its words; a glob's last one is `*`.
    pub words: Vec<String>,
    pub line: usize,
    /// Whether a `use` gives it another name (`use std::process as p`), which no later word shows.
    pub renamed: bool,
}

impl Path {
    /// Whether `left::right` is somewhere in it, or can be reached through it unseen: by a glob, or under another name.
    pub fn has(&self, left: &str, right: &str) -> bool {
        self.words.windows(2).any(|two| two[0] == left && (two[1] == right || two[1] == "*"))
            || self.renamed && self.words.last().is_some_and(|word| word == left)
    }

    pub fn first(&self) -> &str {
        &self.words[0]
    }
}

impl Source {
    /// Reads the text of the file `name`.
    pub fn new(name: &str, text: &str) -> Self {
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{name} is no Rust: {error}"));
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        if is_test_file(name) {
            tokens.iter_mut().for_each(|token| token.test = true);
        } else {
            mark(&mut tokens, is_cfg_test, |token| token.test = true);
        }
        mark(&mut tokens, is_cfg_linux, |token| token.linux = true);
        Self { name: name.to_owned(), lines: text.lines().count(), tokens }
    }

    /// The index and the token of all that is the program's.
    pub fn program(&self) -> impl Iterator<Item = (usize, &Token)> {
        self.tokens.iter().enumerate().filter(|(_, token)| !token.test)
    }

    /// `file:line: what`.
    pub fn hit(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.name)
    }

    /// The token at `index`; none behind the end.
    pub fn at(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index)
    }

    /// All paths of the program, those of one word left out except in a `use`.
    pub fn paths(&self) -> Vec<Path> {
        let (mut paths, mut index) = (Vec::new(), 0);
        while let Some(token) = self.at(index) {
            let is_use = token.is_ident("use") && !self.at(index + 1).is_some_and(|next| next.is('<'));
            if token.test || token.ident().is_none() {
                index += 1;
            } else if is_use {
                index = self.use_tree(index + 1, &[], &mut paths);
            } else {
                let (words, next) = self.words(index);
                if words.len() > 1 {
                    paths.push(Path { words, line: token.line, renamed: false });
                }
                index = next;
            }
        }
        paths
    }

    fn is_colons(&self, index: usize) -> bool {
        [index, index + 1].iter().all(|at| self.at(*at).is_some_and(|token| token.is(':')))
    }

    /// The words of the path that begins at `index`, and the index behind it.
    fn words(&self, mut index: usize) -> (Vec<String>, usize) {
        let mut words = Vec::new();
        while let Some(word) = self.at(index).and_then(Token::ident) {
            words.push(word.to_owned());
            index += 1;
            if !self.is_colons(index) || self.at(index + 2).and_then(Token::ident).is_none() {
                break;
            }
            index += 2;
        }
        (words, index)
    }

    /// Adds the paths of the `use` tree at `index` that hangs below `before`; gives the index behind it.
    fn use_tree(&self, mut index: usize, before: &[String], paths: &mut Vec<Path>) -> usize {
        while self.at(index).is_some_and(|token| token.is(':')) {
            index += 1;
        }
        let line = self.at(index).map_or(0, |token| token.line);
        let (words, mut index) = self.words(index);
        let mut path = [before, &words].concat();
        if self.is_colons(index) {
            index += 2;
        }
        match self.at(index).map(|token| &token.kind) {
            Some(Kind::Open('{', close)) => {
                index += 1;
                while index < *close {
                    index = self.use_tree(index, &path, paths).max(index + 1);
                    while self.at(index).is_some_and(|token| token.is(',')) {
                        index += 1;
                    }
                }
                return close + 1;
            }
            Some(Kind::Punct('*')) => {
                path.push("*".to_owned());
                index += 1;
            }
            _ => {}
        }
        let is_as = self.at(index).is_some_and(|token| token.is_ident("as"));
        // `as _` names a trait without a name.
        let renamed = is_as && !self.at(index + 1).is_some_and(|token| token.is_ident("_") || token.is('_'));
        if path.len() > 1 && path.last().is_some_and(|word| word == "self") {
            path.pop();
        }
        if !path.is_empty() {
            paths.push(Path { words: path, line, renamed });
        }
        if is_as { index + 2 } else { index }
    }
}

/// Whether a whole file is no part of the program. Inside `src/` its parent must say `#[cfg(test)]`: `shape::undeclared` checks that.
pub fn is_test_file(name: &str) -> bool {
    ["/tests/", "/benches/", "/examples/"].iter().any(|part| name.contains(part))
        || name.ends_with("/tests.rs")
        || name.ends_with("_tests.rs")
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let kind = match &tree {
            TokenTree::Ident(word) => Kind::Ident(word.to_string()),
            TokenTree::Punct(punct) => Kind::Punct(punct.as_char()),
            TokenTree::Literal(literal) => Kind::Literal(literal.to_string()),
            TokenTree::Group(group) => Kind::Open(brackets(group.delimiter()).0, 0),
        };
        tokens.push(Token { kind, line, test: false, linux: false });
        if let TokenTree::Group(group) = tree {
            let (at, (open, close)) = (tokens.len() - 1, brackets(group.delimiter()));
            flatten(group.stream(), tokens);
            tokens.push(Token { kind: Kind::Close(close), line: group.span_close().end().line, test: false, linux: false });
            tokens[at].kind = Kind::Open(open, tokens.len() - 1);
        }
    }
}

fn brackets(delimiter: Delimiter) -> (char, char) {
    match delimiter {
        Delimiter::Parenthesis => ('(', ')'),
        Delimiter::Bracket => ('[', ']'),
        Delimiter::Brace => ('{', '}'),
        Delimiter::None => (' ', ' '),
    }
}

/// Marks each item under an attribute that `is_meant` finds, wherever it stands.
fn mark(tokens: &mut [Token], is_meant: fn(&[Token], usize) -> bool, set: fn(&mut Token)) {
    let mut index = 0;
    // Where the groups that we are in end.
    let mut inside: Vec<usize> = Vec::new();
    while index < tokens.len() {
        inside.retain(|close| *close > index);
        if let Kind::Open(_, close) = tokens[index].kind {
            inside.push(close);
        }
        let is_inner = tokens[index].is('#') && tokens.get(index + 1).is_some_and(|token| token.is('!'));
        let bracket = index + 1 + usize::from(is_inner);
        if tokens[index].is('#') && is_meant(tokens, bracket) {
            let end = match tokens[bracket].kind {
                _ if is_inner => inside.last().copied().unwrap_or(tokens.len()),
                Kind::Open(_, close) => item_end(tokens, close + 1),
                _ => bracket,
            };
            tokens[index..end].iter_mut().for_each(set);
            index = end;
        } else {
            index += 1;
        }
    }
}

/// Whether the group at `at` is `[cfg(target_os = "linux")]`.
fn is_cfg_linux(tokens: &[Token], at: usize) -> bool {
    let words: Vec<&Kind> = tokens.iter().skip(at + 1).take(6).map(|token| &token.kind).collect();
    let word = |at: usize, word: &str| words.get(at).is_some_and(|kind| **kind == Kind::Ident(word.to_owned()));
    word(0, "cfg")
        && word(2, "target_os")
        && words.get(4).is_some_and(|kind| **kind == Kind::Literal("\"linux\"".to_owned()))
        && words.get(5).is_some_and(|kind| **kind == Kind::Close(')'))
}

/// Whether the group at `at` is `[cfg(test)]` or `[cfg(all(test, …))]`. `any(test, …)` and `not(test)` are in the program too.
fn is_cfg_test(tokens: &[Token], at: usize) -> bool {
    let word = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is_ident(word));
    let open = |at: usize, bracket: char| tokens.get(at).is_some_and(|token| token.is_open(bracket));
    if !(open(at, '[') && word(at + 1, "cfg") && open(at + 2, '(')) {
        return false;
    }
    let alone = |at: usize| tokens.get(at).is_some_and(|token| matches!(token.kind, Kind::Close(')')) || token.is(','));
    if word(at + 3, "all") && open(at + 4, '(') {
        let Kind::Open(_, close) = tokens[at + 4].kind else { return false };
        // Only a `test` of `all` itself, not one inside `not(…)`.
        let mut index = at + 5;
        while index < close {
            match tokens[index].kind {
                Kind::Open(_, close) => index = close,
                _ if word(index, "test") && alone(index + 1) && !tokens[index - 1].is('=') => return true,
                _ => {}
            }
            index += 1;
        }
        return false;
    }
    word(at + 3, "test") && alone(at + 4)
}

/// The index behind the item, statement, field or arm that begins at `index`, which may have more attributes. What ends too early is
/// taken for the program and seen by the rules; nothing ends too late.
fn item_end(tokens: &[Token], mut index: usize) -> usize {
    while tokens.get(index).is_some_and(|token| token.is('#')) {
        let Some(Kind::Open(_, close)) = tokens.get(index + 1).map(|token| token.kind.clone()) else { break };
        index = close + 1;
    }
    if tokens.get(index).is_some_and(|token| token.is_ident("pub")) {
        index += 1;
        if let Some(Kind::Open('(', close)) = tokens.get(index).map(|token| token.kind.clone()) {
            index = close + 1;
        }
    }
    let word = |at: usize| tokens.get(at).and_then(Token::ident).unwrap_or_default();
    let is_const_fn = word(index) == "const" && ["fn", "unsafe", "async", "extern"].contains(&word(index + 1));
    let by_semicolon = ["use", "let", "const", "static", "type"].contains(&word(index)) && !is_const_fn;
    let items = ["mod", "fn", "struct", "enum", "union", "impl", "trait", "macro_rules", "extern", "unsafe", "async"];
    let by_comma = !by_semicolon && !is_const_fn && !items.contains(&word(index));
    while let Some(token) = tokens.get(index) {
        match token.kind {
            Kind::Open('{', close) if !by_semicolon => return close + 1,
            Kind::Open(_, close) => index = close,
            Kind::Close(_) => return index,
            Kind::Punct(';') => return index + 1,
            Kind::Punct(',') if by_comma => return index + 1,
            _ => {}
        }
        index += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program_words(text: &str) -> Vec<String> {
        let source = Source::new("a/src/b.rs", text);
        source.program().filter_map(|(_, token)| token.ident().map(str::to_owned)).collect()
    }

    /// The planted violation of all rules at once: a rule that sees only what stands before the first test is blind.
    #[test]
    fn what_stands_behind_a_test_item_is_seen() {
        for item in [
            "#[cfg(test)] mod tests { fn f() { let _ = ('}', \"}\", r#\"}\"#); /* } */ } // }\n}",
            "#[cfg(test)] mod tests;",
            "#[cfg(test)] #[allow(dead_code)] pub(crate) fn f<A, B>(a: A) -> [B; 3] where A: Copy, { g() }",
            "#[cfg(all(test, unix))] const X: S = S { a: 1 };",
            "#[cfg(test)] use a::{b, c};",
            "#[cfg(test)]\nimpl<A, B> T<A, B> { }",
        ] {
            assert_eq!(program_words(&format!("fn one() {{}} {item} fn two() {{}}")), ["fn", "one", "fn", "two"], "{item}");
        }
        assert_eq!(program_words("struct S { #[cfg(test)] pub a: Map<u8>, b: u8 }"), ["struct", "S", "b", "u8"]);
        assert_eq!(program_words("fn f() { #[cfg(test)] self.a = b(); c() } fn g() {}"), ["fn", "f", "c", "fn", "g"]);
        assert_eq!(program_words("mod a { #![cfg(test)] fn x() {} } fn two() {}"), ["mod", "a", "fn", "two"]);
        assert_eq!(program_words("#![cfg(test)] fn x() {}"), Vec::<String>::new());
    }

    #[test]
    fn what_only_resembles_a_test_item_is_the_program() {
        for text in [
            "#[cfg(not(test))] fn one() {}",
            "#[cfg(any(test, unix))] fn one() {}",
            "#[cfg(all(unix, not(test)))] fn one() {}",
            "#[cfg(feature = \"test\")] fn one() {}",
            "// #[cfg(test)]\nfn one() {}",
            "const A: &str = \"#[cfg(test)]\"; fn one() {}",
        ] {
            assert!(program_words(text).contains(&"one".to_owned()), "{text}");
        }
    }

    #[test]
    fn a_use_is_spelled_out() {
        let text = "use std::{fs, process::{self as p, Command as C}, io::*}; use ::a::b; use c::T as _; fn f() { x::y::<u8>(); }";
        let source = Source::new("a.rs", text);
        let paths: Vec<_> = source.paths().into_iter().map(|path| (path.words.join("::"), path.renamed)).collect();
        let expected = [
            ("std::fs", false),
            ("std::process", true),
            ("std::process::Command", true),
            ("std::io::*", false),
            ("a::b", false),
            ("c::T", false),
            ("x::y", false),
        ];
        assert_eq!(paths, expected.map(|(path, renamed)| (path.to_owned(), renamed)));
    }
}
