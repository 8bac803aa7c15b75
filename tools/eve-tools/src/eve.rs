//! `eve`: the program of the image lfedge/eve, which makes the artifact that a word names from the parts in the image.

use crate::{Environment, input, output::Output};
use anyhow::{Context as _, Result, bail};
use eve_image::{EveParts, EveRequest, make};
use std::{
    io::{IsTerminal as _, Seek as _, copy, stdout},
    path::{Path, PathBuf},
};

/// The folders of the image.
const BITS: &str = "/bits";
const IN: &str = "/in";
const OUT: &str = "/out";
/// A file that may be mounted instead of [`OUT`].
const OUT_FILE: &str = "/out/f";

/// Where parts and configuration come from, and where the artifact goes.
#[derive(Default)]
struct Places {
    image: Option<PathBuf>,
    overrides: Option<PathBuf>,
    out: Option<PathBuf>,
}

impl Places {
    /// Takes `--image FILE`, `--in DIR` and `--out DIR` out of `args`. In a container all have their usual places.
    fn take(args: &[String]) -> Result<(Self, Vec<String>)> {
        let (mut places, mut rest) = (Self::default(), Vec::new());
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let place = match arg.as_str() {
                "--image" => &mut places.image,
                "--in" => &mut places.overrides,
                "--out" => &mut places.out,
                _ => {
                    rest.push(arg.clone());
                    continue;
                }
            };
            *place = Some(args.next().with_context(|| format!("{arg} needs a path"))?.into());
        }
        let usual = |path: &str| Some(PathBuf::from(path)).filter(|path| path.is_dir());
        places.overrides = places.overrides.or_else(|| usual(IN));
        Ok((places, rest))
    }

    /// The file to write; none for standard output.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let mounted = |path: &str| crate::output::is_mount_point(Path::new(path));
        match &self.out {
            Some(folder) => Some(folder.join(name)),
            None if mounted(OUT_FILE) => Some(OUT_FILE.into()),
            None if mounted(OUT) => Some(Path::new(OUT).join(name)),
            None => None,
        }
    }
}

pub fn make_artifact(args: &[String], environment: &Environment) -> Result<()> {
    let (places, args) = Places::take(args)?;
    let Some(request) = EveRequest::parse(&args)? else {
        println!("{}", eve_image::USAGE);
        return Ok(());
    };
    let temporary = input::temporary_folder(environment)?;
    let bits = match &places.image {
        Some(archive) => EveParts::of_archive(archive, &temporary)?,
        None => EveParts::of_folder(Path::new(BITS))?,
    };
    let overrides = places.overrides.as_deref();
    match places.file(&request.file_name()) {
        Some(path) => {
            let mut output = Output::open(&path)?;
            make(&bits, &request, overrides, &temporary, output.file_mut())?;
            output.commit()
        }
        None => {
            if !request.is_text() && stdout().is_terminal() {
                bail!("the artifact goes to standard output, which is a terminal\nhint: > {}, or -v DIR:/out", request.file_name());
            }
            let mut file = input::temporary_file(environment)?;
            make(&bits, &request, overrides, &temporary, &mut file)?;
            file.rewind().context("cannot rewind the artifact")?;
            copy(&mut file, &mut stdout().lock()).map(drop).context("cannot write the artifact to standard output")
        }
    }
}
