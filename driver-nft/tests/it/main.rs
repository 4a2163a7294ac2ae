//! Tests of the driver against the running kernel and against its own laws, in one program.

mod kernel;
mod links;
mod netns;
mod sample;
