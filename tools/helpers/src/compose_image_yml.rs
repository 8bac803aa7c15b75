//! `compose-image-yml`: applies an image template's patch, writes the image's version into it, and for a development version replaces
//! pillar's image by its development image.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{artifact::write_atomically, display::short};
use plan::PatchLanguage;
use std::path::{Path, PathBuf};
use ymlpatch::Program;

const PUT_VERSION: &str = r#"(.files[]? | select(.contents? == "EVE_VERSION")).contents |= $version"#;
const USE_DEV: &str = r#"((.onboot[]?, .services[]?) | select(.image? == "PILLAR_TAG")).image |= "PILLAR_DEV_TAG""#;
/// The fewest digits of a commit's id in a version.
const ID_DIGITS: usize = 8;

/// Composes the yml of `template` for the full image `version`, such as `0.0.0-main-1234abcd-kvm-amd64`. Writes it to `out`, or prints it.
pub fn compose_image_yml(ctx: &Ctx, template: &Path, out: Option<&Path>, version: &str) -> Result<()> {
    let text = std::fs::read_to_string(template).with_context(|| format!("cannot read the template `{}`", template.display()))?;
    let patch = out.and_then(|out| patch_of(template, out));
    if ctx.globals.dry_run {
        let out = out.unwrap_or(Path::new("standard output"));
        let patched = patch.map_or_else(String::new, |patch| format!(" changed by {}", short(&patch, &ctx.root)));
        println!("write {}: {}{patched}", short(out, &ctx.root), short(template, &ctx.root));
        return Ok(());
    }
    let composed = compose(&text, patch.as_deref(), ctx.profile.templates.patch_language, version)
        .with_context(|| format!("cannot compose `{}`", template.display()))?;
    match out {
        Some(out) => write_atomically(out, composed.as_bytes()),
        None => {
            print!("{composed}");
            Ok(())
        }
    }
}

/// The jq program that changes the template: `OUT.yq`, or the file of that name beside the template.
fn patch_of(template: &Path, out: &Path) -> Option<PathBuf> {
    let name = format!("{}.yq", out.file_name()?.to_string_lossy());
    [out.with_file_name(&name), template.with_file_name(&name)].into_iter().find(|path| path.is_file())
}

fn compose(text: &str, patch: Option<&Path>, language: PatchLanguage, version: &str) -> Result<String> {
    let mut text = text.to_owned();
    if let Some(patch) = patch {
        text = checkout::patch_template(&text, patch, language)?;
    }
    text = Program::parse(PUT_VERSION, "the version's place")?.apply(&text, &[("version", version)])?;
    if is_dev(version) {
        text = Program::parse(USE_DEV, "the development image")?.apply(&text, &[])?;
    }
    Ok(text)
}

/// Whether a full version is that of a development build: the word `dev` comes directly after the commit's id and the date of
/// uncommitted changes. `dev` elsewhere may be part of a branch's or hypervisor's name. A release has no commit id; there, `dev`
/// counts anywhere before the hypervisor and the architecture.
fn is_dev(version: &str) -> bool {
    let words: Vec<&str> = version.split('-').collect();
    let is_id = |word: &&str| word.len() >= ID_DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    match words.iter().rposition(is_id) {
        Some(id) => {
            let mut rest = &words[id + 1..];
            if let ["dirty", _, _, _, after @ ..] = rest {
                rest = after;
            }
            rest.first() == Some(&"dev")
        }
        // The last two words are hypervisor and architecture.
        None => words[..words.len().saturating_sub(2)].contains(&"dev"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "services:\n  - name: pillar\n    image: PILLAR_TAG # the agent\n  - {name: log, image: LOG_TAG}\nonboot:\n  - {name: a, image: PILLAR_TAG}\nfiles:\n  - {path: v, contents: EVE_VERSION}\n  - {path: w}\n";

    #[test]
    fn dev_counts_only_in_its_place() {
        for (version, dev) in [
            ("0.0.0-master-bcf06185-kvm-amd64", false),
            ("0.0.0-master-bcf06185-dev-kvm-amd64", true),
            ("0.0.0-master-bcf06185-dirty-2023-05-05.19.54-dev-kvm-amd64", true),
            ("0.0.0-master-bcf06185-dirty-2023-05-05.19.54-kvm-amd64", false),
            ("0.0.0-dev-bcf06185-kvm-amd64", false),
            ("0.0.0-deadbeef-dev-bcf06185-xen-amd64", false),
            ("0.0.0-master-bcf06185-kvm-dev-amd64", false),
            ("0.0.0-master-bcf061859a-dev-tools-kvm-arm64", true),
            ("10.1.0-dev-kvm-amd64", true),
            ("10.1.0-lts-kvm-amd64", false),
            ("10.1.0-dev-amd64", false),
        ] {
            assert_eq!(is_dev(version), dev, "{version}");
        }
    }

    #[test]
    fn a_patch_is_found_beside_the_result_or_the_template() {
        let folder = tempfile::tempdir().expect("folder");
        let (template, out) = (folder.path().join("a.yml.in"), folder.path().join("out/a-xen.yml.in"));
        std::fs::write(&template, TEMPLATE).expect("write");
        assert_eq!(patch_of(&template, &out), None);
        let patch = folder.path().join("a-xen.yml.in.yq");
        std::fs::write(&patch, "del(.services[] | select(.name == \"log\"))").expect("write");
        assert_eq!(patch_of(&template, &out), Some(patch.clone()));
        let composed = compose(TEMPLATE, Some(&patch), PatchLanguage::Jq, "0.0.0-main-12345678-dev-xen-amd64").expect("composed");
        assert_eq!(
            composed,
            "services:\n  - name: pillar\n    image: PILLAR_DEV_TAG\nonboot:\n  - name: a\n    image: PILLAR_DEV_TAG\nfiles:\n  - path: v\n    contents: '0.0.0-main-12345678-dev-xen-amd64'\n  - path: w\n"
        );
        std::fs::write(&patch, "del(.services[] |)").expect("write");
        let error = format!("{:#}", compose(TEMPLATE, Some(&patch), PatchLanguage::Jq, "1").expect_err("refused"));
        assert!(error.contains("a-xen.yml.in.yq:1:18: `)` cannot begin an expression"), "{error}");
    }
}
