//! The declarative harness: one scenario file, real manifests inside, judged twice.
//!
//! ```text
//!                       +--> model arm: the compiler and the evaluator, frames as data
//!  scenario -> stages --|                                                              --> matrix, JUnit
//!                       +--> netns arm: bridges, veth pairs, the agent's own loop and driver,
//!                       |    ping, arping, TCP and UDP between real network namespaces
//!                       +--> cluster arm: the same, but a real API server, the built agent, real CNI plugins
//! ```
//!
//! Every stage probes every pair; what is wanted, what the evaluator says and what the packets did must agree.
//!
//! # Where to read first
//!
//! 1. [`scenario`] is the file as it is written; [`stage`] is what follows from it without sending a packet: events, who
//!    stands where ([`plan`]), every probe and what is wanted of it ([`claim`]). All mistakes of a file are found there.
//! 2. [`arm`] carries stages out. The model walks frames through the evaluator ([`walk`]); the other one builds namespaces and
//!    wires ([`netns`], [`links`]), runs an agent in each node ([`agent`]) and sends packets ([`probe`], [`craft`]).
//! 3. [`run`] judges each stage, [`show`], [`matrix`] and [`junit`] tell people and programs.
//!
//! # What makes an answer trustworthy
//!
//! * A probe that must be answered has seconds; one that must not is watched for as long as the slowest answer of its round
//!   takes, and something is open in every round: the control for what is closed.
//! * Nothing waits for time to pass. A step is over when the kernel has acknowledged what the agent's core wants.
//! * What the kernel holds is read back and compared with what was meant, by this project's decoder and by `nft` itself.
//! * Packets run in namespaces of their own ([`isolate`]): the host's network is not touched, and nothing is left of it.
//!
//! [`kind`] prints scenarios for clusters of real pods instead, where others attach and probe.
#![forbid(unsafe_code)]

extern crate alloc;

pub mod agent;
pub mod arm;
pub mod batch;
pub mod capability;
pub mod claim;
pub mod cluster;
mod conversation;
pub mod craft;
pub mod disk;
mod flood;
pub mod flow;
mod free;
pub mod guest;
pub mod host;
pub mod inside;
pub mod isolate;
pub mod junit;
pub mod kind;
mod layout;
pub mod links;
pub mod listing;
pub mod matrix;
pub mod meter;
pub mod netns;
pub mod options;
pub mod outside;
pub mod path;
pub mod plan;
pub mod plane;
pub mod probe;
pub mod process;
pub mod programs;
mod relay;
pub mod report;
mod rewire;
pub mod run;
pub mod scenario;
pub mod show;
pub mod stage;
pub mod tagging;
pub mod walk;
