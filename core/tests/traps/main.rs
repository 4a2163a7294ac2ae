//! The traps that others have fallen into, and what keeps us out of each: a table of named scenarios and tests, which must
//! exist. What no scenario can show with the probes there are is shown here, with frames of our own making.
#![allow(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test may panic, and is no part of the core"
)]

mod cost;
mod packets;
mod stations;
mod table;
mod world;
