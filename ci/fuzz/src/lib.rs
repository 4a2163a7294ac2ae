//! Hostile text and bytes for everything that reads what others wrote.
//!
//! ```text
//!   corpus/TARGET/* --mutate--> bytes --> target(bytes) --> features
//!        ^                                    |                |
//!        +------ kept when a feature is new --+-- never a panic, bounded work
//! ```
//!
//! A [`Target`] is a function of bytes. It panics when what it tries panics, or when the outcome is larger than the
//! input can justify; it answers with the [`Features`] that the input showed, from which a [`campaign`] learns which
//! inputs lead somewhere new. No instruments and no nightly compiler are needed: a feature is a word about behaviour (the
//! shape of a complaint, of a rule, of an operation), not a line of code.
//!
//! The committed corpus is replayed by the tests, and inputs too large to commit are generated there.
#![forbid(unsafe_code)]

extern crate alloc;

pub mod campaign;
pub mod corpus;
pub mod features;
mod keep;
pub mod mutate;
pub mod random;
mod target;
mod world;

pub use features::Features;
pub use target::{TARGETS, Target, find};
