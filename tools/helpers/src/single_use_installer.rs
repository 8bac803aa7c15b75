//! `eve-gen-single-use-installer`: makes an installer for one device from a published lfedge/eve image. Runs the image as a container,
//! which writes the installer; the device's configuration files replace the image's.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Tools, eve_image::EveImage};
use common::{artifact::Pending, error::usage};
use filetree::{Content, Node, Tree};
use std::path::PathBuf;

/// The kind of an installer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediumFormat {
    /// A disk image.
    Raw,
    /// An ISO.
    Iso,
}

/// The certificate with which a device registers.
pub struct Onboarding {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// The installer to make. Fields that are none keep the image's configuration.
pub struct Options {
    /// The tag of lfedge/eve: VERSION-HV-ARCH.
    pub tag: String,
    /// Its kind.
    pub format: MediumFormat,
    /// The installer to write.
    pub out: PathBuf,
    /// The controller's domain name.
    pub controller: Option<String>,
    /// The device's soft serial number; if none, the installer makes one up.
    pub serial: Option<String>,
    /// The onboarding certificate.
    pub onboarding: Option<Onboarding>,
    /// A BootstrapConfig message, protobuf binary.
    pub bootstrap: Option<PathBuf>,
}

struct Request {
    tag: String,
    /// The container's argument.
    work: &'static str,
    out: PathBuf,
    /// Files that replace files of the image's configuration.
    files: Tree,
}

impl Request {
    fn new(options: &Options) -> Result<Self> {
        let mut files = Tree::new();
        for (text, name) in [(&options.controller, "server"), (&options.serial, "soft_serial")] {
            if let Some(text) = text {
                files.insert(name, Node::file(0o644, 0, Content::from(format!("{text}\n").into_bytes())))?;
            }
        }
        let (certificate, key) = options.onboarding.as_ref().map(|pair| (&pair.certificate, &pair.key)).unzip();
        for (path, name) in
            [(certificate, "onboard.cert.pem"), (key, "onboard.key.pem"), (options.bootstrap.as_ref(), "bootstrap-config.pb")]
        {
            if let Some(path) = path {
                if !path.is_file() {
                    return Err(usage(format!("there is no file `{}`, needed for {name}", path.display())));
                }
                files.insert(name, Node::file(0o644, 0, Content::of_path(path)?))?;
            }
        }
        let work = match options.format {
            MediumFormat::Raw => "installer_raw",
            MediumFormat::Iso => "installer_iso",
        };
        Ok(Self { tag: options.tag.clone(), work, out: options.out.clone(), files })
    }

    fn tar(&self) -> Result<Option<Vec<u8>>> {
        let some = self.files.root.children().is_some_and(|files| !files.is_empty());
        some.then(|| filetree::write_tar(&self.files, Vec::new())).transpose()
    }
}

/// Makes the installer; with `--dry-run` prints docker's command lines.
pub fn make_single_use_installer(ctx: &Ctx, options: &Options) -> Result<()> {
    let request = Request::new(options)?;
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
    let container = image.create(volume, request.work)?.stdout()?;
    let made = (|| {
        if let Some(tar) = tar {
            image.copy_in(&container, tar)?.run()?;
        }
        let pending = Pending::new(&request.out)?;
        let mut file = pending.create()?;
        image.start(&container)?.read_with(|stream| {
            let bytes = std::io::copy(stream, &mut file).with_context(|| format!("cannot write `{}`", request.out.display()))?;
            anyhow::ensure!(bytes > 0, "`docker start` succeeded, but printed no installer");
            Ok(())
        })?;
        pending.commit()
    })();
    clean(image.remove(&container)?.stdout(), "container", &container);
    made
}

/// Warns if a volume or container was not removed: that does not harm the installer.
fn clean(result: Result<String>, what: &str, name: &str) {
    if let Err(error) = result {
        eprintln!("warning: the {what} {name} was not removed: {error:#}");
    }
}

/// Prints the command lines, with VOLUME and CONTAINER for the names that docker would return.
fn show(tools: &Tools, request: &Request) -> Result<()> {
    let image = EveImage::new(tools, &request.tag);
    let tar = request.tar()?;
    let volume = tar.is_some().then_some("VOLUME");
    if volume.is_some() {
        println!("{}", image.create_volume()?);
    }
    println!("{}", image.create(volume, request.work)?);
    if let Some(tar) = tar {
        println!("{}", image.copy_in("CONTAINER", tar)?);
    }
    println!("{} > {}", image.start("CONTAINER")?, child::cmd::quote(request.out.as_os_str()));
    println!("{}", image.remove("CONTAINER")?);
    if let Some(volume) = volume {
        println!("{}", image.remove_volume(volume)?);
    }
    Ok(())
}
