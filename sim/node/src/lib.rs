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
mod coverage;
mod invariant;
mod laws;
#[path = "../../src/layout.rs"]
mod layout;
mod links;
mod nft;
mod run;
mod step;

use laws::{frames, oracle, source, worlds};

pub use agent::Bug;
pub use coverage::{Coverage, FAULTS};
pub use run::{Manner, Violation, run};
pub use step::{ERRNOS, Foreign, Notice, Request, Scene, Step, Trouble};
