//! The core's parts one by one, as their users see them: tables of cases and whole rulesets, in one program.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test may panic, and is no part of the core"
)]

mod apply;
mod build;
mod conversation;
mod diff;
mod evaluate;
mod frames;
mod golden;
mod layout;
mod model;
mod reports;
mod sighting;
mod summary;
mod text;
