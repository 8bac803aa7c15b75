//! The store of artifacts that all trees share, as the knobs STORE and STORE_LIMIT say.

use checkout::context::Ctx;
use executor::artifacts::LocalStore;

/// The store; none with STORE=off.
pub fn artifacts(ctx: &Ctx) -> Option<LocalStore> {
    Some(LocalStore::new(ctx.store()?.join("artifacts"), ctx.knobs.host.store_limit << 20))
}
