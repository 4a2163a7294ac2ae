//! The targets: one for each parser of what others wrote.

mod dump;
mod objects;
mod text;

use crate::features::Features;

/// Something that reads foreign bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its directory in the corpus.
    pub name: &'static str,
    /// What it reads, for people.
    pub about: &'static str,
    /// Words of its format.
    pub words: &'static [&'static str],
    /// Reads an input. Panics when the reader does, or when the outcome is out of proportion.
    pub run: fn(&[u8]) -> Features,
}

/// Every target, by name.
pub const TARGETS: [Target; 9] = [
    Target { name: "frame", about: "Ethernet frames, judged by a ruleset", words: &[], run: text::frame },
    Target {
        name: "frame-log",
        about: "what the kernel tells of frames that a rule logs",
        words: &["drop in/", "drop out/", "allow in/", "allow out/", "-shop/web/net1\0"],
        run: dump::frame_log,
    },
    Target {
        name: "manifest",
        about: "files of manifests: YAML or JSON, every kind of object, enforced",
        words: MANIFEST_WORDS,
        run: objects::manifest,
    },
    Target {
        name: "netlink-dump",
        about: "what the kernel answers when asked for the table",
        words: &[
            "mnp-nft-bridge",
            "lookup\0",
            "immediate\0",
            "cmp\0",
            "payload\0",
            "dynset\0",
            "bitwise\0",
            "limit\0",
            "log\0",
        ],
        run: dump::netlink,
    },
    Target {
        name: "network-config",
        about: "CNI configurations of network attachment definitions",
        words: &[
            "\"cniVersion\": \"1.0.0\"",
            "\"plugins\"",
            "\"type\"",
            "\"bridge\"",
            "\"cnv-bridge\"",
            "\"vlan\"",
            "4094",
            "4095",
            "\"ipam\"",
            "\"dhcp\"",
            "\"macvlan\"",
            "\"name\"",
        ],
        run: objects::network_config,
    },
    Target {
        name: "network-status",
        about: "network status annotations of pods",
        words: &[
            "\"name\"",
            "\"interface\"",
            "\"ips\"",
            "\"mac\"",
            "\"default\"",
            "\"shop/data\"",
            "\"02:00:00:00:00:0b\"",
            "\"10.0.0.11\"",
            "\"::ffff:10.0.0.1\"",
            "\"fe80::1\"",
            "\"net1\"",
        ],
        run: objects::network_status,
    },
    Target {
        name: "policy",
        about: "specs of policies as JSON, enforced",
        words: POLICY_WORDS,
        run: objects::policy,
    },
    Target {
        name: "policy-for",
        about: "lists of a policy's networks",
        words: &["data", "shop/data", "infra/", ",,", " , "],
        run: objects::policy_for,
    },
    Target {
        name: "scenario",
        about: "scenario files of the harness",
        words: SCENARIO_WORDS,
        run: text::scenario,
    },
];

/// Words of manifests.
const MANIFEST_WORDS: &[&str] = &[
    "apiVersion: v1\n",
    "apiVersion: k8s.cni.cncf.io/v1beta1\n",
    "kind: Pod\n",
    "kind: List\nitems:\n",
    "kind: Namespace\n",
    "kind: MultiNetworkPolicy\n",
    "kind: NetworkAttachmentDefinition\n",
    "metadata: {name: a, namespace: shop}\n",
    "k8s.v1.cni.cncf.io/policy-for: data\n",
    "k8s.v1.cni.cncf.io/network-status: ",
    "k8s.v1.cni.cncf.io/networks-status: ",
    "mnp-nft-bridge.io/guard: mac-ip\n",
    "mnp-nft-bridge.io/log: all\n",
    "labels: {app: web}\n",
    "spec: ",
    "status: {phase: Succeeded}\n",
    "hostNetwork: true\n",
    "nodeName: here\n",
    "containers: [{ports: [{name: http, containerPort: 80}]}]\n",
    "podSelector: {}\n",
    "ingress: [{}]\n",
];

/// Words of policies.
const POLICY_WORDS: &[&str] = &[
    "\"podSelector\":{}",
    "\"namespaceSelector\":{}",
    "\"matchLabels\":{\"app\":\"web\"}",
    "\"matchExpressions\":[",
    "\"key\":\"app\"",
    "\"operator\":\"In\"",
    "\"operator\":\"NotIn\"",
    "\"operator\":\"Exists\"",
    "\"values\":[\"web\"]",
    "\"policyTypes\":[\"Egress\"]",
    "\"ingress\":[{}]",
    "\"egress\":[{}]",
    "\"from\":[",
    "\"to\":[",
    "\"ports\":[",
    "\"ipBlock\":{",
    "\"cidr\":\"10.0.0.0/8\"",
    "\"except\":[\"10.1.0.0/16\"]",
    "\"port\":80",
    "\"endPort\":90",
    "\"port\":\"http\"",
    "\"protocol\":\"SCTP\"",
    "\"cidr\":\"::/0\"",
];

/// Words of scenarios.
const SCENARIO_WORDS: &[&str] = &[
    "description: a\n",
    "probes: [icmp, arp, tcp/80, udp/53]\n",
    "nodes: [node-1]\n",
    "hosts:\n",
    "objects:\n",
    "expect:\n",
    "steps:\n",
    "  - name: a\n",
    "    expect: {}\n",
    "    apply: []\n",
    "    delete: []\n",
    "    patch: []\n",
    "    label: []\n",
    "{from: \"*\", to: \"*\"}",
    "otherwise: closed\n",
    "closed: []\n",
    "open: []\n",
    "reports: []\n",
    "via: [tcp/80]",
    "family: ipv6",
    "requires: []\n",
    "10.0.0.1/24",
    "mac: \"02:00:00:00:00:01\"",
];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The beginning of the input that is text: what comes from the API is UTF-8, so the rest could not be there.
fn utf8(bytes: &[u8]) -> &str {
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bytes
            .get(..error.valid_up_to())
            .and_then(|valid| core::str::from_utf8(valid).ok())
            .unwrap_or_default(),
    }
}
