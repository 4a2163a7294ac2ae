//! What a `MultiNetworkPolicy` means on a Linux bridge.
//!
//! ```text
//!  pods, namespaces,    +--------------------------------+
//!  networks, policies   |  world -> compile -> desired   |   Output::Apply(transaction)
//!  ports     ---------> |                        |       | ------------------------------> kernel
//!        Input          |              diff <- applied   | <------------------------------
//!                       +--------------------------------+   Input::Applied | Refused | Observed
//! ```
//!
//! The core does no I/O, reads no clock and starts no task.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod attendant;
mod compile;
mod compiler;
mod config;
pub mod eval;
pub mod explain;
pub mod frame;
mod index;
mod input;
mod interval;
pub mod journal;
mod kernel;
pub mod model;
mod output;
mod reports;
mod retelling;
pub mod ruleset;
pub mod spec;
mod stations;
mod time;
mod world;

pub use attendant::{Attendant, Outcome, Witness, pump};
pub use compile::{Judged, compile};
pub use compiler::{Compiler, Wake};
pub use config::{BridgeNames, Config, StateEngine};
pub use input::{Input, SinkFault};
pub use kernel::{Kernel, Observation};
pub use output::{Generation, Output, Report, Scope, Transaction};
pub use time::Time;
pub use world::World;
