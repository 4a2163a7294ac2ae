//! What happens while flows run, as a scenario: a hundred changes that do not concern them, twenty restarts,
//! ten upgrades or downgrades of the agent, and two cuts.

use core::net::IpAddr;

/// The namespaces of the pods between which flows run that are cut.
pub(super) const CLIENT: &str = "shop.client";
/// The other one.
pub(super) const SERVER: &str = "shop.server";
/// Two that nobody isolates.
pub(super) const BYSTANDERS: [&str; 2] = ["shop.left", "shop.right"];
/// Those that unrelated policies are about.
const OTHERS: [&str; 2] = ["shop.first", "shop.second"];

/// How often policies change without meaning the flows.
pub(super) const CHANGES: u32 = 100;
/// How often the agent restarts.
pub(super) const RESTARTS: u32 = 20;
/// How often another version of the agent takes over, whose table is laid out in another way.
pub(super) const UPGRADES: u32 = 10;

/// The kinds of steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    /// The flows stop being allowed.
    Cut,
    /// The agent restarts.
    Restart,
    /// Everything is prepared for the next deed.
    Set,
    /// Something happens that does not concern the flows.
    Unrelated,
    /// Another version of the agent takes over.
    Upgrade,
}

/// What kind of step has this name.
pub(super) fn deed(name: &str) -> Deed {
    match name.split(':').next() {
        Some("cut") => Deed::Cut,
        Some("restart") => Deed::Restart,
        Some("unrelated") => Deed::Unrelated,
        Some("upgrade") => Deed::Upgrade,
        _ => Deed::Set,
    }
}

fn pods() -> impl Iterator<Item = &'static str> {
    [CLIENT, SERVER].into_iter().chain(BYSTANDERS).chain(OTHERS)
}

/// The addresses of a pod, by the name of its namespace.
pub(super) fn addresses(namespace: &str) -> [IpAddr; 2] {
    let number = pods().zip(11..).find(|(name, _)| *name == namespace).map_or(0, |(_, number)| number);
    [IpAddr::from([10, 10, 0, number]), IpAddr::from([0xfd10, 0, 0, 0, 0, 0, 0, u16::from(number)])]
}

/// The beginning of a scenario in this world: its pods and policies.
pub(super) fn world() -> String {
    let mut text = String::from(WORLD);
    for namespace in pods() {
        let name = namespace.trim_start_matches("shop.");
        let [ip4, ip6] = addresses(namespace).map(|address| address.to_string());
        text += &pod(name, &ip4, &ip6, "  ");
    }
    text += &policy("server", "server", [Some("client"), None], "  ");
    text += &policy("client", "client", [None, Some("server")], "  ");
    text += &policy("watcher", "first", [Some("moody"); 2], "  ");
    text
}

/// The scenario, as YAML.
pub(super) fn scenario() -> String {
    let mut text = world();
    text.push_str("steps:\n");
    for number in 0..CHANGES {
        text += &unrelated(number);
        if number.is_multiple_of(CHANGES / RESTARTS) {
            text.extend([format!("- {{name: 'restart: {number}', agent: restart, expect: {{}}}}\n")]);
        }
        if number.is_multiple_of(CHANGES / UPGRADES) {
            text.extend([format!("- {{name: 'upgrade: {number}', agent: upgrade, expect: {{}}}}\n")]);
        }
    }
    for (direction, policy) in [("ingress", "server"), ("egress", "client")] {
        let patch = |rules: &str| {
            format!(
                "patch: [{{kind: MultiNetworkPolicy, namespace: shop, name: {policy}, merge: {{spec: {{{direction}: {rules}}}}}}}], expect: {{}}}}\n"
            )
        };
        let (selects, word) = if direction == "ingress" { ("client", "from") } else { ("server", "to") };
        text.extend([format!("- {{name: 'cut: by the {direction} of the {policy}', {}", patch("[]"))]);
        let again = format!("[{{{word}: [{{podSelector: {{matchLabels: {{app: {selects}}}}}}}]}}]");
        text.extend([format!("- {{name: 'again: {direction}', {}", patch(&again))]);
    }
    text
}

