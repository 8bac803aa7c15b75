//! `eve-gen-single-use-installer`: an installer out of a published lfedge/eve image, with one device's configuration in it.

use super::{absolute, option};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Tools, eve_image::EveImage};
use clap::{ArgMatches, Command};
use common::{artifact::Pending, error::usage};
use filetree::{Content, Node, Tree};
use std::path::{Path, PathBuf};

const USAGE: &str = "eve-gen-single-use-installer -t TAG -o OUT [-c CONTROLLER] [-s SERIAL] [-e CERT -k KEY] [-b CONFIG] [-f raw|iso], \
                     for example: cargo xtask eve-gen-single-use-installer -t 8.5.1-kvm-amd64 -s 123456789 -b config.pb -o installer.raw";

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
        .arg(option("c", "CONTROLLER", "the controller's domain name; else the image's own"))
        .arg(option("t", "TAG", "of lfedge/eve: VERSION-HV-ARCH"))
        .arg(option("s", "SERIAL", "the device's soft serial number; else it makes one up and writes it into INVENTORY"))
        .arg(option("e", "CERT", "the onboarding certificate, PEM; else the image's own"))
        .arg(option("k", "KEY", "its key, PEM"))
        .arg(option("b", "CONFIG", "a BootstrapConfig in protobuf's binary form"))
        .arg(option("o", "OUT", "the installer to write"))
        .arg(option("f", "FORMAT", "raw or iso [default: raw]"))
}

struct Request {
    tag: String,
    /// What the container is to do.
    work: String,
    out: PathBuf,
    /// Files that go over the image's configuration.
    files: Tree,
}

impl Request {
    fn parse(arguments: &ArgMatches) -> Result<Self> {
        let text = |letter: &str| arguments.get_one::<String>(letter).map(String::as_str).filter(|text| !text.is_empty());
        let (Some(tag), Some(out)) = (text("t"), text("o")) else { return Err(usage(format!("usage: {USAGE}"))) };
        let format = text("f").unwrap_or("raw");
        if !["raw", "iso"].contains(&format) {
            return Err(usage(format!("-f {format} is none of raw, iso\nhint: usage: {USAGE}")));
        }
        if text("e").is_some() != text("k").is_some() {
            return Err(usage(format!("a certificate and its key go together: -e CERT -k KEY\nhint: usage: {USAGE}")));
        }
        let mut files = Tree::new();
        for (letter, name) in [("c", "server"), ("s", "soft_serial")] {
            if let Some(text) = text(letter) {
                files.insert(name, Node::file(0o644, 0, Content::from(format!("{text}\n").into_bytes())))?;
            }
        }
        for (letter, name) in [("e", "onboard.cert.pem"), ("k", "onboard.key.pem"), ("b", "bootstrap-config.pb")] {
            if let Some(path) = text(letter).map(absolute).transpose()? {
                if !path.is_file() {
                    return Err(usage(format!("-{letter}: there is no file `{}`\nhint: usage: {USAGE}", path.display())));
                }
                files.insert(name, Node::file(0o644, 0, Content::of_path(&path)?))?;
            }
        }
        Ok(Self { tag: tag.to_owned(), work: format!("installer_{format}"), out: absolute(out)?, files })
    }

    fn tar(&self) -> Result<Option<Vec<u8>>> {
        let some = self.files.root.children().is_some_and(|files| !files.is_empty());
        some.then(|| filetree::write_tar(&self.files, Vec::new())).transpose()
    }
}

/// `eve-gen-single-use-installer`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let request = Request::parse(arguments)?;
    if ctx.globals.dry_run {
        return show(&ctx.tools, &request);
    }
    let image = EveImage::new(&ctx.tools, &request.tag);
    let tar = request.tar()?;
    let volume = tar.is_some().then(|| image.create_volume()?.stdout()).transpose()?;
    let made = make(&image, &request, tar, volume.as_deref());
    if let Some(volume) = &volume {
        clean(image.remove_volume(volume)?.stdout(), "volume", volume);
    }
    made?;
    println!("made: {}", request.out.display());
    Ok(())
}

fn make(image: &EveImage<'_>, request: &Request, tar: Option<Vec<u8>>, volume: Option<&str>) -> Result<()> {
    let container = image.create(volume, &request.work)?.stdout()?;
    let made = (|| {
        if let Some(tar) = tar {
            image.copy_in(&container, tar)?.run()?;
        }
        let pending = Pending::new(&request.out)?;
        let mut file = pending.create()?;
        image.start(&container)?.read_with(|stream| {
            let bytes = std::io::copy(stream, &mut file).with_context(|| format!("cannot write `{}`", request.out.display()))?;
            anyhow::ensure!(bytes > 0, "`docker start` ended well, but printed no installer");
            Ok(())
        })?;
        pending.commit()
    })();
    clean(image.remove(&container)?.stdout(), "container", &container);
    made
}

/// What is left over is said, and no failure of the installer.
fn clean(result: Result<String>, what: &str, name: &str) {
    if let Err(error) = result {
        eprintln!("warning: the {what} {name} is left over: {error:#}");
    }
}

/// The command lines, with words where docker tells a name.
fn show(tools: &Tools, request: &Request) -> Result<()> {
    let image = EveImage::new(tools, &request.tag);
    let tar = request.tar()?;
    let volume = tar.is_some().then_some("VOLUME");
    if volume.is_some() {
        println!("{}", image.create_volume()?);
    }
    println!("{}", image.create(volume, &request.work)?);
    if let Some(tar) = tar {
        println!("{}", image.copy_in("CONTAINER", tar)?);
    }
    println!("{} > {}", image.start("CONTAINER")?, quoted(&request.out));
    println!("{}", image.remove("CONTAINER")?);
    if let Some(volume) = volume {
        println!("{}", image.remove_volume(volume)?);
    }
    Ok(())
}

fn quoted(path: &Path) -> String {
    child::cmd::quote(path.as_os_str())
}
