//! Manifests of scenarios as a real cluster takes them.

use alloc::collections::{BTreeMap, BTreeSet};

use policy_core::model::ObjectId;
use serde_json::{Value, json};

use crate::cluster::Written;
use crate::plan::{Station, StationId};
use crate::probe::ProbeKind;
use crate::scenario::{Scenario, with_default_prefix};
use crate::stage::Stage;

const REQUEST: &str = "k8s.v1.cni.cncf.io/networks";
const STATUSES: [&str; 2] = ["k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status"];
/// The label by which a pod selects the node that is called so in the scenario.
const NODE: &str = "sim.mnp-nft-bridge.io/node";

/// The pods that there are, and what makes real ones of a scenario's.
pub(super) struct Pods<'a> {
    scenario: &'a Scenario,
    image: &'a str,
    /// Every station that there is at some time.
    stations: BTreeMap<StationId, &'a Station>,
    /// The pods that run, and what their specifications and requests are.
    running: BTreeMap<String, Value>,
    namespaces: BTreeSet<String>,
}

/// The kind, namespace and name of an object.
pub(super) fn parts(id: &ObjectId) -> (&'static str, Option<&str>, &str) {
    match id {
        ObjectId::Namespace(name) => ("Namespace", None, name),
        ObjectId::Network(name) => ("NetworkAttachmentDefinition", Some(&name.namespace), &name.name),
        ObjectId::Pod(name) => ("Pod", Some(&name.namespace), &name.name),
        ObjectId::Policy(name) => ("MultiNetworkPolicy", Some(&name.namespace), &name.name),
        // No manifest names one.
        ObjectId::Port(_) => ("Port", None, ""),
    }
}

impl<'a> Pods<'a> {
    pub(super) fn new(scenario: &'a Scenario, stages: &'a [Stage], image: &'a str) -> Self {
        let stations = stages.iter().flat_map(|stage| &stage.stations);
        Self {
            scenario,
            image,
            stations: stations.map(|(id, station)| (id.clone(), station)).collect(),
            running: BTreeMap::new(),
            namespaces: BTreeSet::new(),
        }
    }

    /// `namespace/name` of those that run.
    pub(super) fn running(&self) -> BTreeSet<String> {
        self.running.keys().cloned().collect()
    }

    /// Every namespace that was needed.
    pub(super) fn namespaces(&self) -> BTreeSet<String> {
        self.namespaces.clone()
    }

    /// What is to be applied for what was written: what others need comes first, of each object its last state.
    pub(super) fn applicable(
        &mut self,
        written: &[Written],
        gone: &[ObjectId],
    ) -> Result<Vec<Value>, String> {
        for id in gone {
            self.forget(id);
        }
        let latest: BTreeMap<&ObjectId, &Written> =
            written.iter().map(|written| (&written.id, written)).collect();
        let mut ordered: Vec<(u8, Value)> = Vec::new();
        for (id, written) in latest {
            if gone.contains(id) {
                continue;
            }
            let (_, namespace, name) = parts(id);
            // A scenario may leave out namespaces that no selector looks at.
            let needed = namespace.unwrap_or(name);
            if self.namespaces.insert(needed.to_owned()) && namespace.is_some() {
                ordered.push((
                    0,
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": needed}}),
                ));
            }
            ordered.push(match id {
                ObjectId::Namespace(_) | ObjectId::Port(_) => (1, written.manifest.clone()),
                ObjectId::Network(_) => (2, self.network(&written.manifest)?),
                ObjectId::Policy(_) => (3, written.manifest.clone()),
                ObjectId::Pod(_) => (4, self.pod(written)?),
            });
        }
        ordered.sort_by_key(|(order, _)| *order);
        Ok(ordered.into_iter().map(|(_, manifest)| without_the_servers_own(manifest)).collect())
    }