/// One change that means other pods, or the server besides what it is allowed.
fn unrelated(number: u32) -> String {
    let name = format!("'unrelated: {number}'");
    let round = number / 5;
    match number % 5 {
        0 => {
            let mood = if round.is_multiple_of(2) { "moody" } else { "second" };
            format!(
                "- {{name: {name}, label: [{{kind: Pod, namespace: shop, name: second, labels: {{app: {mood}}}}}], expect: {{}}}}\n"
            )
        }
        1 => format!(
            "- name: {name}\n  expect: {{}}\n  apply:\n{}",
            policy("extra", "first", [Some("server"); 2], "    ")
        ),
        2 => {
            format!(
                "- name: {name}\n  expect: {{}}\n  apply:\n{}",
                policy("also", "server", [Some("moody"); 2], "    ")
            )
        }
        3 => format!(
            "- {{name: {name}, patch: [{{kind: MultiNetworkPolicy, namespace: shop, name: extra, merge: {{spec: {{ingress: [{{from: [{{ipBlock: {{cidr: 10.{round}.0.0/16}}}}]}}]}}}}}}], expect: {{}}}}\n"
        ),
        _ => {
            let target = |name: &str| format!("{{kind: MultiNetworkPolicy, namespace: shop, name: {name}}}");
            format!("- {{name: {name}, delete: [{}, {}], expect: {{}}}}\n", target("extra"), target("also"))
        }
    }
}

const WORLD: &str = r#"description: flows
objects:
  - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
  - apiVersion: k8s.cni.cncf.io/v1
    kind: NetworkAttachmentDefinition
    metadata: {name: data, namespace: shop}
    spec: {config: '{"type": "bridge", "bridge": "br-data"}'}
"#;

pub(super) fn pod(name: &str, ip4: &str, ip6: &str, indent: &str) -> String {
    let status = format!(
        r#"[{{"name": "shop/data", "interface": "net1", "ips": ["{ip4}", "{ip6}"], "mac": "{}"}}]"#,
        mac(ip4)
    );
    format!(
        "{indent}- {{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}, annotations: \
         {{k8s.v1.cni.cncf.io/network-status: '{status}'}}}}, spec: {{nodeName: node-1}}}}\n"
    )
}

/// A MAC from the last number of an address.
pub(super) fn mac(ip4: &str) -> String {
    let last: u8 = ip4.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    format!("02:00:0a:0a:00:{last:02x}")
}

/// A policy that isolates `selects` both ways, and lets the first peer in and itself out to the second.
pub(super) fn policy(name: &str, selects: &str, [from, to]: [Option<&str>; 2], indent: &str) -> String {
    let rules = |word: &str, peer: Option<&str>| {
        let rule = |peer| format!("{{{word}: [{{podSelector: {{matchLabels: {{app: {peer}}}}}}}]}}");
        format!("[{}]", peer.map(rule).unwrap_or_default())
    };
    format!(
        "{indent}- {{apiVersion: k8s.cni.cncf.io/v1beta1, kind: MultiNetworkPolicy, metadata: {{name: {name}, namespace: shop, \
         annotations: {{k8s.v1.cni.cncf.io/policy-for: data}}}}, spec: {{podSelector: {{matchLabels: {{app: {selects}}}}}, \
         policyTypes: [Ingress, Egress], ingress: {}, egress: {}}}}}\n",
        rules("from", from),
        rules("to", to)
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::Scenario;
    use crate::stage::stages;

    #[test]
    fn the_script_has_as_many_deeds_as_it_says() {
        let scenario = Scenario::parse(Path::new("flows"), &scenario()).expect("good YAML");
        let stages = stages(Path::new("flows"), &scenario).expect("a good scenario");
        let count = |wanted| u32::try_from(stages.iter().filter(|stage| deed(&stage.name) == wanted).count());
        assert_eq!(count(Deed::Unrelated), Ok(CHANGES));
        assert_eq!(count(Deed::Restart), Ok(RESTARTS));
        assert_eq!(count(Deed::Upgrade), Ok(UPGRADES));
        assert_eq!(count(Deed::Cut), Ok(2));
    }
}
