//! Kubernetes objects in, the core's model out.
//!
//! ```text
//!   YAML and JSON files --manifest--+
//!                                   +--> api: the few fields that are read --convert--> Object, and its Problems
//!   API server ----------watch------+                                                     |
//!   (feature `client`)                                                                    v
//!                                                             Input::Relist, Upsert, Remove for the core
//! ```
//!
//! * [`api`] holds the few fields of the API's objects that are read; everything else is dropped while parsing, so that a
//!   cluster of 100,000 pods stays small in memory. No field may stop an object from being read by having a wrong type.
//! * [`convert`] turns each object into a [`policy_core::model::Object`] and names what in it cannot be used. It never
//!   fails: what is wrong in an object makes it mean less, and is a [`Problem`](policy_core::model::Problem) with a field
//!   path. [`status`] reads what Multus writes about a pod's attachments, [`cni`] the configuration of a network.
//! * [`manifest`] reads objects from files, with the line and column of every mistake; [`patch`] changes them as the API
//!   server would.
//! * [`events`] decides what people are told, and how often; `announce` (with the feature `client`) tells them.
//! * `watch` (with the feature `client`; without it nothing here talks to an API server) follows the four kinds. The first
//!   thing that it says of a kind is a complete list, and so is what follows any interruption after which something may have
//!   been missed: what is not in a list is gone. As long as the API server is away it says nothing, and what was said holds.
//!
//! ```
//! use driver_kube::{Options, manifest};
//!
//! let text = "
//! apiVersion: k8s.cni.cncf.io/v1beta1
//! kind: MultiNetworkPolicy
//! metadata: {name: web, namespace: shop, annotations: {k8s.v1.cni.cncf.io/policy-for: lan}}
//! spec:
//!   podSelector: {}
//!   ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]
//! ";
//! let contents = manifest::read(text, "web.yaml");
//! assert!(contents.mistakes.is_empty(), "it is a manifest");
//! let policy = &contents.manifests[0];
//! let converted = policy.manifest.object(&Options::default());
//! let problem = &converted.problems[0];
//! assert_eq!(problem.path.to_string(), "spec.ingress[0].from[0].ipBlock.cidr");
//! assert_eq!(policy.place_of(&problem.path.to_string()).to_string(), "7:38");
//! ```
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "client")]
pub mod announce;
pub mod api;
pub mod cni;
pub mod convert;
pub mod events;
pub mod manifest;
pub mod node;
pub mod patch;
pub mod status;
#[cfg(feature = "client")]
pub mod watch;
#[cfg(feature = "client")]
mod watched;

pub use convert::{Converted, Options};
pub use manifest::{Manifest, ManifestError, identify};
pub use patch::merge_patch;
