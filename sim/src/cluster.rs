//! The cluster of a scenario: an API server that fits in a map.
//!
//! It keeps manifests as they are written and changes them as `kubectl apply`, `delete`, `patch` and `label` do.
//! What they mean is decided by `driver-kube`, exactly as in the agent.

use alloc::collections::BTreeMap;

use driver_kube::{Converted, Manifest, ManifestError, Options, merge_patch};
use policy_core::model::ObjectId;
use serde_json::{Value, json};

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

/// All manifests.
#[derive(Clone, Default, Debug)]
pub struct Cluster {
    manifests: BTreeMap<ObjectId, Value>,
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
}

impl Cluster {
    /// Creates or replaces an object; the items of a `List`, each.
    pub fn apply(&mut self, manifest: &Value) -> Result<Vec<Written>, ClusterError> {
        if let Some(items) = manifest.get("items").and_then(Value::as_array) {
            let written: Result<Vec<_>, _> = items.iter().map(|item| self.apply(item)).collect();
            return Ok(written?.into_iter().flatten().collect());
        }
        let written = understood(manifest)?;
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
        let manifest = self.manifests.get_mut(id);
        let manifest = manifest.ok_or_else(|| ClusterError::Absent { object: id.clone(), verb: "change" })?;
        let mut changed = manifest.clone();
        merge_patch(&mut changed, patch);
        let written = understood(&changed)?;
        if written.id != *id {
            return Err(ClusterError::Renamed(id.clone()));
        }
        *manifest = changed;
        Ok(written)
    }

    /// Sets labels; removes those without a value.
    pub fn label(
        &mut self,
        id: &ObjectId,
        labels: &BTreeMap<String, Option<String>>,
    ) -> Result<Written, ClusterError> {
        self.patch(id, &json!({ "metadata": { "labels": labels } }))
    }
}

/// Reads a manifest as the agent does. Networks that leave their configuration to the node's disk have none here.
fn understood(manifest: &Value) -> Result<Written, ClusterError> {
    let typed = Manifest::from_value(manifest.clone())?;
    let options = Options { config_directory: None, ..Options::default() };
    Ok(Written { id: typed.id(), manifest: manifest.clone(), converted: typed.object(&options) })
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
