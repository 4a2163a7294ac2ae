//! The policy's fields, named as the API names them.
//!
//! Every list entry is a [`Field`] of its own, and every object keeps the names of the fields it does not know: a
//! restriction that is not understood must not be passed over.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::{Field, List, Unknown};

/// `MultiNetworkPolicySpec`.
#[derive(Clone, Default, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, expecting = "an object")]
pub struct PolicySpec {
    /// Which pods of the policy's namespace it selects; absent selects all of them.
    pub pod_selector: Field<LabelSelector>,
    /// `Ingress`, `Egress` or both.
    pub policy_types: List<String>,
    /// The ingress rules.
    pub ingress: List<IngressRule>,
    /// The egress rules.
    pub egress: List<EgressRule>,
    /// Anything else.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// `MultiNetworkPolicyIngressRule`.
#[derive(Clone, Default, PartialEq, Debug, Deserialize)]
#[serde(default, expecting = "an object")]
pub struct IngressRule {
    /// Who may send; absent or empty is everyone.
    pub from: List<PeerSpec>,
    /// Ports of the selected pod; absent or empty is every protocol and port.
    pub ports: List<PortSpec>,
    /// Anything else.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// `MultiNetworkPolicyEgressRule`.
#[derive(Clone, Default, PartialEq, Debug, Deserialize)]
#[serde(default, expecting = "an object")]
pub struct EgressRule {
    /// Who may be sent to; absent or empty is everyone.
    pub to: List<PeerSpec>,
    /// Ports of the receiver; absent or empty is every protocol and port.
    pub ports: List<PortSpec>,
    /// Anything else.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// `MultiNetworkPolicyPeer`: an address block, or one or two selectors.
#[derive(Clone, Default, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, expecting = "an object")]
pub struct PeerSpec {
    /// Addresses.
    pub ip_block: Field<IpBlock>,
    /// Pods.
    pub pod_selector: Field<LabelSelector>,
    /// Namespaces.
    pub namespace_selector: Field<LabelSelector>,
    /// Anything else.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// `IPBlock`.
#[derive(Clone, Default, PartialEq, Debug, Deserialize)]
#[serde(default, expecting = "an object")]
pub struct IpBlock {
    /// The prefix, such as `10.0.0.0/8` or `2001:db8::/32`.
    pub cidr: Field<String>,
    /// Prefixes taken out of it.
    pub except: List<String>,
    /// Anything else.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// `MultiNetworkPolicyPort`.
#[derive(Clone, Default, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, expecting = "an object")]
pub struct PortSpec {
    /// `TCP` (also when absent), `UDP` or `SCTP`.
    pub protocol: Field<String>,
    /// A number or the name of a container port; absent is every port of the protocol.
    pub port: Field<IntOrString>,
    /// The last port of a range that starts with a numeric `port`.
    pub end_port: Field<i64>,
    /// Anything else.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// `LabelSelector` of `k8s.io/apimachinery/pkg/apis/meta/v1`.
#[derive(Clone, Default, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, expecting = "an object")]
pub struct LabelSelector {
    /// Labels that must be there with exactly these values.
    pub match_labels: Field<BTreeMap<String, Field<String>>>,
    /// Conditions that must hold.
    pub match_expressions: List<LabelSelectorRequirement>,
    /// Anything else.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// `LabelSelectorRequirement`.
#[derive(Clone, Default, PartialEq, Debug, Deserialize)]
#[serde(default, expecting = "an object")]
pub struct LabelSelectorRequirement {
    /// The label's key.
    pub key: Field<String>,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: Field<String>,
    /// The values of `In` and `NotIn`.
    pub values: List<String>,
    /// Anything else.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// `IntOrString` of `k8s.io/apimachinery/pkg/util/intstr`: a whole number or a text. A number in quotes is a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IntOrString {
    /// A number.
    Int(i64),
    /// A text.
    String(String),
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntOrStringVisitor)
    }
}

struct IntOrStringVisitor;

impl Visitor<'_> for IntOrStringVisitor {
    type Value = IntOrString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or a string")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<IntOrString, E> {
        Ok(IntOrString::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<IntOrString, E> {
        Ok(IntOrString::Int(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<IntOrString, E> {
        Ok(IntOrString::String(value.into()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<IntOrString, E> {
        Ok(IntOrString::String(value))
    }
}
