//! The declarative harness: one scenario file, real manifests inside, judged twice.
//!
//! ```text
//!                       +--> model arm: the compiler and the evaluator, frames as data
//!  scenario -> stages --|                                                              --> matrix, JUnit
//!                       +--> netns arm: bridges, veth pairs, the agent's own loop and driver,
//!                            ping, arping, TCP and UDP between real network namespaces
//! ```
//!
//! Every stage probes every pair; what is wanted, what the evaluator says and what the packets did must agree.
#![forbid(unsafe_code)]

extern crate alloc;

pub mod agent;
pub mod arm;
pub mod batch;
pub mod capability;
pub mod claim;
pub mod cluster;
pub mod inside;
pub mod isolate;
pub mod junit;
pub mod links;
pub mod listing;
pub mod matrix;
pub mod netns;
pub mod outside;
pub mod plan;
pub mod probe;
pub mod programs;
pub mod report;
pub mod run;
pub mod scenario;
pub mod show;
pub mod stage;
pub mod tagging;
pub mod walk;
