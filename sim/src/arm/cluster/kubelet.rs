//! What attaches pods in a cluster: a stand-in for the kubelet and Multus that runs the real CNI plugins.
//!
//! The plugins are told the addresses and the MAC that the scenario's network status names, as Multus tells them what a pod
//! asks for; what they answer must be what the status says. (Addresses come from the plugin `static`, whatever the network's
//! own address management is: that one hands out others.) CNI specification 1.0.0, sections 2 and 3.

use alloc::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use policy_core::model::NamespacedName;
use policy_core::ruleset::fingerprint;
use serde_json::{Map, Value, json};

use crate::links;
use crate::netns::Namespace;
use crate::plan::{Station, StationId};

/// Where distributions and Kubernetes put the plugins.
const DIRECTORIES: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// The stand-in of one scenario.
pub(crate) struct Kubelet {
    plugins: PathBuf,
    /// The configurations of the networks as they are now.
    configs: BTreeMap<NamespacedName, String>,
    /// What each attachment was made with: a change of the network's configuration does not concern it.
    attached: BTreeMap<StationId, Vec<Value>>,
}

impl Kubelet {
    /// One that knows no network yet.
    pub(crate) fn new() -> Result<Self> {
        let found = DIRECTORIES.iter().map(Path::new).find(|directory| directory.join("bridge").is_file());
        let plugins = found.context(
            "the CNI plugins are not installed: run sudo apt-get install --yes containernetworking-plugins",
        )?;
        Ok(Self { plugins: plugins.to_owned(), configs: BTreeMap::new(), attached: BTreeMap::new() })
    }

    /// Learns what the configuration of a network is now.
    pub(crate) fn learn(&mut self, network: NamespacedName, config: String) {
        self.configs.insert(network, config);
    }

    /// Whether it has attached the station.
    pub(crate) fn has(&self, station: &StationId) -> bool {
        self.attached.contains_key(station)
    }

    /// Attaches a pod; returns the port's index on the node.
    pub(crate) async fn attach(
        &mut self,
        node: &Namespace,
        pod: &Namespace,
        station: &Station,
    ) -> Result<u32> {
        let network = station.wire.network.as_ref().context("it is no attachment of a pod")?;
        let config = self.configs.get(network).with_context(|| format!("{network} has no configuration"))?;
        let chain = chain(config, network, station)?;
        let mut result = Value::Null;
        for config in &chain {
            let mut config = config.clone();
            if let (Some(fields), false) = (config.as_object_mut(), result.is_null()) {
                fields.insert("prevResult".to_owned(), result);
            }
            result = self.execute("ADD", node, pod, station, &config)?;
        }
        agrees(&result, station)?;
        self.attached.insert(station.id.clone(), chain);
        let port = links::far_end(pod.links(), &station.id.interface).await?;
        // The plugin makes a name up; the harness finds ports by theirs.
        links::replug(node, port, station).await?;
        links::take_over(pod, station).await?;
        Ok(port)
    }

    /// Detaches a pod.
    pub(crate) fn detach(&mut self, node: &Namespace, pod: &Namespace, station: &Station) -> Result<()> {
        let chain = self.attached.remove(&station.id).context("it is not attached")?;
        for config in chain.iter().rev() {
            self.execute("DEL", node, pod, station, config)?;
        }
        Ok(())
    }

    /// Runs a plugin on the node; what it answers.
    fn execute(
        &self,
        command: &str,
        node: &Namespace,
        pod: &Namespace,
        station: &Station,
        config: &Value,
    ) -> Result<Value> {
        let kind = config.get("type").and_then(Value::as_str).context("a plugin without type")?;
        // Under this name the bridge plugin is shipped for virtual machines.
        let program = self.plugins.join(if kind == "cnv-bridge" { "bridge" } else { kind });
        ensure!(program.is_file(), "there is no CNI plugin {}", program.display());
        let started = node.run(|| {
            Command::new(&program)
                .env("CNI_COMMAND", command)
                .env("CNI_CONTAINERID", fingerprint(&station.id.owner))
                .env("CNI_NETNS", format!("/run/netns/{}", pod.name()))
                .env("CNI_IFNAME", &station.id.interface)
                .env("CNI_PATH", &self.plugins)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        })?;
        let mut child = started.with_context(|| format!("cannot start {}", program.display()))?;
        let mut input = child.stdin.take().context("the plugin has no input")?;
        // It may end without reading everything; its status says why.
        drop(input.write_all(config.to_string().as_bytes()));
        drop(input);
        let output = child.wait_with_output().context("cannot wait for the plugin")?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let complained = String::from_utf8_lossy(&output.stderr);
            bail!("{kind} {command} of {}: {} {}", station.id, said.trim(), complained.trim());
        }
        if said.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&said).with_context(|| format!("{kind} {command} answers {said}"))
    }
}

/// The configuration of each plugin in the network's chain, as Multus passes it on for this station.
fn chain(config: &str, network: &NamespacedName, station: &Station) -> Result<Vec<Value>> {
    let config: Value = serde_json::from_str(config).with_context(|| format!("{network}: not JSON"))?;
    let plugins = match config.get("plugins").and_then(Value::as_array) {
        Some(plugins) => plugins.clone(),
        None => vec![config.clone()],
    };
    let name = config.get("name").cloned().unwrap_or_else(|| json!(&*network.name));
    let version = config.get("cniVersion").cloned();
    let asked = asked(station);
    let shaped = plugins.into_iter().zip(0_usize..).map(|(plugin, at)| {
        let Value::Object(mut fields) = plugin else { bail!("{network}: a plugin that is no object") };
        fields.insert("name".to_owned(), name.clone());
        fields.extend(version.clone().map(|version| ("cniVersion".to_owned(), version)));
        fields.insert("runtimeConfig".to_owned(), asked.clone());
        if at == 0 {
            address_statically(&mut fields, station);
        }
        Ok(Value::Object(fields))
    });
    shaped.collect()
}

/// What Multus asks the plugins for.
fn asked(station: &Station) -> Value {
    let addresses: Vec<String> = station.addresses.iter().map(ToString::to_string).collect();
    json!({ "mac": station.mac.to_string(), "ips": addresses })
}

fn address_statically(plugin: &mut Map<String, Value>, station: &Station) {
    if station.addresses.is_empty() {
        plugin.remove("ipam");
    } else {
        plugin.insert("ipam".to_owned(), json!({ "type": "static" }));
    }
}

/// Whether the plugins did what was asked for: their result lists the station's MAC and addresses. (Results before version
/// 0.3.0 list no interfaces.)
fn agrees(result: &Value, station: &Station) -> Result<()> {
    let text = result.to_string();
    let mac = station.mac.to_string();
    let macs_listed = result.get("interfaces").is_some();
    ensure!(!macs_listed || text.contains(&mac), "{}: {mac} is not in {text}", station.id);
    for address in &station.addresses {
        ensure!(text.contains(&address.to_string()), "{}: {address} is not in {text}", station.id);
    }
    Ok(())
}
