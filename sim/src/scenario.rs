//! A scenario file: the world it starts from, what happens to it, and which packets may pass afterwards.
//!
//! The types are the format: unknown fields are refused with line and column, and the JSON schema that editors
//! use is generated from them. Manifests inside a scenario are the exception: they are what `kubectl get -o yaml`
//! prints, so they may hold any field.

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use core::net::IpAddr;
use std::path::{Path, PathBuf};

use policy_core::ruleset::TABLE;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde_json::Value;
use serde_saphyr::{MessageFormatter as _, Spanned, UserMessageFormatter};

use crate::capability::Capability;
use crate::craft::FrameClaim;
use crate::options::AgentOptions;
use crate::probe::{Family, ProbeKind};

/// A scenario, as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What the scenario shows, in one or two sentences.
    pub description: String,
    /// What every pair is probed with in every step, over every address family that both ends have: `icmp`, `arp`
    /// (IPv4 only), `tcp/PORT`, `udp/PORT`, `udp-big/PORT` (in fragments), `icmp-error/PORT` (nobody listens there),
    /// `sctp/PORT`, `ether/0xTYPE` (no address family).
    #[serde(default = "default_probes")]
    pub probes: Vec<ProbeKind>,
    /// What the kernel must be capable of for packets to be sent; elsewhere the scenario is counted as not run.
    #[serde(default)]
    pub requires: BTreeSet<Capability>,
    /// The nodes that are built; pods of other nodes are known to the agents but send no packets. Bridges of one name on
    /// several nodes are joined by uplinks.
    #[serde(default = "default_nodes")]
    pub nodes: Vec<String>,
    /// Files in the Multus configuration directory of every node: where the configuration lies of networks whose
    /// `spec.config` is empty.
    #[serde(default)]
    pub disk: Vec<DiskFile>,
    /// What the agents are told when they start.
    #[serde(default)]
    pub options: AgentOptions,
    /// Machines that are no pods, so that no policy can select them.
    #[serde(default)]
    pub hosts: Vec<Host>,
    /// Pods that run a virtual machine: it has the attachment's MAC and addresses, and the pod's interface, with another
    /// MAC, is a port of a bridge inside the pod.
    #[serde(default)]
    pub vms: Vec<Vm>,
    /// The objects of the cluster at the start: `NetworkAttachmentDefinition`, `Namespace`, `Pod`,
    /// `MultiNetworkPolicy`, or a `List` of them, as `kubectl get -o yaml` prints them.
    #[serde(default)]
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    pub objects: Vec<Spanned<Value>>,
    /// What passes at the start; everything, when absent.
    #[serde(default)]
    pub expect: Expect,
    /// The problems that the agent reports at the start, see `reports` of a step.
    #[serde(default)]
    pub reports: Option<Vec<String>>,
    /// What happens, one thing after the other.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// A file in the Multus configuration directory.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiskFile {
    /// Its name, such as `10-data.conflist`.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// A machine that is no pod.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its name in expectations.
    pub name: String,
    /// How it is connected to the bridge.
    #[serde(default)]
    pub at: HostPlace,
    /// The node whose bridge it is on; the first node, when absent.
    #[serde(default)]
    pub node: Option<String>,
    /// The bridge's interface name.
    pub bridge: String,
    /// Its Ethernet address.
    pub mac: String,
    /// The VLAN that its port is in; the default one, when absent.
    #[serde(default)]
    pub vlan: Option<u16>,
    /// Its addresses; `/24` and `/64` when the prefix length is left out.
    pub addresses: Vec<String>,
}

/// How a machine that is no pod is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostPlace {
    /// It is behind the node, which routes between it and the bridge: some host must be `at: node` there.
    BehindNode,
    /// It is the node itself: the addresses are on the bridge.
    Node,
    /// By a wire to a port.
    #[default]
    Port,
}

/// A pod that runs a virtual machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vm {
    /// The pod's `name` or `namespace/name`.
    pub pod: String,
    /// Whether the node's bridge learns behind which port it is.
    #[serde(default = "yes")]
    pub learned: bool,
}

const fn yes() -> bool {
    true
}

