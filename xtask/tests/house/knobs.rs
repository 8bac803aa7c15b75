//! A knob that is offered has an effect: something outside of the declarations reads its field. Which tree and engine read it is checked by
//! `xtask/src/cli/idle.rs`.

use super::{source::Source, tree};
use std::collections::BTreeSet;

/// The names and the fields of the knobs that `source` declares: `#[arg(id = "HV", …)] pub hv: String`.
fn declared(source: &Source) -> Vec<(String, String)> {
    let mut knobs = Vec::new();
    for (index, _) in source.program().filter(|(_, token)| token.is_ident("id")) {
        let id = source.at(index + 2).filter(|next| next.is_string() && source.at(index + 1).is_some_and(|equals| equals.is('=')));
        let Some(super::source::Kind::Literal(id)) = id.map(|id| &id.kind) else { continue };
        let name = id.trim_matches('"');
        let field = (index..).map_while(|at| source.at(at)).skip_while(|word| !word.is_ident("pub")).nth(1);
        if let Some(field) = field.and_then(|field| field.ident()).filter(|_| name.starts_with(|c: char| c.is_ascii_uppercase())) {
            knobs.push((name.to_owned(), field.to_owned()));
        }
    }
    knobs
}

/// The fields that a program reads or takes out of a struct: `.hv`, `hv,` and `hv:` in a pattern.
fn read(source: &Source) -> BTreeSet<String> {
    let is_field = |index: usize| {
        let at = |index: usize| source.at(index);
        index.checked_sub(1).and_then(at).is_some_and(|before| before.is('.') || before.is(',') || before.is_open('{'))
    };
    source.program().filter(|(index, _)| is_field(*index)).filter_map(|(_, token)| token.ident().map(str::to_owned)).collect()
}

/// The knobs whose fields no file outside of their declarations reads.
fn unread(sources: &[Source]) -> Vec<String> {
    let is_declaration = |source: &Source| source.name.starts_with("tools/knobs/");
    let read: BTreeSet<String> = sources.iter().filter(|source| !is_declaration(source)).flat_map(read).collect();
    let knobs = sources.iter().filter(|source| is_declaration(source)).flat_map(declared);
    knobs.filter(|(_, field)| !read.contains(field)).map(|(name, field)| format!("{name}: nothing reads the field `{field}`")).collect()
}

#[test]
fn every_knob_is_read() {
    let knobs: usize =
        tree::sources().iter().filter(|source| source.name.starts_with("tools/knobs/")).map(|source| declared(source).len()).sum();
    assert!(knobs > 70, "{knobs} knobs");
    super::none(unread(tree::sources()));
}

#[test]
fn a_knob_that_nothing_reads_is_caught() {
    let knobs = |more: &str| {
        let declaration =
            "struct A { #[arg(id = \"HV\", long = \"hv\")] pub hv: String, #[arg(id = \"TPM\", default_value = \"n\")] pub tpm: bool }";
        unread(&[Source::new("tools/knobs/src/image.rs", declaration), Source::new("xtask/src/a.rs", more)])
    };
    assert_eq!(knobs("fn f(a: A) { a.hv.len(); if a.tpm {} }"), Vec::<String>::new());
    assert_eq!(knobs("fn f(A { hv, .. }: A) { let tpm = hv; }").len(), 1);
    assert_eq!(knobs("#[cfg(test)] mod tests { fn f(a: A) { a.tpm; } } fn f(a: A) { a.hv; }").len(), 1);
}