    fn forget(&mut self, id: &ObjectId) {
        match id {
            ObjectId::Pod(name) => drop(self.running.remove(&name.to_string())),
            // A real namespace takes along what is in it.
            ObjectId::Namespace(gone) => {
                let within = format!("{gone}/");
                self.running.retain(|pod, _| !pod.starts_with(&within));
                self.namespaces.remove(&**gone);
            }
            ObjectId::Network(_) | ObjectId::Policy(_) | ObjectId::Port(_) => {}
        }
    }

    /// A network whose pods may ask for their MACs and addresses.
    fn network(&self, manifest: &Value) -> Result<Value, String> {
        let text = manifest.pointer("/spec/config").and_then(Value::as_str).unwrap_or_default();
        let Ok(mut config) = serde_json::from_str::<Value>(text) else {
            return Err("a network has no configuration that can be read".to_owned());
        };
        let is_list = config.get("plugins").is_some();
        let plugin = if is_list { config.pointer_mut("/plugins/0") } else { Some(&mut config) };
        let plugin = plugin.and_then(Value::as_object_mut).ok_or("a network has no plugin")?;
        plugin.insert("capabilities".to_owned(), json!({"ips": true, "mac": true}));
        let on_bridge = plugin.get("bridge").and_then(Value::as_str).unwrap_or("cni0").to_owned();
        let has_addresses =
            |station: &&&Station| station.bridge == on_bridge && !station.addresses.is_empty();
        if self.stations.values().find(has_addresses).is_some() {
            plugin.insert("ipam".to_owned(), json!({"type": "static"}));
        }
        let mut manifest = manifest.clone();
        if let Some(spec) = manifest.pointer_mut("/spec/config") {
            *spec = Value::String(config.to_string());
        }
        Ok(manifest)
    }

