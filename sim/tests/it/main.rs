//! What the program `sim` does besides passing scenarios: what it refuses, what it says, what it leaves behind.

extern crate alloc;

mod bad_input;
mod guide;
mod host;
mod kind;
mod leftovers;
mod reader;
mod reference;
mod results;
mod running;
