//! The objects of a scenario in a real API server.

use alloc::collections::BTreeMap;

use anyhow::{Context as _, Result};
use control_plane::api::{Administrator, Target};
use driver_kube::{Manifest, Options, merge_patch};
use policy_core::Input;
use policy_core::model::{Object, ObjectId};
use serde_json::{Map, Value, json};

use super::process::Heard;
use crate::cluster::{OLD_STATUS, STATUS, WIRED};
use crate::disk::ConfigDirectory;
use crate::plane::Access;
use crate::relay;
use crate::scenario::Scenario;
use crate::stage::Change;

/// What the server itself writes into every object.
const SERVERS_OWN: [&str; 6] =
    ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];

/// The API server, and what has been written to it.
pub(super) struct World {
    administrator: Administrator,
    /// The nodes whose pods are attached here.
    nodes: Vec<String>,
    options: Options,
    directory: Option<ConfigDirectory>,
    objects: BTreeMap<ObjectId, Object>,
    /// What Multus and the kubelet will write into a pod once its wires are connected: annotations, and the status.
    pending: BTreeMap<ObjectId, Value>,
    /// What agents must have heard.
    wanted: BTreeMap<String, Heard>,
}

impl World {
    /// An API server without objects.
    pub(super) async fn new(scenario: &Scenario, access: &Access) -> Result<Self> {
        let administrator = Administrator::connect(&access.admin()).await?;
        crate::links::raise_loopback().await?;
        relay::to_socket(administrator.port(), &access.socket())?;
        administrator.clear().await.context("cannot delete what earlier scenarios have left")?;
        let directory = match scenario.disk.as_slice() {
            [] => None,
            files => Some(ConfigDirectory::with(files)?),
        };
        let config_directory = directory.as_ref().map(|directory| directory.path().to_owned());
        Ok(Self {
            administrator,
            nodes: scenario.nodes.clone(),
            options: Options { config_directory, ..Options::default() },
            directory,
            objects: BTreeMap::new(),
            pending: BTreeMap::new(),
            wanted: BTreeMap::new(),
        })
    }

    /// The port of the API server on every loopback.
    pub(super) const fn port(&self) -> u16 {
        self.administrator.port()
    }

    /// The Multus configuration directory, if the scenario has one.
    pub(super) fn config_directory(&self) -> Option<String> {
        self.directory.as_ref().map(|directory| directory.path().display().to_string())
    }

    /// Everything that has been written.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// What agents must have heard of.
    pub(super) const fn wanted(&self) -> &BTreeMap<String, Heard> {
        &self.wanted
    }

    /// Makes a change; returns what agents will hear.
    pub(super) async fn write(&mut self, change: &Change) -> Result<Vec<Input>> {
        match change {
            Change::Apply { manifest, .. } => self.apply(manifest.clone()).await,
            Change::Delete(id) => {
                self.administrator.delete(&target(id)).await?;
                self.objects.remove(id);
                self.pending.remove(id);
                self.wanted.insert(id.to_string(), Heard::Gone);
                Ok(vec![Input::Remove(id.clone())])
            }
            Change::Patch { object, patch, .. } => {
                let mut patch = patch.clone();
                if matches!(object, ObjectId::Pod(_)) {
                    self.withhold(object, &mut patch);
                }
                let answer = self.administrator.patch(&target(object), &patch, false).await?;
                Ok(vec![Input::Upsert(self.understood(answer)?)])
            }
        }
    }

    /// Writes what Multus and the kubelet write once the wires of a pod are connected.
    pub(super) async fn announce(&mut self, pod: &ObjectId) -> Result<Option<Object>> {
        let Some(mut pending) = self.pending.remove(pod) else { return Ok(None) };
        let status = pending.as_object_mut().and_then(|fields| fields.remove("status"));
        let mut answer = None;
        if pending.pointer("/metadata/annotations").is_some() {
            answer = Some(self.administrator.patch(&target(pod), &pending, false).await?);
        }
        if let Some(status) = status {
            let patch = json!({ "status": status });
            answer = Some(self.administrator.patch(&target(pod), &patch, true).await?);
        }
        answer.map(|answer| self.understood(answer)).transpose()
    }

