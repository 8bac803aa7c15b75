//! The store of artifacts that all trees share, as the knobs STORE, STORE_LIMIT, CACHE, CACHE_MODE and LOCKED say.

use anyhow::Result;
use checkout::context::Ctx;
use executor::artifacts::{ArtifactStore, LocalStore};
use native::{LockedStore, SharedStore};
use std::sync::Arc;

/// The store in the folder; none with STORE=off.
pub fn artifacts(ctx: &Ctx) -> Option<LocalStore> {
    Some(LocalStore::new(ctx.store()?.join("artifacts"), ctx.knobs.host.store_limit << 20))
}

/// The store of a build: the folder, and the team's registry behind it; with LOCKED only what the list names. Printing a plan asks no registry.
pub fn of_build(ctx: &Ctx) -> Result<Option<Arc<dyn ArtifactStore>>> {
    let Some(local) = artifacts(ctx) else { return Ok(None) };
    let team = if ctx.globals.dry_run { None } else { native::team(ctx)? };
    let store: Arc<dyn ArtifactStore> = match team {
        Some(team) => Arc::new(SharedStore::new(local, team)),
        None => Arc::new(local),
    };
    Ok(Some(match native::locked(ctx)? {
        Some(locked) => Arc::new(LockedStore::new(store, locked)),
        None => store,
    }))
}