/// One step: changes, then expectations.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What happens, as a sentence.
    pub name: String,
    /// Manifests that are created, or replaced when they are there.
    #[serde(default)]
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    pub apply: Vec<Spanned<Value>>,
    /// Objects that are deleted.
    #[serde(default)]
    #[schemars(with = "Vec<Target>")]
    pub delete: Vec<Spanned<Target>>,
    /// JSON merge patches (RFC 7396), what `kubectl patch --type merge` sends.
    #[serde(default)]
    #[schemars(with = "Vec<Patch>")]
    pub patch: Vec<Spanned<Patch>>,
    /// Labels that are set (or removed: `null`), what `kubectl label` does.
    #[serde(default)]
    #[schemars(with = "Vec<Relabel>")]
    pub label: Vec<Spanned<Relabel>>,
    /// What becomes of wires without a manifest that says so.
    #[serde(default)]
    #[schemars(with = "Vec<WireChange>")]
    pub wire: Vec<Spanned<WireChange>>,
    /// What somebody does to the agent's table behind its back.
    #[serde(default)]
    pub tamper: Option<Tampering>,
    /// The agent ends, starts, or both.
    #[serde(default)]
    pub agent: Option<AgentOrder>,
    /// The node that `tamper` and `agent` are about; all of them, when absent.
    #[serde(default)]
    pub node: Option<String>,
    /// What passes afterwards.
    pub expect: Expect,
    /// Exactly these problems are reported by the step, in any order, as `OBJECT: FIELD PATH: REASON`. None, when
    /// absent.
    #[serde(default)]
    pub reports: Option<Vec<String>>,
}

/// What somebody does to the agent's table behind its back; the agent, if it runs, repairs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tampering {
    /// The table is deleted.
    DeleteTable,
    /// All rules are deleted; chains, maps and sets stay.
    FlushTable,
}

impl Tampering {
    /// The arguments with which `nft` does it.
    pub fn nft(self) -> String {
        match self {
            Self::DeleteTable => format!("delete table bridge {TABLE}"),
            Self::FlushTable => format!("flush table bridge {TABLE}"),
        }
    }
}

/// What happens to the agent. What is enforced stays as it is while it is away; objects, wires and the table may
/// change meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentOrder {
    /// It ends and starts again.
    Restart,
    /// It starts again.
    Start,
    /// It ends.
    Stop,
    /// It ends, and one of another version starts, whose table is laid out in another way; or after that, one of the first again.
    Upgrade,
}

/// Whose place an agent takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Succession {
    /// That of one of its own version.
    Same,
    /// That of one of another version.
    Other,
}

/// A part of an [`AgentOrder`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AgentChange {
    /// It starts, and lists everything.
    Start(Succession),
    /// It ends.
    Stop,
}

/// Names an object.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its kind, as in a manifest.
    pub kind: String,
    /// Its namespace; absent for a `Namespace`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// A JSON merge patch of an object.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// The object's kind, as in a manifest.
    pub kind: String,
    /// Its namespace; absent for a `Namespace`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The patch; `null` removes a field.
    pub merge: BTreeMap<String, Value>,
}

/// A change of a station's wire, or of what is at its end. What is not named stays.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WireChange {
    /// The station, as in expectations.
    pub of: String,
    /// The addresses that the pod gives itself; `/24` and `/64` when the prefix length is left out.
    #[serde(default)]
    pub addresses: Option<Vec<String>>,
    /// The bridge that the port is moved to.
    #[serde(default)]
    pub bridge: Option<String>,
    /// `false` cuts the wire, `true` connects a new one as the network status says.
    #[serde(default)]
    pub connected: Option<bool>,
    /// Of a virtual machine: whether the node's bridge learns behind which port it is.
    #[serde(default)]
    pub learned: Option<bool>,
    /// The Ethernet address that the pod gives itself.
    #[serde(default)]
    pub mac: Option<String>,
    /// The name that the port gets on the node.
    #[serde(default)]
    pub port: Option<String>,
}

/// A change of an object's labels.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Relabel {
    /// The object's kind, as in a manifest.
    pub kind: String,
    /// Its namespace; absent for a `Namespace`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// New values; `null` removes a label.
    pub labels: BTreeMap<String, Option<String>>,
}

