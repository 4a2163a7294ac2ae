//! The API as whoever administers the cluster uses it: objects are written, changed and deleted one by one.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::{AGAIN, PATIENCE};

/// The group of networks and their policies.
const GROUP: &str = "k8s.cni.cncf.io";
/// HTTP status codes: RFC 9110 sections 15.5.5 and 15.5.10.
const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;

fn definitions(client: &Client) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<CustomResourceDefinition>(&());
    Api::all_with(client.clone(), &resource)
}

/// An object of the API.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Target {
    /// Its kind.
    pub kind: String,
    /// The version of the API that it is written in, such as `v1` or `k8s.cni.cncf.io/v1beta1`.
    pub api_version: String,
    /// Its namespace; none for an object of the whole cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Target {
    /// The object that `manifest` is.
    ///
    /// # Errors
    /// It lacks its kind, version or name.
    pub fn of(manifest: &Value) -> Result<Self> {
        let text = |path: &str| manifest.pointer(path).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            kind: text("/kind").context("a manifest without kind")?,
            api_version: text("/apiVersion").context("a manifest without apiVersion")?,
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name").context("a manifest without metadata.name")?,
        })
    }

    fn resource(&self) -> Result<ApiResource> {
        let plural = match self.kind.as_str() {
            "MultiNetworkPolicy" => "multi-networkpolicies",
            "Namespace" => return Ok(ApiResource::erase::<Namespace>(&())),
            "NetworkAttachmentDefinition" => "network-attachment-definitions",
            "Pod" => return Ok(ApiResource::erase::<Pod>(&())),
            other => bail!("nothing is known of the kind {other:?}"),
        };
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        Ok(ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            plural: plural.to_owned(),
        })
    }
}

/// A connection to the API server, with the rights of whoever the kubeconfig names.
pub struct Administrator {
    client: Client,
    port: u16,
}

impl Administrator {
    /// Prepares to talk to the server that the kubeconfig in `file` names. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn connect(file: &Path) -> Result<Self> {
        let cannot = || format!("cannot use {}", file.display());
        let kubeconfig = Kubeconfig::read_from(file).with_context(cannot)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(cannot)?;
        let port = config.cluster_url.port_u16().with_context(cannot)?;
        Ok(Self { client: Client::try_from(config).with_context(cannot)?, port })
    }

    /// The port that the server listens on, on the loopback.
    pub const fn port(&self) -> u16 {
        self.port
    }

    fn api(&self, target: &Target) -> Result<Api<DynamicObject>> {
        let resource = target.resource()?;
        Ok(match &target.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        })
    }

    /// Creates an object, or replaces it when it is there, as `kubectl create` and `replace` do; returns what the server
    /// made of it.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn write(&self, manifest: &Value) -> Result<Value> {
        let target = Target::of(manifest)?;
        let api = self.api(&target)?;
        let object: DynamicObject = serde_json::from_value(manifest.clone()).context("not an object")?;
        let written = match api.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == CONFLICT => {
                let there = api.get(&target.name).await.context("cannot read what is there")?;
                let mut newer = object;
                newer.metadata.resource_version = there.metadata.resource_version;
                api.replace(&target.name, &PostParams::default(), &newer).await
            }
            created => created,
        };
        let written = written.with_context(|| format!("cannot write {} {}", target.kind, target.name))?;
        serde_json::to_value(written).context("the answer is no object")
    }

    /// Applies a JSON merge patch (RFC 7396), to the object or to its status; returns what the server made of it.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn patch(&self, target: &Target, patch: &Value, of_status: bool) -> Result<Value> {
        let api = self.api(target)?;
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        let patched = if of_status {
            api.patch_status(&target.name, &parameters, &patch).await
        } else {
            api.patch(&target.name, &parameters, &patch).await
        };
        let patched = patched.with_context(|| format!("cannot patch {} {}", target.kind, target.name))?;
        serde_json::to_value(patched).context("the answer is no object")
    }

    /// Deletes an object at once; a namespace also when something is left in it, as there is no controller to empty it.
    ///
    /// # Errors
    /// The server refuses it, or the object is not there.
    pub async fn delete(&self, target: &Target) -> Result<()> {
        let api = self.api(target)?;
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let deleted = api.delete(&target.name, &at_once).await;
        deleted.with_context(|| format!("cannot delete {} {}", target.kind, target.name))?;
        if target.kind == "Namespace" { self.finalize(&target.name).await } else { Ok(()) }
    }

    /// Deletes every object of networks and their policies, every pod, and every namespace but those of Kubernetes itself.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn clear(&self) -> Result<()> {
        let network = format!("{GROUP}/v1");
        let policy = format!("{GROUP}/v1beta1");
        let kinds = [
            ("MultiNetworkPolicy", policy.as_str()),
            ("NetworkAttachmentDefinition", network.as_str()),
            ("Pod", "v1"),
            ("Namespace", "v1"),
        ];
        for (kind, api_version) in kinds {
            let all = Target {
                kind: kind.to_owned(),
                api_version: api_version.to_owned(),
                namespace: None,
                name: String::new(),
            };
            let listed = self.api(&all)?.list(&ListParams::default()).await;
            for object in listed.with_context(|| format!("cannot list every {kind}"))?.items {
                let name = object.metadata.name.unwrap_or_default();
                if kind == "Namespace" && (name == "default" || name.starts_with("kube-")) {
                    continue;
                }
                self.delete(&Target { namespace: object.metadata.namespace, name, ..all.clone() }).await?;
            }
        }
        Ok(())
    }

    /// The definition of a custom resource.
    ///
    /// # Errors
    /// It is not there.
    pub async fn definition(&self, name: &str) -> Result<Value> {
        let got = definitions(&self.client).get(name).await;
        let got = got.with_context(|| format!("cannot read the definition of {name}"))?;
        serde_json::to_value(got).context("the answer is no object")
    }

    /// Changes the definition of a custom resource by a JSON merge patch, and waits until the server serves every version
    /// that it has now.
    ///
    /// # Errors
    /// The server refuses it, or does not serve it in time.
    pub async fn redefine(&self, name: &str, patch: &Value) -> Result<()> {
        let patched =
            definitions(&self.client).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        let patched = patched.with_context(|| format!("cannot change the definition of {name}"))?;
        let versions = patched.data.pointer("/spec/versions").and_then(Value::as_array).cloned();
        let plural = patched.data.pointer("/spec/names/plural").and_then(Value::as_str).unwrap_or_default();
        let deadline = Instant::now() + PATIENCE;
        for version in versions.unwrap_or_default() {
            let version = version.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let path = format!("/apis/{GROUP}/{version}/{plural}");
            let request = || kube::core::Request::new(path.clone()).list(&ListParams::default());
            while let Err(error) = self.client.request::<Value>(request().context("no request")?).await {
                ensure!(Instant::now() < deadline, "{path} is not served: {error}");
                std::thread::sleep(AGAIN);
            }
        }
        Ok(())
    }

    /// Does what the namespace controller would do in the end.
    async fn finalize(&self, name: &str) -> Result<()> {
        let body =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name }, "spec": {} });
        let request = kube::core::Request::new("/api/v1/namespaces");
        let bytes = serde_json::to_vec(&body).context("cannot write JSON")?;
        let request = request.replace_subresource("finalize", name, &PostParams::default(), bytes);
        let request = request.with_context(|| format!("cannot ask for the end of namespace {name}"))?;
        match self.client.request::<Value>(request).await {
            Ok(_) => Ok(()),
            // It was gone at once.
            Err(kube::Error::Api(status)) if status.code == NOT_FOUND => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot end namespace {name}")),
        }
    }
}
