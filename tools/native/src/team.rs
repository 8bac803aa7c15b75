//! The team's registry by the knobs CACHE and CACHE_MODE: which packages are taken from it and sent to it.

use super::{locked::Locked, mirrors::Origins};
use anyhow::Result;
use checkout::context::Ctx;
use common::{Arch, error::usage};
use executor::Job;
use knobs::CacheMode;
use oci::{Cache, Image};
use plan::steps::BuildPackage;
use registry::{Client, Endpoint, Logins, Place, Taken, Team};
use std::sync::{Arc, Mutex, PoisonError};

/// The part of a tag that a package with changes has.
const DIRTY: &str = "-dirty";

/// The team's registry; none without CACHE, with `CACHE_MODE=off` and with `--offline`.
/// The process has one, so that its failure is said once.
pub fn team(ctx: &Ctx) -> Result<Option<Arc<Team>>> {
    static TEAM: Mutex<Option<Arc<Team>>> = Mutex::new(None);
    let mut known = TEAM.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_none() {
        *known = new_team(ctx)?.map(Arc::new);
    }
    Ok(known.clone())
}

fn new_team(ctx: &Ctx) -> Result<Option<Team>> {
    let host = &ctx.knobs.host;
    let Some(text) = &host.team_cache else { return Ok(None) };
    let place: Place = text.parse().map_err(|why| usage(format!("CACHE: {why}\nhint: CACHE=registry.example.org/team")))?;
    if host.cache_mode == CacheMode::Off || ctx.globals.offline {
        return Ok(None);
    }
    let folder = Logins::usual_folder(ctx.environment.get("DOCKER_CONFIG"), &ctx.environment.home());
    let logins = Logins { tools: ctx.tools.clone(), folder };
    let proxy = Origins::new(&ctx.knobs, &ctx.environment).for_curl();
    let client = Client::new(Endpoint { proxy, ..Endpoint::new(&ctx.tools, place, logins) });
    Ok(Some(Team::new(client, host.cache_mode == CacheMode::Write)))
}

/// Whether the package's tag names its content, so that another machine's image under this tag is the same.
#[must_use]
pub fn is_exact(package: &BuildPackage) -> bool {
    package.changes.is_none() && package.options.is_empty() && !package.image.reference.contains(DIRTY)
}

/// Takes a package's image into `cache`, with `locked` only one that the list names; false if it must be built.
#[must_use]
pub fn take_package(
    team: Option<&Team>,
    cache: &Cache,
    package: &BuildPackage,
    locked: Option<&Locked>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> bool {
    let Some(team) = team.filter(|_| is_exact(package)) else { return false };
    // docker cannot load an image from here, so its step always runs.
    let place = team.place().to_string();
    let accepts = |image: &Image| locked.is_none_or(|locked| locked.accepts(image, &place));
    let take = |arch: &Arch| team.try_take(cache, &package.image.reference, *arch, &accepts, progress) == Taken::Yes;
    !package.docker_load && package.platforms.iter().all(take)
}

/// Sends a package's image that was just built.
pub fn give_package(team: Option<&Team>, cache: &Cache, package: &BuildPackage, job: &Job<'_>) {
    let Some(team) = team.filter(|_| is_exact(package)) else { return };
    job.step(&format!("sending it to {}", team.place()));
    package.platforms.iter().filter_map(|arch| team.give(cache, &package.image.reference, *arch)).for_each(|note| job.log(&note));
}