    async fn apply(&mut self, mut manifest: Value) -> Result<Vec<Input>> {
        let id = Manifest::from_value(manifest.clone())?.id();
        let mut heard = Vec::new();
        if let Some(namespace) = namespace_of(&id) {
            heard.extend(self.ensure_namespace(namespace).await?);
            merge_patch(&mut manifest, &json!({ "metadata": { "namespace": namespace } }));
        }
        if let Some(metadata) = manifest.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| !SERVERS_OWN.contains(&field.as_str()));
        }
        if matches!(id, ObjectId::Pod(_)) {
            let is_here = manifest
                .pointer("/spec/nodeName")
                .and_then(Value::as_str)
                .is_some_and(|node| self.nodes.iter().any(|name| name == node));
            complete(&mut manifest);
            if is_here {
                self.withhold(&id, &mut manifest);
            } else {
                // Whoever is on its node has written everything.
                let status = manifest.get("status").cloned();
                let pending = status.map(|status| json!({ "status": status }));
                self.pending.extend(pending.map(|pending| (id.clone(), pending)));
            }
        }
        if matches!(id, ObjectId::Pod(_)) && self.objects.contains_key(&id) {
            // Most of a pod cannot be changed: what is there makes way, as when a controller replaces it.
            self.administrator.delete(&target(&id)).await?;
            heard.push(Input::Remove(id.clone()));
        }
        let answer = self.administrator.write(&manifest).await?;
        heard.push(Input::Upsert(self.understood(answer)?));
        Ok(heard)
    }

    /// There is no object in a namespace that is not there; a scenario may leave the namespace out.
    async fn ensure_namespace(&mut self, name: &str) -> Result<Option<Input>> {
        if name == "default" || self.objects.contains_key(&ObjectId::Namespace(name.into())) {
            return Ok(None);
        }
        let manifest = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let answer = self.administrator.write(&manifest).await?;
        self.understood(answer).map(|object| Some(Input::Upsert(object)))
    }

    /// Takes out of a pod, or of a patch of one, what Multus and the kubelet write when its wires are connected.
    fn withhold(&mut self, id: &ObjectId, pod: &mut Value) {
        let mut taken = Map::new();
        if let Some(annotations) = pod.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.remove(WIRED);
            for name in [STATUS, OLD_STATUS] {
                taken.extend(annotations.remove(name).map(|status| (name.to_owned(), status)));
            }
        }
        let status = pod.as_object_mut().and_then(|fields| fields.remove("status"));
        let mut pending = json!({});
        if !taken.is_empty() {
            merge_patch(&mut pending, &json!({ "metadata": { "annotations": taken } }));
        }
        if let (Some(status), Some(fields)) = (status, pending.as_object_mut()) {
            fields.insert("status".to_owned(), status);
        }
        self.pending.insert(id.clone(), pending);
    }

    /// What an agent will make of the server's answer.
    fn understood(&mut self, answer: Value) -> Result<Object> {
        let version = answer.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let version =
            version.and_then(|version| version.parse().ok()).context("an object without version")?;
        let phase = answer.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
        // Agents do not watch pods that have completed.
        let is_watched = !matches!(phase, "Failed" | "Succeeded");
        let manifest = Manifest::from_value(answer)?;
        let object = manifest.object(&self.options).object;
        let heard = if is_watched { Heard::Version(version) } else { Heard::Gone };
        self.wanted.insert(manifest.id().to_string(), heard);
        self.objects.insert(manifest.id(), object.clone());
        Ok(object)
    }
}

/// A pod that the API server takes: a scenario may leave out what no policy depends on.
fn complete(pod: &mut Value) {
    if pod.pointer("/spec/containers").is_none() {
        merge_patch(pod, &json!({ "spec": { "containers": [{ "name": "main", "image": "none" }] } }));
    }
}

fn namespace_of(id: &ObjectId) -> Option<&str> {
    match id {
        ObjectId::Namespace(_) | ObjectId::Port(_) => None,
        ObjectId::Network(name) | ObjectId::Pod(name) | ObjectId::Policy(name) => Some(&name.namespace),
    }
}

fn target(id: &ObjectId) -> Target {
    let (kind, api_version, name) = match id {
        ObjectId::Namespace(name) => ("Namespace", "v1", name.to_string()),
        ObjectId::Network(name) => {
            ("NetworkAttachmentDefinition", "k8s.cni.cncf.io/v1", name.name.to_string())
        }
        ObjectId::Pod(name) => ("Pod", "v1", name.name.to_string()),
        ObjectId::Policy(name) => ("MultiNetworkPolicy", "k8s.cni.cncf.io/v1beta1", name.name.to_string()),
        ObjectId::Port(_) => unreachable!("no scenario writes ports to the API server"),
    };
    Target {
        kind: kind.to_owned(),
        api_version: api_version.to_owned(),
        namespace: namespace_of(id).map(str::to_owned),
        name,
    }
}
