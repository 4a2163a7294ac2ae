//! What the program `sim` does besides passing scenarios: what it refuses, what it says, what it leaves behind.

extern crate alloc;

mod bad_input;
mod host;
mod leftovers;
mod reader;
mod results;
mod running;