    fn pod(&mut self, written: &Written) -> Result<Value, String> {
        let mut manifest = written.manifest.clone();
        let (_, namespace, name) = parts(&written.id);
        let full = format!("{}/{name}", namespace.unwrap_or_default());
        let is_at = |pointer: &str, value: Value| manifest.pointer(pointer) == Some(&value);
        if is_at("/spec/hostNetwork", json!(true)) || is_at("/status/phase", json!("Succeeded")) {
            return Err(format!("{full} is on the node's network, or has ended"));
        }
        if written.wired.is_some() {
            return Err(format!("the status of {full} is written late"));
        }
        let request = self.request(&manifest, &full)?;
        let spec = self.spec(&manifest);
        if let Some(fields) = manifest.as_object_mut() {
            fields.remove("status");
            fields.insert("spec".to_owned(), spec.clone());
        }
        let metadata =
            manifest.pointer_mut("/metadata").and_then(Value::as_object_mut).ok_or("no metadata")?;
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.retain(|key, _| !STATUSES.contains(&key.as_str()) && key != REQUEST);
            annotations.insert(REQUEST.to_owned(), Value::String(request.to_string()));
        }
        let now = json!([request, spec]);
        match self.running.insert(full.clone(), now.clone()) {
            Some(before) if before != now => Err(format!("{full} changes while it runs")),
            _ => Ok(manifest),
        }
    }

    /// What a pod asks Multus for, so that its status becomes the one in the manifest.
    fn request(&self, manifest: &Value, pod: &str) -> Result<Value, String> {
        let annotation = |key: &&str| manifest.pointer("/metadata/annotations").and_then(|all| all.get(*key));
        let Some(status) = STATUSES.iter().find_map(annotation).and_then(Value::as_str) else {
            return Ok(json!([]));
        };
        let cannot = || format!("the status of {pod} is not what Multus writes");
        let entries: Vec<Value> = serde_json::from_str(status).ok().ok_or_else(cannot)?;
        let mut request = Vec::new();
        for entry in entries.iter().filter(|entry| entry.get("default") != Some(&json!(true))) {
            let text = |key: &str| entry.get(key).and_then(Value::as_str);
            let (Some((namespace, network)), Some(interface)) =
                (text("name").and_then(|name| name.split_once('/')), text("interface"))
            else {
                return Err(cannot());
            };
            let mut wished = vec![("namespace", json!(namespace)), ("name", json!(network))];
            wished.push(("interface", json!(interface)));
            wished.extend(text("mac").map(|mac| ("mac", json!(mac))));
            let addresses = self.addresses(entry, pod, interface).ok_or_else(cannot)?;
            // An empty list would be a request for none, which plugins refuse.
            wished.extend(Some(("ips", json!(addresses))).filter(|_| !addresses.is_empty()));
            request.push(object(wished));
        }
        Ok(json!(request))
    }

    /// The addresses of an entry with their prefix lengths: those of its station, else the customary ones.
    fn addresses(&self, entry: &Value, pod: &str, interface: &str) -> Option<Vec<String>> {
        let id = StationId { owner: pod.to_owned(), interface: interface.to_owned() };
        let known = self.stations.get(&id).map(|station| station.addresses.as_slice()).unwrap_or_default();
        let listed = entry.get("ips").and_then(Value::as_array).into_iter().flatten();
        listed
            .map(|address| {
                let address = address.as_str()?.parse().ok()?;
                let net = known.iter().find(|net| net.addr() == address).copied();
                Some(net.unwrap_or_else(|| with_default_prefix(address)).to_string())
            })
            .collect()
    }

    /// A specification whose containers have the ports of the manifest's, and of which the first one listens.
    fn spec(&self, manifest: &Value) -> Value {
        let containers = |pointer: &str, command: &dyn Fn(usize, bool) -> Value| -> Value {
            let listed = manifest.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
            let real = |(at, container): (usize, &Value)| {
                let kept = ["name", "ports", "restartPolicy"];
                let kept = kept.into_iter().filter_map(|key| Some((key, container.get(key)?.clone())));
                let is_sidecar = container.get("restartPolicy").is_some();
                let own = [("image", json!(self.image)), ("command", command(at, is_sidecar))];
                object(kept.chain(own))
            };
            listed.enumerate().map(real).collect()
        };
        let pause = || json!(["/agnhost", "pause"]);
        let script = self.listen();
        let main = containers("/spec/containers", &|at, _| {
            if at == 0 { json!(["sh", "-c", script]) } else { pause() }
        });
        let before = containers("/spec/initContainers", &|_, is_sidecar| {
            if is_sidecar { pause() } else { json!(["true"]) }
        });
        let mut spec = vec![("containers", main), ("initContainers", before)];
        spec.push(("terminationGracePeriodSeconds", json!(0)));
        let node = manifest.pointer("/spec/nodeName").and_then(Value::as_str);
        let node = node.filter(|node| self.scenario.nodes.iter().any(|built| built == node));
        spec.extend(node.map(|node| ("nodeSelector", json!({ NODE: node }))));
        object(spec)
    }

    /// The shell command of a container that listens where probes go.
    fn listen(&self) -> String {
        let probes = || self.scenario.probes.iter();
        let udp = probes().filter_map(|kind| {
            let ProbeKind::Udp(port) = kind else { return None };
            Some(format!("/agnhost serve-hostname --udp --http=false --port={port} &"))
        });
        let tcp = probes().filter_map(|kind| {
            let ProbeKind::Tcp(port) = kind else { return None };
            Some(format!("export SERVE_PORT_{port}=open;"))
        });
        // It ends at once when there is no port to listen on.
        let last = if tcp.clone().next().is_some() { "porter" } else { "pause" };
        let last = format!("exec /agnhost {last}");
        udp.chain(tcp).chain([last]).collect::<Vec<_>>().join(" ")
    }
}

fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A manifest without what only the server writes, as `kubectl get` prints it.
fn without_the_servers_own(mut manifest: Value) -> Value {
    if let Some(metadata) = manifest.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        for field in ["creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"] {
            metadata.remove(field);
        }
    }
    manifest
}
