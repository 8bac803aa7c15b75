//! `new package NAME`: makes a package from a template, in C, Rust, Go or as a script, and says which line puts it into the image. The folder
//! appears when it is whole.

use anyhow::{Context as _, Result, bail};
use checkout::{Checkout, context::Ctx};
use common::{display::short, error::usage};
use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt as _, path::Path};

common::words! {
    /// The language of the package's program.
    Language { /// C, compiled by gcc.
        C = "c", /// Rust, compiled by rustc.
        Rust = "rust", /// Go.
        Go = "go", /// A script for busybox.
        Sh = "sh" }
}

common::words! {
    /// The list of the image's yml in which the package stands.
    Place { /// A container that runs all the time.
        Service = "services", /// A container that runs once at boot.
        Onboot = "onboot", /// Files of the root file system.
        Init = "init" }
}

/// The package to make.
#[derive(clap::Args)]
pub struct New {
    /// what to make: package
    #[arg(value_name = "WHAT", value_parser = ["package"])]
    what: String,
    /// its name: the folder below pkg/, the image eve-NAME, and the program /usr/bin/NAME
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    language: LanguageFlags,
}

/// Where the package runs.
#[derive(clap::Args)]
#[group(multiple = false)]
struct PlaceFlags {
    /// a container that runs all the time, and is started again when it ends [default]
    #[arg(long)]
    service: bool,
    /// a container that runs once at boot, and must succeed
    #[arg(long)]
    onboot: bool,
    /// files of the root file system itself
    #[arg(long)]
    init: bool,
}

/// The program's language.
#[derive(clap::Args)]
#[group(multiple = false)]
struct LanguageFlags {
    /// a program in C
    #[arg(long)]
    c: bool,
    /// a program in Rust, without crates
    #[arg(long)]
    rust: bool,
    /// a program in Go
    #[arg(long)]
    go: bool,
    /// a script for busybox [default]
    #[arg(long)]
    sh: bool,
}

impl New {
    fn place(&self) -> Place {
        match self.place {
            PlaceFlags { onboot: true, .. } => Place::Onboot,
            PlaceFlags { init: true, .. } => Place::Init,
            _ => Place::Service,
        }
    }

    fn language(&self) -> Language {
        match self.language {
            LanguageFlags { c: true, .. } => Language::C,
            LanguageFlags { rust: true, .. } => Language::Rust,
            LanguageFlags { go: true, .. } => Language::Go,
            _ => Language::Sh,
        }
    }
}

/// `new`.
pub fn run(ctx: &Ctx, new: New) -> Result<()> {
    let (place, language, name) = (new.place(), new.language(), new.name.as_str());
    let folder = &ctx.profile.packages.folder;
    if ctx.profile.packages.archive.is_none() {
        return Err(usage("this tree has no archive of Debian packages, from which the templates start"));
    }
    check_name(name)?;
    check_free(folder, name)?;
    let tree = ctx.tree()?;
    let files = files(&tree, name, place, language)?;
    let to = folder.join(name);
    let shown = short(&to, &ctx.root);
    if ctx.globals.dry_run {
        files.iter().for_each(|file| println!("write {shown}/{}", file.name));
        return Ok(());
    }
    write(folder, &to, &files)?;
    let template = short(&ctx.profile.templates.rootfs, &ctx.root);
    println!("made: {shown}");
    for file in &files {
        println!("  {shown}/{}", file.name);
    }
    println!("into the image: this line into the list `{place}` of {template}\n{}", entry(name, place));
    if place == Place::Init {
        println!("its files are then in the root file system, and nothing starts them; `ssh` lands in the container debug, so:");
        println!("  cargo xtask ssh -- nsenter -t 1 -m -- /usr/bin/{name}");
    }
    println!("then: cargo xtask pkg {name}; cargo xtask live");
    Ok(())
}

/// Names that are an image's, a word of a template and a module of Go alike.
fn check_name(name: &str) -> Result<()> {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let fine = name.len() <= 40 && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split('-').all(is_part);
    if fine {
        return Ok(());
    }
    Err(usage(format!(
        "`{name}` is not a name for a package: lower-case letters and digits in words with `-` between them, a letter first, 40 characters at \
         most\nhint: cargo xtask new package my-tool"
    )))
}

fn check_free(folder: &Path, name: &str) -> Result<()> {
    if folder.join(name).symlink_metadata().is_ok() {
        return Err(usage(format!("`{name}` is taken: there is a folder {}\nhint: choose another name", folder.join(name).display())));
    }
    Ok(())
}

/// A file of the new package.
struct File {
    name: String,
    text: String,
    mode: u32,
}

/// The files of the package.
fn files(tree: &Checkout, name: &str, place: Place, language: Language) -> Result<Vec<File>> {
    let once = place != Place::Service;
    let program = match language {
        Language::C if once => include_str!("templates/once.c"),
        Language::C => include_str!("templates/service.c"),
        Language::Rust if once => include_str!("templates/once.rs.txt"),
        Language::Rust => include_str!("templates/service.rs.txt"),
        Language::Go if once => include_str!("templates/once.go"),
        Language::Go => include_str!("templates/service.go"),
        Language::Sh if once => include_str!("templates/once.sh"),
        Language::Sh => include_str!("templates/service.sh"),
    };
    let file = |name: String, text: &str| File { text: text.replace("@name@", &name), name, mode: 0o644 };
    let named = |ending: &str, text: &str| File { name: format!("{name}{ending}"), text: text.replace("@name@", name), mode: 0o644 };
    let mut files = vec![file("build.yml".to_owned(), &build_yml(name, place, language))];
    files.push(File { name: "Dockerfile".to_owned(), text: dockerfile(tree, name, place, language)?, mode: 0o644 });
    match language {
        Language::C => files.push(named(".c", program)),
        Language::Rust => files.push(named(".rs", program)),
        Language::Sh => files.push(File { mode: 0o755, ..named("", program) }),
        Language::Go => {
            files.push(named(".go", program));
            files.push(File { name: "go.mod".to_owned(), text: include_str!("templates/go.mod.txt").replace("@name@", name), mode: 0o644 });
        }
    }
    Ok(files)
}

