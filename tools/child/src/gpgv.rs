//! gpgv: checks the signatures of a file against the keys in a keyring. It looks at no expiry of keys; the caller does.

use super::{Tool, Tools};
use anyhow::{Context as _, Result, bail};
use std::path::Path;

/// The first line of a file that holds its own signature.
const SIGNED: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";

/// A file with at least one good signature, and no wrong one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The signed text, and nothing else.
    pub text: Vec<u8>,
    /// Fingerprints of the primary keys whose signature is good.
    pub signers: Vec<String>,
}

/// Checks the file `signed`, whose signatures are in `signature` or else in the file itself, by the keys in the file `keyring`. Writes a
/// file beside `signed`. Signatures of other keys count for nothing.
pub fn verify(tools: &Tools, keyring: &Path, signed: &Path, signature: Option<&Path>) -> Result<Checked> {
    let out = signed.with_extension("text");
    let gpgv = tools.cmd(Tool::Gpgv)?.step("checking a signature").args(["--status-fd", "1", "--keyring"]).arg(keyring);
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()));
    let gpgv = match signature {
        Some(signature) => gpgv.arg(signature).arg(signed),
        None if !read(signed)?.starts_with(SIGNED) => bail!("it is not signed: it does not begin with a signed text"),
        None => gpgv.arg("--output").arg(&out).arg(signed),
    };
    // The exit code is 2 even if only one of several keys is unknown, so the status lines decide.
    let (lines, _) = gpgv.lines();
    let signers = parse(&lines)?;
    let text = read(if signature.is_some() { signed } else { &out })?;
    Ok(Checked { text, signers })
}

/// The fingerprints in the status lines of gpgv (GnuPG's doc/DETAILS), of good signatures.
fn parse(lines: &[String]) -> Result<Vec<String>> {
    let (mut good, mut texts, mut signers) = (false, 0, Vec::new());
    for words in lines.iter().filter_map(|line| line.strip_prefix("[GNUPG:] ")).map(|line| line.split(' ').collect::<Vec<_>>()) {
        match words[0] {
            "NEWSIG" => good = false,
            "GOODSIG" | "EXPKEYSIG" => good = true,
            "BADSIG" => bail!("the signature of {} is wrong: the file was changed after it was signed", words[2..].join(" ")),
            "ERROR" => bail!("gpgv cannot read it: {}", words[1..].join(" ")),
            "PLAINTEXT" => texts += 1,
            "VALIDSIG" if good => signers.extend(words.last().map(|word| (*word).to_owned())),
            _ => {}
        }
    }
    if texts > 1 {
        bail!("it holds several signed texts");
    }
    if signers.is_empty() {
        let said = lines.iter().filter(|line| !line.starts_with("[GNUPG:]")).cloned().collect::<Vec<_>>().join("\n| ");
        bail!("it has no good signature by a known key\n| {said}");
    }
    Ok(signers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{fs, path::PathBuf};

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/gpgv");
    const KEY: &str = "3552D716CF29C8977CF55A3CF41FE7191B5F9EF0";

    /// Checks the bytes by the real gpgv; none if it is missing.
    fn check(signed: &[u8], signature: Option<&[u8]>) -> Option<Result<Checked, String>> {
        let tools = Tools::new([("PATH".into(), "/usr/bin:/bin".into())], false, &|_| false);
        if tools.find(Tool::Gpgv).is_err() {
            skips::missing("gpgv", "gpgv");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| -> PathBuf {
            fs::write(folder.path().join(name), bytes).unwrap();
            folder.path().join(name)
        };
        let (signed, signature) = (put("signed", signed), signature.map(|bytes| put("signature", bytes)));
        let keyring = PathBuf::from(FIXTURES).join("key.gpg");
        Some(verify(&tools, &keyring, &signed, signature.as_deref()).map_err(|error| format!("{error:#}")))
    }

    fn fixture(name: &str) -> Vec<u8> {
        fs::read(PathBuf::from(FIXTURES).join(name)).unwrap()
    }

    #[test]
    fn a_text_is_what_is_signed_and_nothing_else() {
        let (text, inline, other, detached) = (fixture("Release"), fixture("InRelease"), fixture("Other"), fixture("Release.gpg"));
        let good = Checked { text: text.clone(), signers: vec![KEY.to_owned()] };
        let Some(checked) = check(&inline, None) else { return };
        // A line that begins with a dash is escaped in the signed file.
        assert_eq!(checked, Ok(good.clone()));
        assert_eq!(check(&text, Some(&detached)), Some(Ok(good.clone())));
        assert_eq!(check(&[&inline[..], b"Codename: evil\n"].concat(), None), Some(Ok(good)));
        let changed = String::from_utf8(inline.clone()).unwrap().replace("a dash", "b dash");
        for (what, signed, signature, message) in [
            ("changed", changed.as_bytes(), None, "the signature of A test <test@example.org> is wrong"),
            ("changed, detached", b"Codename: evil\n", Some(&detached[..]), "is wrong"),
            ("not signed", &text[..], None, "it is not signed"),
            ("no signature", &text[..], Some(&b"junk"[..]), "it has no good signature by a known key"),
            ("another key", &other[..], None, "it has no good signature by a known key"),
            ("text before", &[b"Codename: evil\n", &inline[..]].concat(), None, "it is not signed"),
            ("a text of another key before", &[&other[..], &inline[..]].concat(), None, "gpgv cannot read it"),
            ("two texts", &[&inline[..], &inline[..]].concat(), None, "gpgv cannot read it"),
        ] {
            let error = check(signed, signature).unwrap().expect_err(what);
            assert!(error.contains(message), "{what}: {error}");
        }
    }

    #[test]
    fn the_status_lines_decide() {
        let parse = |text: &str| parse(&text.lines().map(str::to_owned).collect::<Vec<_>>()).map_err(|error| error.to_string());
        let signature =
            |word: &str, fpr: &str| format!("[GNUPG:] NEWSIG\n[GNUPG:] {word} 12 Some One\n[GNUPG:] VALIDSIG 34 0 0 0 4 0 1 8 00 {fpr}\n");
        let unknown = "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 56 1 8 00 0 9\n[GNUPG:] NO_PUBKEY 56\n";
        assert_eq!(parse(&(signature("GOODSIG", "A") + unknown + &signature("EXPKEYSIG", "B"))).unwrap(), ["A", "B"]);
        for word in ["REVKEYSIG", "EXPSIG"] {
            assert!(parse(&signature(word, "A")).unwrap_err().starts_with("it has no good signature"), "{word}");
        }
        assert!(
            parse(&(signature("GOODSIG", "A") + "[GNUPG:] NEWSIG\n[GNUPG:] BADSIG 12 Some One\n"))
                .unwrap_err()
                .contains("Some One is wrong")
        );
        assert!(parse(&("[GNUPG:] PLAINTEXT 74 0 \n".repeat(2) + &signature("GOODSIG", "A"))).unwrap_err().contains("several"));
        assert!(parse("").unwrap_err().starts_with("it has no good signature"));
    }
}
