//! A stand-in for linuxkit in tests: its interface, with this workspace's crates and program behind it. It keeps to what the linuxkit
//! engine says: `version`, `pkg build`, `build`, `cache export --format filesystem`. `STANDIN_XTASK` names our program, `STANDIN_TREE`
//! a second clone of the tree, since the first is locked by the build that calls us.
#![allow(clippy::print_stdout, missing_docs)]

use anyhow::{Context as _, Result, bail};
use compose::{Images, Options, Yml};
use oci::Cache;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

/// Options by name, and the words that are none.
struct Words {
    options: BTreeMap<String, String>,
    rest: Vec<String>,
}

impl Words {
    fn parse(words: &[String], switches: &[&str]) -> Result<Self> {
        let (mut options, mut rest) = (BTreeMap::new(), Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                Some(name) if switches.contains(&name) => _ = options.insert(name.to_owned(), String::new()),
                Some(name) => {
                    let value = words.next().with_context(|| format!("--{name} wants a value"))?;
                    options.insert(name.to_owned(), value.clone());
                }
                None if word.starts_with('-') && word != "-" => bail!("unknown shorthand flag: {word}"),
                None => rest.push(word.clone()),
            }
        }
        Ok(Self { options, rest })
    }

    fn option(&self, name: &str) -> Result<&str> {
        self.options.get(name).map(String::as_str).with_context(|| format!("--{name} is missing"))
    }

    fn only(&self) -> Result<&str> {
        match self.rest.as_slice() {
            [one] => Ok(one),
            other => bail!("one word is wanted, not {other:?}"),
        }
    }
}

struct CachedImages<'c> {
    cache: &'c Cache,
    arch: &'c str,
}

impl Images for CachedImages<'_> {
    fn find(&self, reference: &str) -> Result<oci::Image> {
        self.cache.find_named(reference, self.arch)?.with_context(|| format!("{reference} is not in the cache"))
    }
}

fn cache() -> Result<Cache> {
    let folder = std::env::var("LINUXKIT_CACHE").context("LINUXKIT_CACHE is not set")?;
    Cache::open(Path::new(&folder))
}

/// `pkg build`: our native engine builds into the same cache; `--docker` hands the image to docker.
fn build_package(words: &[String]) -> Result<()> {
    let words = Words::parse(words, &["docker", "force", "pull"])?;
    let xtask = std::env::var("STANDIN_XTASK").context("STANDIN_XTASK is not set")?;
    let tree = std::env::var("STANDIN_TREE").context("STANDIN_TREE is not set")?;
    let name = Path::new(words.only()?).file_name().context("a package has a name")?.to_owned();
    let arch = words.option("platforms")?.trim_start_matches("linux/").to_owned();
    let run = |verb: &str| {
        let mut command = Command::new(&xtask);
        command.arg("--root").arg(&tree).args(["--engine", "native", verb]).arg(&name).arg(format!("ZARCH={arch}"));
        command
    };
    if !run("pkg").status()?.success() {
        bail!("the package does not build");
    }
    if words.options.contains_key("docker") {
        let reference = String::from_utf8(run("show-tag").output()?.stdout)?;
        let archive = std::env::temp_dir().join(format!("standin-{}.tar", std::process::id()));
        cache()?.export_docker_archive(reference.trim(), &arch, File::create(&archive)?)?;
        let loaded = Command::new("docker").args(["load", "-q", "-i"]).arg(&archive).status()?.success();
        std::fs::remove_file(&archive)?;
        if !loaded {
            bail!("docker does not take the image");
        }
    }
    Ok(())
}

fn build(words: &[String]) -> Result<()> {
    let words = Words::parse(words, &["docker"])?;
    let path = PathBuf::from(words.only()?);
    let yml = Yml::parse(&std::fs::read_to_string(&path)?, &path.display().to_string())?;
    let (cache, arch) = (cache()?, words.option("arch")?);
    let mut out = BufWriter::new(File::create(words.option("o")?)?);
    compose::compose(&yml, &CachedImages { cache: &cache, arch }, &Options { arch: arch.to_owned(), ..Options::default() }, &mut out)?;
    Ok(out.flush()?)
}

fn export(words: &[String]) -> Result<()> {
    let words = Words::parse(words, &[])?;
    if (words.option("format")?, words.option("outfile")?) != ("filesystem", "-") {
        bail!("the stand-in prints the files of an image, and nothing else");
    }
    let image = cache()?.find(words.only()?, words.option("arch")?)?.context("there is no such image in the cache")?;
    filetree::write_tar(&image.tree()?, BufWriter::new(io::stdout().lock()))?.flush()?;
    Ok(())
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let known: Vec<&str> = words.iter().map(String::as_str).take(2).collect();
    match known.as_slice() {
        ["version", ..] => println!("linuxkit version v1.2.0\ncommit: stand-in"),
        ["pkg", "build"] => build_package(&words[2..])?,
        ["build", ..] => build(&words[1..])?,
        ["cache", "export"] => export(&words[2..])?,
        _ => bail!("the stand-in has no `{}`", words.join(" ")),
    }
    Ok(())
}
