//! A test of an error asks which error it is: a bare `is_err()` also passes when another error hides the one that the test is about.

use super::{
    source::{Kind, Source, Token},
    tree,
};

/// Rule: no test is content with any error.
fn any_error(source: &Source) -> Vec<String> {
    let mut hits = Vec::new();
    // Where the assertion that we are in ends.
    let mut end = 0;
    for (index, token) in source.tokens.iter().enumerate().filter(|(_, token)| token.test) {
        let Some(word) = token.ident() else { continue };
        let next = |after: usize| source.at(index + after);
        if word.starts_with("assert")
            && next(1).is_some_and(|next| next.is('!'))
            && let Some(Kind::Open(_, close)) = next(2).map(|next| &next.kind)
        {
            end = *close;
        }
        let is_method = index > 0 && source.tokens[index - 1].is('.');
        let why = match word {
            "is_err" if is_method && index < end => "`is_err()` passes with any error",
            "is_ok" if is_method && index < end && is_negated(source, index) => "`!….is_ok()` passes with any error",
            "Err" if index < end && is_any(source, index) => "`Err(_)` passes with any error",
            "unwrap_err" | "expect_err" if is_method && is_dropped(source, index) => "nobody looks at this error",
            "should_panic" if !next(1).is_some_and(|next| next.is_open('(')) => "`should_panic` without `expected` passes with any panic",
            _ => continue,
        };
        hits.push(source.hit(token.line, why));
    }
    hits
}

/// Whether the condition with the call at `index` begins with `!`: right behind the assertion's bracket, `&&` or `||`.
fn is_negated(source: &Source, index: usize) -> bool {
    let (mut at, mut depth) = (index, 0);
    while at > 0 {
        at -= 1;
        match &source.tokens[at].kind {
            Kind::Close(_) => depth += 1,
            Kind::Open(..) if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            // `!` behind a word is a macro's.
            Kind::Punct('!') => return source.tokens[at - 1].ident().is_none_or(|word| ["if", "match", "return"].contains(&word)),
            Kind::Open(..) | Kind::Punct(',' | ';' | '&' | '|' | '=') => return false,
            _ => {}
        }
    }
    false
}

/// Whether `(_)` follows, without a guard.
fn is_any(source: &Source, index: usize) -> bool {
    let is = |after: usize, test: &dyn Fn(&Token) -> bool| source.at(index + after).is_some_and(test);
    is(1, &|token| token.is_open('(')) && is(2, &|token| token.is_ident("_") || token.is('_')) && !is(4, &|token| token.is_ident("if"))
}

/// Whether the error of the call at `index` goes nowhere: the statement ends behind it, and gives it no name.
fn is_dropped(source: &Source, index: usize) -> bool {
    let Some(Kind::Open('(', close)) = source.at(index + 1).map(|next| &next.kind) else { return false };
    if !source.at(close + 1).is_some_and(|next| next.is(';')) {
        return false;
    }
    let (mut at, mut depth) = (index, 0);
    while at > 0 {
        at -= 1;
        match &source.tokens[at].kind {
            Kind::Close('}') if depth == 0 => break,
            Kind::Close(_) => depth += 1,
            Kind::Open(..) if depth == 0 => break,
            Kind::Open(..) => depth -= 1,
            Kind::Punct(';') if depth == 0 => break,
            // Of `let x =`, `x =` and `|x|`, but not of `let _ =`.
            Kind::Punct('=') if depth == 0 => return source.tokens[at - 1].is('_') || source.tokens[at - 1].is_ident("_"),
            Kind::Punct('|') if depth == 0 => return false,
            Kind::Ident(word) if depth == 0 && word == "return" => return false,
            _ => {}
        }
    }
    true
}

#[test]
fn tests_ask_which_error_it_is() {
    super::none(tree::sources().iter().flat_map(any_error));
}

#[test]
fn a_test_that_any_error_passes_is_caught() {
    let hits = |text: &str| any_error(&Source::new("tools/x/tests/y.rs", text)).len();
    for text in [
        "fn f() { assert!(parse(\"x\").is_err()); }",
        "fn f() { assert!(a && parse(\"x\").is_err(), \"{x}\"); }",
        "fn f() { assert_eq!(parse(x).is_err(), y); }",
        "fn f() { assert!(!parse(\"x\").is_ok()); }",
        "fn f() { assert!(a == b && !parse(c, d).is_ok()); }",
        "fn f() { assert!(matches!(parse(x), Err(_))); }",
        "fn f() { let x = 1; parse(x).unwrap_err(); }",
        "fn f() { if x { y(); } parse(|a| a = 2).expect_err(\"no\"); }",
        "fn f() { let _ = parse(x).unwrap_err(); }",
        "#[test] #[should_panic] fn f() {}",
    ] {
        assert_eq!(hits(text), 1, "{text}");
        let inside = format!("fn g() {{}} #[cfg(test)] mod tests {{ {text} }} fn h() {{}}");
        assert_eq!(any_error(&Source::new("tools/x/src/y.rs", &inside)).len(), 1, "{text}");
        assert_eq!(any_error(&Source::new("tools/x/src/y.rs", text)).len(), 0, "it is in the program: {text}");
    }
    for text in [
        "fn f() { let error = parse(x).unwrap_err(); assert_eq!(error.to_string(), \"y\"); }",
        "fn f() { assert_eq!(parse(x).unwrap_err().to_string(), \"y\"); let e = |x| parse(x).unwrap_err(); }",
        "fn f() { assert!(parse(x).is_err_and(|error| error.contains(\"y\"))); }",
        "fn f() { if Command::new(\"x\").output().is_err() { return; } assert!(true); }",
        "fn f() { assert!(parse(x).is_ok()); assert!(!x && y.is_ok()); assert!(vec![1].is_ok()); }",
        "fn f() { match x { Ok(y) => y, Err(_) => return } }",
        "fn f() -> E { return parse(x).unwrap_err(); }",
        "// assert!(x.is_err())\nfn f() { let a = \"assert!(x.is_err())\"; }",
        "#[test] #[should_panic(expected = \"no\")] fn f() {}",
    ] {
        assert_eq!(hits(text), 0, "{text}");
    }
}
