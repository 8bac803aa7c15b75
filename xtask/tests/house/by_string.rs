//! A knob or an argument is a field of a struct, not a string that the compiler cannot check.

use super::{known, ratchet, source::Source, tree};
use std::collections::BTreeMap;

/// Rule: how often a file's program asks for a knob or an argument by a string. The knobs themselves may.
pub fn by_string(source: &Source) -> usize {
    if source.name.starts_with("tools/knobs/") {
        return 0;
    }
    let asks = |index: usize, word: &str| {
        let method = index > 0 && source.tokens[index - 1].is('.');
        let string =
            source.at(index + 1).is_some_and(|next| next.is_open('(')) && source.at(index + 2).is_some_and(|next| next.is_string());
        method
            && match word {
                "get_one" | "get_flag" | "get_many" | "get_count" | "remove_one" | "remove_many" => true,
                "text" | "is_on" | "optional" => string,
                _ => false,
            }
    };
    source.program().filter(|(index, token)| token.ident().is_some_and(|word| asks(*index, word))).count()
}

#[test]
fn nothing_is_asked_for_by_a_string() {
    let counts: BTreeMap<String, usize> = tree::sources().iter().map(|source| (source.name.clone(), by_string(source))).collect();
    super::none(ratchet::complaints(&counts, 0, known::BY_STRING));
}

#[test]
fn what_is_asked_for_by_a_string_is_counted() {
    let count = |name: &str, text: &str| by_string(&Source::new(name, text));
    for text in [
        "fn f() { a.get_one::<String>(\"x\"); }",
        "fn f() { a\n.get_flag(NAME); }",
        "fn f() { knobs.text(\"HV\"); }",
        "fn f() { knobs.is_on( \"HV\"); }",
        "#[cfg(test)] mod tests {} fn f() { knobs.optional(\"HV\"); }",
    ] {
        assert_eq!(count("xtask/src/commands/x.rs", text), 1, "{text}");
        assert_eq!(count("tools/knobs/src/lib.rs", text), 0);
    }
    for text in [
        "fn f() { a.text(id, path); toml.get(\"x\"); a.optional(x); fn get_one() {} }",
        "// a.get_one(\"x\")\nconst A: &str = \".get_flag(\";",
        "#[cfg(test)] mod tests { fn f() { knobs.text(\"HV\"); } }",
    ] {
        assert_eq!(count("xtask/src/commands/x.rs", text), 0, "{text}");
    }
}
