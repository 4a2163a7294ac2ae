//! Tests of the driver against the running kernel and against its own laws, in one program.

extern crate alloc;

mod conformance;
mod faults;
mod generate;
mod kernel;
mod laws;
mod links;
mod netns;
mod sample;