/// Which probes are answered, and which are not.
///
/// The list that contradicts `otherwise` is read first, the other one then makes exceptions from it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// What holds for every probe that is not named below.
    #[serde(default)]
    pub otherwise: Wanted,
    /// Probes that are not answered.
    #[serde(default)]
    #[schemars(with = "Vec<Claim>")]
    pub closed: Vec<Spanned<Claim>>,
    /// Probes that are answered.
    #[serde(default)]
    #[schemars(with = "Vec<Claim>")]
    pub open: Vec<Spanned<Claim>>,
    /// Frames that stations send by themselves, one after the other, after the probes; and where they arrive.
    #[serde(default)]
    #[schemars(with = "Vec<FrameClaim>")]
    pub frames: Vec<Spanned<FrameClaim>>,
}

/// Whether a probe is to be answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// It is not.
    Closed,
    /// It is.
    #[default]
    Open,
}

/// Some probes: all that match every field given.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Who sends.
    pub from: Ends,
    /// Who is probed.
    pub to: Ends,
    /// With what; everything, when absent.
    #[serde(default)]
    pub via: Option<Vec<ProbeKind>>,
    /// Over which address family; all, when absent.
    #[serde(default)]
    pub family: Option<Family>,
}

/// Pods and hosts: a pod's `name` (when only one namespace has it), `namespace/name`, `name@interface` for one of
/// several attachments, a host's name, `"*"` for everyone, or a list of these.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(with = "OneOrMany")]
pub struct Ends(pub Vec<String>);

/// What [`Ends`] looks like in a file; only for the schema.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type exists to be described, never to be built")]
enum OneOrMany {
    Many(Vec<String>),
    One(String),
}

impl<'de> Deserialize<'de> for Ends {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EndsVisitor;
        impl<'de> Visitor<'de> for EndsVisitor {
            type Value = Ends;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a list of names")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Ends, E> {
                Ok(Ends(vec![name.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<Ends, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(names)).map(Ends)
            }
        }
        deserializer.deserialize_any(EndsVisitor)
    }
}

fn default_probes() -> Vec<ProbeKind> {
    vec![ProbeKind::Icmp, ProbeKind::Arp, ProbeKind::Tcp(80), ProbeKind::Udp(53)]
}

fn default_nodes() -> Vec<String> {
    vec!["node-1".to_owned()]
}

/// What is wrong with a scenario file, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}{place}: {reason}", .file.display())]
pub struct ScenarioError {
    /// The file.
    pub file: PathBuf,
    /// The place in it.
    pub place: Place,
    /// What is wrong, in one sentence.
    pub reason: String,
}

/// A place in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place(Option<(u64, u64)>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |(line, column)| write!(f, ":{line}:{column}"))
    }
}

impl<T> From<&Spanned<T>> for Place {
    fn from(value: &Spanned<T>) -> Self {
        Self(Some((value.referenced.line(), value.referenced.column())))
    }
}

impl Scenario {
    /// Reads a scenario file.
    pub fn read(file: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(file).map_err(|error| ScenarioError {
            file: file.to_owned(),
            place: Place::default(),
            reason: format!("cannot be read: {error}"),
        })?;
        Self::parse(file, &text)
    }

    /// Reads a scenario from `text`; `file` is only named in errors.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ScenarioError> {
        serde_saphyr::from_str(text).map_err(|error| ScenarioError {
            file: file.to_owned(),
            place: Place(error.location().map(|at| (at.line(), at.column()))),
            reason: beginning(&UserMessageFormatter.format_message(error.without_snippet())).to_owned(),
        })
    }
}

/// The beginning of a reason: the parser quotes what it does not understand, all of it.
fn beginning(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(500)).unwrap_or(reason)
}

/// The JSON schema of scenario files, as it is committed: `scenarios/schema.json`.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Scenario);
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text + "\n"
}

/// Host addresses with a default prefix length: `/24` for IPv4, `/64` for IPv6.
pub(crate) fn parse_address(text: &str) -> Result<ipnet::IpNet, String> {
    if let Ok(net) = text.parse() {
        return Ok(net);
    }
    let address: IpAddr = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
    Ok(with_default_prefix(address))
}

/// `address` in a network of the customary size: `/24` for IPv4, `/64` for IPv6.
pub(crate) fn with_default_prefix(address: IpAddr) -> ipnet::IpNet {
    let bits = if address.is_ipv4() { 24 } else { 64 };
    ipnet::IpNet::new_assert(address, bits)
}
