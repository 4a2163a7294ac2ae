//! The text of a policy: its `spec` as written, and how it is read.
//!
//! [`PolicySpec`] mirrors the API's fields and accepts any JSON in them: a field of the wrong type becomes
//! [`Field::Wrong`] instead of an error for the whole object, because one bad object must never stop a list or a
//! watch. [`parse()`] turns it into a [`Policy`](crate::model::Policy) that holds only what can be enforced, and names
//! everything else as a [`Problem`](crate::model::Problem). What cannot be read never allows anything: a peer or a
//! port entry matches nothing, a rule is left out, a `podSelector` selects by what is readable and then allows
//! nothing at all.
//!
//! Fields: `MultiNetworkPolicySpec` of `k8s.cni.cncf.io/v1beta1` and `v1beta2`, which follow `NetworkPolicySpec`
//! of `networking.k8s.io/v1`.

mod any;
mod block;
mod field;
#[cfg(test)]
mod law;
mod log;
mod parse;
mod path;
mod peer;
mod port;
mod selector;
pub mod syntax;
#[cfg(test)]
mod tests;
mod types;

pub use field::{Field, List, Unknown};
pub use log::{LOG, log_wish};
pub use parse::{POLICY_FOR, parse};
pub use path::{PROBLEMS_MAX, Path, Problems, quoted, shortened};
pub use types::{
    EgressRule, IngressRule, IntOrString, IpBlock, LabelSelector, LabelSelectorRequirement, PeerSpec,
    PolicySpec, PortSpec,
};
