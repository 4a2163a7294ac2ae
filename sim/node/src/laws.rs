//! The small random worlds and the independent reading of the policies are those of the core's laws.
#![allow(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    dead_code,
    reason = "of the core's laws"
)]

#[path = "../../../core/tests/laws/frames.rs"]
pub(crate) mod frames;
#[path = "../../../core/tests/laws/guard.rs"]
pub(crate) mod guard;
#[path = "../../../core/tests/laws/neighbours.rs"]
pub(crate) mod neighbours;
#[path = "../../../core/tests/laws/oracle.rs"]
pub(crate) mod oracle;
#[path = "../../../core/tests/laws/quarantine.rs"]
pub(crate) mod quarantine;
#[path = "../../../core/tests/laws/source.rs"]
pub(crate) mod source;
#[path = "../../../core/tests/laws/worlds.rs"]
pub(crate) mod worlds;
