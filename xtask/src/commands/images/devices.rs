//! Verbs about one device: make its installer, read and set its configuration in adam, answer like its zboot.

use super::required;
use crate::commands::paths::absolute_path;
use anyhow::Result;
use checkout::context::Ctx;
use child::environment::Environment;
use clap::ValueEnum;
use common::error::usage;
use helpers::{
    adam::{self, AdamRequest},
    single_use_installer::{self, MediumFormat, Onboarding},
};
use std::path::PathBuf;

const INSTALLER: &str = "eve-gen-single-use-installer -t TAG -o OUT [-c CONTROLLER] [-s SERIAL] [-e CERT -k KEY] [-b CONFIG] [-f raw|iso], \
                         for example: cargo xtask eve-gen-single-use-installer -t 8.5.1-kvm-amd64 -s 123456789 -b config.pb -o installer.raw";
const ADAM: &str = "adam getconf|setconf FILE|logs|info [--uuid UUID], for example: cargo xtask adam setconf config.json";

/// The installer to make.
#[derive(clap::Args)]
pub struct SingleUseInstaller {
    /// the controller's domain name [default: the image's]
    #[arg(short = 'c')]
    controller: Option<String>,
    /// the tag of lfedge/eve: VERSION-HV-ARCH
    #[arg(short = 't')]
    tag: Option<String>,
    /// the device's soft serial number; without it the installer makes one up and writes it to the INVENTORY partition
    #[arg(short = 's')]
    serial: Option<String>,
    /// the onboarding certificate, PEM [default: the image's]
    #[arg(short = 'e', value_parser = path_or_empty)]
    cert: Option<PathBuf>,
    /// the certificate's key, PEM
    #[arg(short = 'k', value_parser = path_or_empty)]
    key: Option<PathBuf>,
    /// a BootstrapConfig message, protobuf binary
    #[arg(short = 'b', value_parser = path_or_empty)]
    config: Option<PathBuf>,
    /// the installer to write
    #[arg(short = 'o', value_parser = path_or_empty)]
    out: Option<PathBuf>,
    /// raw or iso
    #[arg(short = 'f', default_value = "raw", value_parser = installer_format)]
    format: MediumFormat,
}

impl SingleUseInstaller {
    /// The options. Empty words count as missing: other scripts call this one with them.
    fn options(self) -> Result<single_use_installer::Options> {
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        let path = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        let (tag, out) = (required(text(self.tag), INSTALLER)?, required(path(self.out), INSTALLER)?);
        let onboarding = match (path(self.cert), path(self.key)) {
            (Some(certificate), Some(key)) => Some(Onboarding { certificate, key }),
            (None, None) => None,
            _ => return Err(usage(format!("a certificate and its key go together: -e CERT -k KEY\nhint: usage: {INSTALLER}"))),
        };
        let (controller, serial) = (text(self.controller), text(self.serial));
        Ok(single_use_installer::Options { tag, format: self.format, out, controller, serial, onboarding, bootstrap: path(self.config) })
    }
}

/// `eve-gen-single-use-installer`.
pub fn make_single_use_installer(ctx: &Ctx, arguments: SingleUseInstaller) -> Result<()> {
    single_use_installer::make_single_use_installer(ctx, &arguments.options()?)
}

fn path_or_empty(text: &str) -> std::io::Result<PathBuf> {
    if text.is_empty() { Ok(PathBuf::new()) } else { absolute_path(text) }
}

fn installer_format(text: &str) -> Result<MediumFormat, &'static str> {
    match text {
        "raw" | "" => Ok(MediumFormat::Raw),
        "iso" => Ok(MediumFormat::Iso),
        _ => Err("it is none of raw, iso"),
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Getconf,
    Setconf,
    Logs,
    Info,
}

/// What to ask adam.
#[derive(clap::Args)]
pub struct Adam {
    /// what to print; setconf sets the device's configuration
    #[arg(value_name = "getconf|setconf|logs|info", hide_possible_values = true)]
    what: Option<What>,
    /// the file with the configuration, for setconf
    #[arg(value_parser = absolute_path)]
    file: Option<PathBuf>,
    /// the device, needed if adam knows several
    #[arg(long)]
    uuid: Option<String>,
}

/// `adam`.
pub fn ask_adam(ctx: &Ctx, Adam { what, file, uuid }: Adam) -> Result<()> {
    let request = match (what, file) {
        (Some(What::Setconf), Some(file)) => AdamRequest::SetConfig(file),
        (Some(What::Getconf), None) => AdamRequest::GetConfig,
        (Some(What::Logs), None) => AdamRequest::Logs,
        (Some(What::Info), None) => AdamRequest::Info,
        _ => return Err(usage(format!("usage: {ADAM}"))),
    };
    adam::ask_adam(ctx, &request, uuid)
}

/// Any words that zboot takes; all are ignored.
#[derive(clap::Args)]
pub struct FakeZboot {
    /// words for zboot
    #[arg(value_name = "WORD", num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<String>,
}

/// `fake-zboot`: prints the answer of a machine that runs from its first root file system.
pub fn fake_zboot(_: &Environment, _: FakeZboot) -> Result<()> {
    println!("IMGA");
    Ok(())
}
