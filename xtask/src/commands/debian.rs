//! `pins`: makes the locks of the Debian archive anew from the mirror, and says what changed.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use clap::{Arg, ArgAction, ArgMatches, Command};
use common::error::usage;
use native::mirrors::Origins;
use pkgbuild::debian::{Prefer, Store, update_locks};

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
        .arg(Arg::new("release").long("release").value_name("NAME").default_value("bookworm").help("Debian's name of the release"))
        .arg(Arg::new("arch").long("arch").value_name("ARCH").action(ArgAction::Append).help("for this architecture only"))
        .arg(
            Arg::new("security")
                .long("security")
                .action(ArgAction::SetTrue)
                .help("take security updates too, which leave the mirror sooner"),
        )
}

/// `pins`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let archive = ctx.profile.packages.archive.as_ref().context("this tree has no archive of Debian packages")?;
    let release = arguments.get_one::<String>("release").map_or("bookworm", String::as_str);
    let named: Vec<&str> = arguments.get_many::<String>("arch").into_iter().flatten().map(String::as_str).collect();
    let arches = if named.is_empty() { vec!["amd64", "arm64"] } else { named };
    let prefer = if arguments.get_flag("security") { Prefer::Latest } else { Prefer::Stable };
    if ctx.globals.dry_run {
        println!("make the locks of pkg/{archive} anew for {} from Debian's {release}", arches.join(", "));
        return Ok(());
    }
    if ctx.globals.offline {
        return Err(usage("pins are renewed from a mirror, and --offline forbids to ask one"));
    }
    let origins = Origins::new(&ctx.knobs, &ctx.environment);
    let store = Store::open(&ctx.environment.cache().join("debs"), &origins.proxy())?;
    for updated in update_locks(&ctx.profile.packages.folder.join(archive), release, &arches, prefer, &store, &origins.mirrors()?)? {
        let bytes: u64 = updated.lock.pins.values().map(|pin| pin.size).sum();
        println!("{}: {} packages, {}", updated.path.display(), updated.lock.pins.len(), common::display::size(bytes));
        for change in &updated.changes {
            println!("  {change}");
        }
    }
    println!("then: commit, and `cargo xtask bump {archive}`");
    Ok(())
}
