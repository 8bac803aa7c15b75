//! The external crates: licences, duplicates and sources, by `deny.toml`, which cargo-deny reads too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

/// The only source of external crates.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Whether the SPDX expression `text` can be met with the licences of `allow`. Older crates write `/` for OR.
fn is_met(text: &str, allow: &BTreeSet<&str>) -> Result<bool, String> {
    let text = text.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let (met, rest) = any(&words, allow)?;
    if rest.is_empty() { Ok(met) } else { Err(format!("`{}` is left over", rest.join(" "))) }
}

/// `a OR b`; the words behind it.
fn any<'w>(words: &'w [&'w str], allow: &BTreeSet<&str>) -> Result<(bool, &'w [&'w str]), String> {
    let (mut met, mut rest) = all(words, allow)?;
    while let Some((&"OR", after)) = rest.split_first() {
        let (other, behind) = all(after, allow)?;
        (met, rest) = (met | other, behind);
    }
    Ok((met, rest))
}

/// `a AND b`, which binds closer; the words behind it.
fn all<'w>(words: &'w [&'w str], allow: &BTreeSet<&str>) -> Result<(bool, &'w [&'w str]), String> {
    let (mut met, mut rest) = one(words, allow)?;
    while let Some((&"AND", after)) = rest.split_first() {
        let (other, behind) = one(after, allow)?;
        (met, rest) = (met & other, behind);
    }
    Ok((met, rest))
}

/// A licence, with its exception, or an expression in parentheses.
fn one<'w>(words: &'w [&'w str], allow: &BTreeSet<&str>) -> Result<(bool, &'w [&'w str]), String> {
    match words {
        ["(", inner @ ..] => match any(inner, allow)? {
            (met, [")", rest @ ..]) => Ok((met, rest)),
            _ => Err("a parenthesis is not closed".to_owned()),
        },
        [name, "WITH", exception, rest @ ..] => Ok((allow.contains(format!("{name} WITH {exception}").as_str()), rest)),
        [name, rest @ ..] if !["AND", "OR", ")"].contains(name) => Ok((allow.contains(name), rest)),
        _ => Err("a licence is missing".to_owned()),
    }
}

/// What is wrong with `packages` of `cargo metadata`.
fn findings(packages: &[serde_json::Value], allow: &BTreeSet<&str>) -> Vec<String> {
    let mut found = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        versions.entry(text("name")).or_default().push(text("version"));
        match is_met(text("license"), allow) {
            Ok(true) => {}
            Ok(false) => found.push(format!("{} {}: its licence `{}` is not in deny.toml", text("name"), text("version"), text("license"))),
            Err(why) => found.push(format!("{} {}: licence `{}`: {why}", text("name"), text("version"), text("license"))),
        }
        if package["source"].as_str().is_some_and(|source| source != REGISTRY) {
            found.push(format!("{} {}: it is from {}", text("name"), text("version"), text("source")));
        }
    }
    found.extend(
        versions.iter().filter(|(_, versions)| versions.len() > 1).map(|(name, versions)| format!("{name}: {}", versions.join(" and "))),
    );
    found
}

#[test]
fn crates_have_allowed_licences_one_version_and_one_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let deny: toml::Table = fs::read_to_string(root.join("deny.toml")).unwrap().parse().unwrap();
    let allow = deny["licenses"]["allow"].as_array().unwrap();
    let allow: BTreeSet<&str> = allow.iter().map(|name| name.as_str().unwrap()).collect();
    // Offline: what was compiled is here, but crates for other systems are not.
    let words = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = Command::new(env!("CARGO")).args(words).current_dir(&root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 80, "{}", packages.len());
    super::none(findings(packages, &allow));
    // A licence that no crate needs does not stay allowed.
    let needless = allow.iter().filter(|name| {
        let fewer: BTreeSet<&str> = allow.iter().copied().filter(|other| other != *name).collect();
        findings(packages, &fewer).is_empty()
    });
    assert_eq!(needless.collect::<Vec<_>>(), Vec::<&&str>::new(), "remove them from deny.toml");
}

#[test]
fn a_forbidden_crate_is_found() {
    let allow = BTreeSet::from(["MIT", "Zlib"]);
    for (text, met) in [
        ("MIT", true),
        ("GPL-3.0 OR MIT", true),
        ("Unlicense/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0 AND (MIT OR Zlib)", false),
        ("(GPL-3.0 OR MIT) AND Zlib", true),
        ("MIT WITH x-exception", false),
    ] {
        assert_eq!(is_met(text, &allow), Ok(met), "{text}");
    }
    for (text, why) in [("", "a licence is missing"), ("(MIT", "a parenthesis is not closed"), ("MIT Zlib", "`Zlib` is left over")] {
        assert_eq!(is_met(text, &allow), Err(why.to_owned()));
    }
    let package = |name: &str, version: &str, license: &str, source: &str| serde_json::json!({"name": name, "version": version, "license": license, "source": source});
    let list = [
        package("a", "1", "MIT", REGISTRY),
        package("a", "2", "MIT", REGISTRY),
        package("b", "1", "GPL-3.0", REGISTRY),
        package("c", "1", "MIT", "git+https://example.org"),
    ];
    assert_eq!(
        findings(&list, &allow),
        ["b 1: its licence `GPL-3.0` is not in deny.toml", "c 1: it is from git+https://example.org", "a: 1 and 2"]
    );
}
