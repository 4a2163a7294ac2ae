//! The cluster: the same that the core's benchmarks make, as objects of the API.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use control_plane::ControlPlane;
use control_plane::api::{Administrator, Target};
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};
use serde_json::{Value, json};

/// The node under test.
pub const NODE: &str = "node-0";
/// How many pods the node has, how many namespaces and policies there are.
pub const LOCAL: usize = 250;
pub const NAMESPACES: usize = 20;
pub const POLICIES: usize = 200;
/// How many values the label `app` has, and how many of them policies name.
const APPS: usize = 20;
const NAMED_APPS: usize = 9;
/// How many objects are written at once.
const AT_ONCE: usize = 24;

/// The first two bytes of every pod's address: unlike anything else in what the kernel announces.
pub const NETWORK: [u8; 2] = [10, 77];

fn namespace(number: usize) -> String {
    format!("tenant-{}", number % NAMESPACES)
}

fn low_bytes(number: usize) -> [u8; 2] {
    u16::try_from(number + 1).expect("as many pods as there are addresses").to_be_bytes()
}

/// The number of the pod with this address.
pub fn number_of([high, low]: [u8; 2]) -> Option<usize> {
    usize::from(u16::from_be_bytes([high, low])).checked_sub(1)
}

fn mac(number: usize) -> String {
    let [high, low] = low_bytes(number);
    format!("02:00:00:00:{high:02x}:{low:02x}")
}

pub fn first_app(number: usize) -> usize {
    number / NAMESPACES % APPS
}

/// An app that policies name, and not `app`.
pub fn next_app(app: usize) -> usize {
    app % NAMED_APPS + 1
}

pub fn pod_target(number: usize) -> Target {
    Target {
        kind: "Pod".to_owned(),
        api_version: "v1".to_owned(),
        namespace: Some(namespace(number)),
        name: format!("pod-{number}"),
    }
}

/// What gives a pod another app.
pub fn relabelled(app: usize) -> Value {
    json!({ "metadata": { "labels": { "app": format!("app-{app}") } } })
}

fn pod(number: usize) -> Value {
    let node = if number < LOCAL { NODE.to_owned() } else { format!("node-{}", 1 + number % 100) };
    let ([a, b], [c, d]) = (NETWORK, low_bytes(number));
    let status = json!([{
        "name": "infra/lan", "interface": "net1", "mac": mac(number), "ips": [format!("{a}.{b}.{c}.{d}")],
    }]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("pod-{number}"), "namespace": namespace(number),
            "labels": {
                "app": format!("app-{}", first_app(number)), "tier": format!("tier-{}", number % 3),
                "pod-template-hash": format!("{}", number / 10), "team": format!("team-{}", number % 7),
            },
            "annotations": { "k8s.v1.cni.cncf.io/network-status": status.to_string() },
        },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "none" }] },
    })
}

fn policy(number: usize) -> Value {
    let app = number / NAMESPACES % APPS;
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1beta1", "kind": "MultiNetworkPolicy",
        "metadata": {
            "name": format!("policy-{number}"), "namespace": namespace(number),
            "annotations": { "k8s.v1.cni.cncf.io/policy-for": "infra/lan" },
        },
        "spec": {
            "podSelector": { "matchLabels": { "app": format!("app-{app}") } },
            "ingress": [{
                "from": [
                    { "podSelector": { "matchLabels": { "app": format!("app-{}", (app + 1) % APPS) } } },
                    {
                        "namespaceSelector": { "matchLabels": { "zone": format!("zone-{}", number % 4) } },
                        "podSelector": { "matchLabels": { "team": format!("team-{}", number % 7) } },
                    },
                    { "ipBlock": { "cidr": format!("192.168.{}.0/24", number % 200) } },
                ],
                "ports": [{ "port": 80 }],
            }],
            "policyTypes": ["Ingress"],
        },
    })
}

fn named(name: &str, labels: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

/// Writes everything but pods.
pub async fn write_base(plane: &ControlPlane, administrator: &Administrator) -> Result<()> {
    plane.install_agents()?;
    plane.install_crds()?;
    administrator.write(&named("infra", &json!({}))).await?;
    let config = json!({ "cniVersion": "0.3.1", "type": "bridge", "bridge": "br0" }).to_string();
    let network = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": { "name": "lan", "namespace": "infra" }, "spec": { "config": config },
    });
    administrator.write(&network).await?;
    let namespaces = (0..NAMESPACES)
        .map(|number| named(&namespace(number), &json!({ "zone": format!("zone-{}", number % 40) })));
    write_all(administrator, namespaces).await?;
    write_all(administrator, (0..POLICIES).map(policy)).await
}

/// Writes the pods with these numbers.
pub async fn write_pods(administrator: &Administrator, numbers: core::ops::Range<usize>) -> Result<()> {
    write_all(administrator, numbers.map(pod)).await
}

async fn write_all(administrator: &Administrator, objects: impl Iterator<Item = Value>) -> Result<()> {
    let writes = objects.map(|object| async move { administrator.write(&object).await });
    iter(writes).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
}

/// A bridge with a port for each pod of the node, in the calling thread's network namespace.
pub fn wire() -> Result<()> {
    let mut batch = "link set lo up\nlink add br0 type bridge\nlink set br0 up\n".to_owned();
    for number in 0..LOCAL {
        let mac = mac(number);
        writeln!(batch, "link add port{number} type veth peer name pod{number} address {mac}")?;
        writeln!(batch, "link set port{number} master br0 up")?;
    }
    let ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn();
    let mut ip = ip.context("cannot run ip: install the package iproute2")?;
    ip.stdin.take().context("ip has no input")?.write_all(batch.as_bytes())?;
    ensure!(ip.wait()?.success(), "ip cannot build the bridge");
    Ok(())
}
