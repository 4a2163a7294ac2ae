//! Kubernetes objects in, the core's model out.
//!
//! [`api`] holds the few fields of the API's objects that are read; everything else is dropped while parsing, so
//! that a cluster of 100,000 pods stays small in memory. [`convert`] turns each object into a
//! [`policy_core::model::Object`] and names what in it cannot be used. [`manifest`] reads objects from YAML and JSON
//! files, with the line and column of every mistake.
//!
//! Nothing here talks to an API server.
#![forbid(unsafe_code)]

extern crate alloc;

pub mod api;
pub mod cni;
pub mod convert;
pub mod manifest;
pub mod node;
pub mod patch;
pub mod status;

pub use convert::{Converted, Options};
pub use manifest::{Manifest, ManifestError, identify};
pub use patch::merge_patch;
