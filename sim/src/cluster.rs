//! The cluster of a scenario: an API server that fits in a map.
//!
//! It keeps manifests as they are written and changes them as `kubectl apply`, `delete`, `patch` and `label` do.
//! What they mean is decided by `driver-kube`, exactly as in the agent.

use alloc::collections::BTreeMap;

use driver_kube::{Converted, Manifest, ManifestError, Options, cni, merge_patch};
use policy_core::model::{Object, ObjectId, Pod};
use serde_json::{Value, json};

use crate::disk::ConfigDirectory;

/// What is wrong with a manifest or a change.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The object to change is not there.
    #[error("there is no {object} to {verb}")]
    Absent {
        /// The object.
        object: ObjectId,
        /// What was to be done to it.
        verb: &'static str,
    },
    /// It is not a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A patch makes another object of it.
    #[error("the patch changes the name of {0}")]
    Renamed(ObjectId),
}

/// All manifests, and what lies on the disks of the nodes.
#[derive(Default, Debug)]
pub struct Cluster {
    manifests: BTreeMap<ObjectId, Value>,
    directory: Option<ConfigDirectory>,
}

/// An object that was written, and what the agent understands of it.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its name.
    pub id: ObjectId,
    /// The manifest.
    pub manifest: Value,
    /// The object, and what of it cannot be used.
    pub converted: Converted,
    /// Of a pod whose status is not written yet, but whose wires are connected: the pod as it will be.
    pub wired: Option<Pod>,
    /// Of a network: the text of its CNI configuration, wherever that lies; empty when there is none.
    pub config: String,
}

impl Cluster {
    /// An empty cluster whose nodes have this Multus configuration directory.
    pub fn with(directory: ConfigDirectory) -> Self {
        Self { manifests: BTreeMap::new(), directory: Some(directory) }
    }

    /// Creates or replaces an object; the items of a `List`, each.
    pub fn apply(&mut self, manifest: &Value) -> Result<Vec<Written>, ClusterError> {
        if let Some(items) = manifest.get("items").and_then(Value::as_array) {
            let written: Result<Vec<_>, _> = items.iter().map(|item| self.apply(item)).collect();
            return Ok(written?.into_iter().flatten().collect());
        }
        let written = self.understood(manifest)?;
        self.manifests.insert(written.id.clone(), manifest.clone());
        Ok(vec![written])
    }

    /// Deletes an object.
    pub fn delete(&mut self, id: &ObjectId) -> Result<(), ClusterError> {
        let gone = self.manifests.remove(id);
        gone.map(drop).ok_or_else(|| ClusterError::Absent { object: id.clone(), verb: "delete" })
    }

    /// Applies a JSON merge patch.
    pub fn patch(&mut self, id: &ObjectId, patch: &Value) -> Result<Written, ClusterError> {
        let manifest = self.manifests.get(id);
        let manifest = manifest.ok_or_else(|| ClusterError::Absent { object: id.clone(), verb: "change" })?;
        let mut changed = manifest.clone();
        merge_patch(&mut changed, patch);
        let written = self.understood(&changed)?;
        if written.id != *id {
            return Err(ClusterError::Renamed(id.clone()));
        }
        self.manifests.insert(id.clone(), changed);
        Ok(written)
    }

    /// Sets labels; removes those without a value.
    pub fn label(
        &mut self,
        id: &ObjectId,
        labels: &BTreeMap<String, Option<String>>,
    ) -> Result<Written, ClusterError> {
        self.patch(id, &relabelled(labels))
    }

    /// Reads a manifest as the agent does.
    fn understood(&self, manifest: &Value) -> Result<Written, ClusterError> {
        let typed = Manifest::from_value(manifest.clone())?;
        let id = typed.id();
        let directory = self.directory.as_ref().map(ConfigDirectory::path);
        let options = Options { config_directory: directory.map(Into::into), ..Options::default() };
        let mut config =
            manifest.pointer("/spec/config").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let (ObjectId::Network(network), Some(directory), true) =
            (&id, directory, config.trim().is_empty())
        {
            // What is wrong with the files is among the problems of the object.
            config = cni::on_disk(directory, &network.name).unwrap_or_default();
        }
        let (manifest, converted) = (manifest.clone(), typed.object(&options));
        Ok(Written { id, wired: wired(&manifest, &options)?, manifest, converted, config })
    }
}

/// The merge patch that sets labels, and removes those without a value.
pub fn relabelled(labels: &BTreeMap<String, Option<String>>) -> Value {
    json!({ "metadata": { "labels": labels } })
}

/// The annotation that says which wires of a pod are connected, before its status does. It is one of the harness only, and
/// written like a network status.
pub(crate) const WIRED: &str = "sim.mnp-nft-bridge.io/wired";
pub(crate) const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
/// What old versions of Multus call it.
pub(crate) const OLD_STATUS: &str = "k8s.v1.cni.cncf.io/networks-status";

/// The pod as it will be once its status is written, if the manifest says what that will be.
fn wired(manifest: &Value, options: &Options) -> Result<Option<Pod>, ClusterError> {
    let place = "/metadata/annotations";
    let Some(status) = manifest.pointer(place).and_then(|annotations| annotations.get(WIRED)).cloned() else {
        return Ok(None);
    };
    let mut manifest = manifest.clone();
    if let Some(annotations) = manifest.pointer_mut(place).and_then(Value::as_object_mut) {
        annotations.remove(WIRED);
        annotations.insert(STATUS.to_owned(), status);
    }
    let object = Manifest::from_value(manifest)?.object(options).object;
    Ok(if let Object::Pod(pod) = object { Some(pod) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use driver_kube::identify;

    #[test]
    fn a_list_is_applied_item_by_item() {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}},
        ]});
        let written = Cluster::default().apply(&list).expect("a good list");
        let names: Vec<String> = written.iter().map(|written| written.id.to_string()).collect();
        assert_eq!(names, ["namespace shop", "pod shop/web"]);
    }

    #[test]
    fn what_is_not_there_cannot_be_changed() {
        let id = identify("Pod", Some("shop"), "web").expect("a known kind");
        let error = Cluster::default().patch(&id, &json!({})).expect_err("nothing is there");
        assert_eq!(error.to_string(), "there is no pod shop/web to change");
    }

    #[test]
    fn a_null_label_is_removed() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "old": "yes"}}});
        let mut cluster = Cluster::default();
        let id = cluster.apply(&pod).expect("a good pod").remove(0).id;
        let labels = BTreeMap::from([("old".to_owned(), None), ("new".to_owned(), Some("1".to_owned()))]);
        let written = cluster.label(&id, &labels).expect("the pod is there");
        assert_eq!(written.manifest["metadata"]["labels"], json!({"app": "web", "new": "1"}));
    }

    #[test]
    fn a_patch_cannot_rename() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        let mut cluster = Cluster::default();
        let id = cluster.apply(&namespace).expect("a good namespace").remove(0).id;
        let patch = json!({"metadata": {"name": "other"}});
        let error = cluster.patch(&id, &patch).expect_err("the name changes");
        assert_eq!(error.to_string(), "the patch changes the name of namespace shop");
    }
}