/// The Dockerfile, with the present tags of the archives that it starts from.
fn dockerfile(tree: &Checkout, name: &str, place: Place, language: Language) -> Result<String> {
    let template = match language {
        Language::C => include_str!("templates/c.Dockerfile"),
        Language::Rust => include_str!("templates/rust.Dockerfile"),
        Language::Go => include_str!("templates/go.Dockerfile"),
        Language::Sh if place == Place::Init => include_str!("templates/sh-init.Dockerfile"),
        Language::Sh => include_str!("templates/sh.Dockerfile"),
    };
    let mut text = template.replace("@name@", name);
    for archive in ["debian", "gcc", "cross-compilers", "golang", "rustc"] {
        let word = format!("@{archive}@");
        if text.contains(&word) {
            let reference = tree
                .package_reference(archive)
                .with_context(|| format!("a package in {language} starts from pkg/{archive}, whose tag is not known"))?;
            text = text.replace(&word, &reference);
        }
    }
    if place != Place::Init {
        writeln!(text, "# The place of the folder in build.yml: the root is read-only. Another one needs a line of its own.")?;
        writeln!(text, "WORKDIR /run/eve/{name}\nWORKDIR /")?;
    }
    text.push_str("ENTRYPOINT []\n");
    match place {
        Place::Init => text.push_str("CMD []\n"),
        Place::Service | Place::Onboot => writeln!(text, "CMD [\"/usr/bin/{name}\"]")?,
    }
    if text.contains('@') {
        bail!("a word of the template for {language} is not filled in");
    }
    Ok(text)
}

fn build_yml(name: &str, place: Place, language: Language) -> String {
    // pkg/rustc is not for riscv64, and a standard library for it must come from there.
    let arches: &[&str] = if language == Language::Rust { &["amd64", "arm64"] } else { &["amd64", "arm64", "riscv64"] };
    let mut text = format!("org: lfedge\nimage: eve-{name}\narches:\n");
    if language == Language::Rust {
        text.push_str("  # Not riscv64: Debian 12, from which pkg/rustc is, has no standard library of Rust for it.\n");
    }
    arches.iter().for_each(|arch| text.push_str(&format!("  - {arch}\n")));
    if place != Place::Init {
        text.push_str(&include_str!("templates/config.yml").replace("@name@", name));
    }
    text
}

/// The line of the image's yml for a package that is a service.
pub fn service_entry(name: &str) -> String {
    entry(name, Place::Service).trim_start().to_owned()
}

/// The line of the image's yml.
fn entry(name: &str, place: Place) -> String {
    let word = format!("{}_TAG", name.to_ascii_uppercase().replace('-', "_"));
    match place {
        Place::Init => format!("  - {word}"),
        Place::Onboot => format!("  - {{name: {name}, image: {word}}}"),
        Place::Service => format!("  - {{name: {name}, image: {word}, cgroupsPath: /eve/services/{name}}}"),
    }
}

/// Writes the files to a new folder beside the packages, which gets its name when it is whole.
fn write(folder: &Path, to: &Path, files: &[File]) -> Result<()> {
    let draft = tempfile::Builder::new().prefix(".new-package").tempdir_in(folder);
    let draft = draft.with_context(|| format!("cannot make a folder in `{}`", folder.display()))?;
    for File { name, text, mode } in files {
        let path = draft.path().join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(*mode)))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    fs::set_permissions(draft.path(), fs::Permissions::from_mode(0o755))
        .and_then(|()| fs::rename(draft.path(), to))
        .with_context(|| format!("cannot make the folder `{}`", to.display()))?;
    // It has another name now, so there is nothing to delete.
    let _ = draft.keep();
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_with_dashes() {
        for name in ["a", "my-tool", "wwan2", "x-1-y"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", "a--b", "A", "a_b", "1a", "../a", "a/b", "a b", "ä", ".a", &"a".repeat(41)] {
            let error = check_name(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{name}` is not a name for a package: ")) && error.contains("\nhint: "), "{error}");
        }
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| File { name: name.to_owned(), text: String::new(), mode: 0o644 };
        let to = folder.path().join("tool");
        let refused = |files: &[File], why: &str| {
            let error = write(folder.path(), &to, files).unwrap_err().to_string();
            assert!(error.starts_with(why), "{error}");
        };
        refused(&[file("Dockerfile"), file("no/such/folder")], "cannot write `");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        write(folder.path(), &to, &[file("Dockerfile")]).unwrap();
        assert!(to.join("Dockerfile").is_file());
        assert_eq!((fs::read_dir(folder.path()).unwrap().count(), fs::metadata(&to).unwrap().permissions().mode() & 0o777), (1, 0o755));
        // A folder that appeared meanwhile is kept, and nothing else is left.
        refused(&[file("other")], "cannot make the folder `");
        assert_eq!((fs::read_dir(folder.path()).unwrap().count(), to.join("other").exists()), (1, false));
    }
}
