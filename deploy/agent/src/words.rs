//! Parts of a policy, and what was found about them, in words.

use policy_core::explain::{Identity, NotMeant, PassedOver, PeerFit, PortFit, Unenforced};
use policy_core::model::{
    NamespaceScope, NamespacedName, Peer, PortMatch, PortNumbers, Requirement, Selector,
};

/// A requirement, as `kubectl --selector` writes it.
fn requirement(requirement: &Requirement) -> String {
    Selector::new([requirement.clone()]).to_string()
}

/// Pods by selector.
fn pods(selector: &Selector) -> String {
    if selector.requirements().is_empty() { "all pods".to_owned() } else { format!("pods {selector}") }
}

/// A peer of a rule; everyone without one.
pub(crate) fn peer(peer: Option<&Peer>) -> String {
    match peer {
        None => "everyone".to_owned(),
        Some(Peer::Block(block)) => format!("addresses {block}"),
        Some(Peer::Pods { namespaces: NamespaceScope::Named(name), pods: selector }) => {
            format!("{} in namespace {name}", pods(selector))
        }
        Some(Peer::Pods { namespaces: NamespaceScope::Matching(namespaces), pods: selector }) => {
            let which =
                if namespaces.requirements().is_empty() { "all".to_owned() } else { namespaces.to_string() };
            format!("{} in namespaces {which}", pods(selector))
        }
    }
}

/// A port entry of a rule; every port without one.
pub(crate) fn port(port: Option<&PortMatch>) -> String {
    let Some(PortMatch { protocol, numbers }) = port else { return "every protocol and port".to_owned() };
    match numbers {
        PortNumbers::All => format!("all of {protocol}"),
        PortNumbers::Named(name) => format!("{protocol} port {name:?}"),
        PortNumbers::Range(first, last) if first == last => format!("{protocol}/{first}"),
        PortNumbers::Range(first, last) => format!("{protocol}/{first}-{last}"),
    }
}

/// A finding: a word that programs can rely on, and a sentence.
pub(crate) struct Finding {
    pub(crate) code: &'static str,
    pub(crate) sentence: String,
}

fn finding(code: &'static str, sentence: impl Into<String>) -> Finding {
    Finding { code, sentence: sentence.into() }
}

/// Whether the other end is a peer.
pub(crate) fn peer_fit(fit: &PeerFit, policy: &NamespacedName) -> Finding {
    match fit {
        PeerFit::Everyone => finding("everyone", "covers whoever it is"),
        PeerFit::Excepted(address, except) => {
            finding("excepted", format!("{address} is taken out by except {except}"))
        }
        PeerFit::InBlock(address) => finding("in-block", format!("covers {address}")),
        PeerFit::NeighbourCheck => finding(
            "neighbour-check",
            "covers addresses whose neighbours may check on it from link-local ones",
        ),
        PeerFit::NoAddress => finding("no-address", "the frame carries no ip address"),
        PeerFit::Nobody => finding("nobody", "no known pod is the other end"),
        PeerFit::NotMeant(reasons) => {
            let sentences = reasons.iter().map(|(end, reason)| not_meant(&end.pod, reason, policy));
            let (codes, sentences): (Vec<_>, Vec<_>) =
                sentences.map(|finding| (finding.code, finding.sentence)).unzip();
            finding(codes.first().copied().unwrap_or("nobody"), sentences.join("; "))
        }
        PeerFit::OutsideBlock(address) => finding("outside-block", format!("{address} is outside")),
        PeerFit::Selected(end, identity) => {
            let by = match identity {
                Identity::Address => "its address",
                Identity::LinkLocal => "the link-local address of its mac",
                Identity::Mac => "its mac",
                Identity::Sought => "the solicited-node address that is asked",
                Identity::Unlisted => {
                    let sentence =
                        format!("covers pod {}, which may be sought: no addresses of it are known", end.pod);
                    return finding("selected", sentence);
                }
            };
            finding("selected", format!("covers pod {}, known by {by}", end.pod))
        }
        PeerFit::SoughtInBlock(sought) => {
            finding("sought-in-block", format!("covers an address that is sought at {sought}"))
        }
    }
}

fn not_meant(pod: &NamespacedName, reason: &NotMeant, policy: &NamespacedName) -> Finding {
    match reason {
        NotMeant::NamespaceLabels(unmet) => finding(
            "namespace-labels",
            format!("namespace {} does not meet {}", pod.namespace, requirement(unmet)),
        ),
        NotMeant::Network(network) => {
            finding("network", format!("pod {pod} is there on {network}, which the policy is not for"))
        }
        NotMeant::NotInNamespace => {
            finding("not-in-namespace", format!("pod {pod} is not in namespace {}", policy.namespace))
        }
        NotMeant::PodLabels(unmet) => {
            finding("pod-labels", format!("pod {pod} does not meet {}", requirement(unmet)))
        }
        NotMeant::UnknownNamespace => {
            finding("unknown-namespace", format!("the labels of namespace {} are not known", pod.namespace))
        }
    }
}

/// Whether the frame goes to a port.
pub(crate) fn port_fit(fit: &PortFit) -> Finding {
    match fit {
        PortFit::Any => finding("any", "covers it"),
        PortFit::Fits => finding("fits", "covers it"),
        PortFit::NamedOtherwise(ports) if ports.is_empty() => {
            finding("no-such-name", "the receiving pod has no port of that name and protocol")
        }
        PortFit::NamedOtherwise(ports) => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            finding("named-otherwise", format!("on the receiving pod that is {}", ports.join(", ")))
        }
        PortFit::OtherNumber => finding("other-number", "another port"),
        PortFit::OtherProtocol => finding("other-protocol", "another protocol"),
        PortFit::Unasked => finding("unasked", "ports do not matter for arp and neighbour discovery"),
    }
}

/// Why a policy does not isolate an end.
pub(crate) fn passed_over(reason: &PassedOver) -> Finding {
    match reason {
        PassedOver::Labels(unmet) => {
            finding("labels", format!("the pod does not meet {} of its podSelector", requirement(unmet)))
        }
        PassedOver::Network => finding("network", "its policy-for does not name the network"),
        PassedOver::OtherDirection => finding("other-direction", "it isolates the other direction only"),
    }
}

/// Why nothing is enforced at an end.
pub(crate) fn unenforced(reason: &Unenforced, network: &NamespacedName) -> String {
    match reason {
        Unenforced::NoMac => "its network status lists no mac, so its bridge port cannot be found".to_owned(),
        Unenforced::NoNetwork => format!("there is no definition of network {network}"),
        Unenforced::OtherPlugin(plugin) => format!("network {network} is of plugin {plugin:?}, not a bridge"),
        Unenforced::Unreadable(reason) => format!("network {network} is unreadable: {reason}"),
    }
}
