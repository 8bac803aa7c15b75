//! A client of container registries (the API of github.com/opencontainers/distribution-spec): images of a cache are sent to a registry and
//! taken from it. Every byte that comes is checked by its digest. curl carries each request (`tools/child`), docker's configuration has the
//! logins. [`Team`] is a registry as a cache that a build can go on without.

mod artifacts;
mod auth;
mod client;
mod damage;
mod images;
mod login;
mod place;
mod referrers;
mod team;
mod upload;

pub use client::{Client, Endpoint, Progress};
pub use login::Logins;
pub use place::Place;
pub use team::{Taken, Team};
