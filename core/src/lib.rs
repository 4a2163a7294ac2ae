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

pub mod eval;
pub mod frame;
mod input;
mod kernel;
pub mod model;
mod output;
pub mod ruleset;
pub mod spec;
mod time;

pub use input::{Input, SinkFault};
pub use kernel::Kernel;
pub use output::{Generation, Output, Report, Scope, Transaction};
pub use time::Time;
