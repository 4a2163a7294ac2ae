//! The built program as the agent of a node: on a real kernel, in a network namespace of its own, fed by files.

extern crate alloc;

mod agent;
mod confined;
mod container;
mod feedback;
mod frame_log;
mod http;
mod journals;
mod manifests;
mod monitoring;
mod objects;
mod seccomp;
mod wires;
