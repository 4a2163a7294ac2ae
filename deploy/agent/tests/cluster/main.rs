//! The built program against a real API server, with the rights of the manifests and no others: `cargo ci cluster`.

extern crate alloc;

#[path = "../running/agent.rs"]
mod agent;
#[path = "../running/container.rs"]
mod container;
mod events;
mod faults;
mod following;
mod in_its_pod;
mod installed;
#[path = "../running/objects.rs"]
mod objects;
mod scripts;
#[path = "../running/seccomp.rs"]
mod seccomp;
mod server;
mod tenants;
