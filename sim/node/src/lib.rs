//! A whole node as a simulation: API server, watches, kernel, links and agent in one thread and virtual time.
//!
//! ```text
//!  API server --watches--+                            +--requests--> nftables <-- somebody else
//!                        +--> inbox --> core, guard --+
//!  links ---announced----+                            +<--announced--
//! ```
//!
//! The core, the loop around it and the guard of commits are the agent's own; everything around them is a model that knows
//! every fault. A run is a list of steps drawn from a seed; [`run()`] says what must never be.
#![forbid(unsafe_code)]

extern crate alloc;

mod agent;
mod api;
pub mod campaign;
mod choice;
mod coverage;
mod invariant;
mod links;
mod nft;
mod run;
mod step;

// The small random worlds and the independent reading of the policies are those of the core's laws.
#[allow(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    dead_code,
    reason = "of the core's laws"
)]
#[path = "../../../core/tests/laws/frames.rs"]
mod frames;
#[allow(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    dead_code,
    reason = "of the core's laws"
)]
#[path = "../../../core/tests/laws/guard.rs"]
mod guard;
#[allow(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    dead_code,
    reason = "of the core's laws"
)]
#[path = "../../../core/tests/laws/neighbours.rs"]
mod neighbours;
#[allow(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    dead_code,
    reason = "of the core's laws"
)]
#[path = "../../../core/tests/laws/oracle.rs"]
mod oracle;
#[allow(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    dead_code,
    reason = "of the core's laws"
)]
#[path = "../../../core/tests/laws/quarantine.rs"]
mod quarantine;
#[allow(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    dead_code,
    reason = "of the core's laws"
)]
#[path = "../../../core/tests/laws/source.rs"]
mod source;
#[allow(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    dead_code,
    reason = "of the core's laws"
)]
#[path = "../../../core/tests/laws/worlds.rs"]
mod worlds;

pub use agent::Bug;
pub use coverage::{Coverage, FAULTS};
pub use run::{Manner, Violation, run};
pub use step::{ERRNOS, Foreign, Notice, Request, Scene, Step, Trouble};
