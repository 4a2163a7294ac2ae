//! The API's objects as the client library wants them: with the metadata that a watch needs, and not more.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use core::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use policy_core::model::{Kind, ObjectId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::api::{MultiNetworkPolicy, Namespace, NetworkAttachmentDefinition, Pod};
use crate::convert::{self, Converted, Options, name_of};

/// A kind of object that is watched.
pub(crate) trait Source: Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// What the core calls it.
    const KIND: Kind;
    /// What the API calls it.
    const NAME: &'static str;
    /// For a kind that every API server serves: its plural.
    const BUILT_IN: Option<&'static str> = None;
    /// Which objects are asked for, by their fields; all, when absent.
    const FIELDS: Option<&'static str> = None;

    /// Its name.
    fn id(&self) -> ObjectId;
    /// The version of the object that this is.
    fn version(&self) -> Option<&Arc<str>>;
    /// The core's object.
    fn convert(&self, options: &Options) -> Converted;
}

impl Source for MultiNetworkPolicy {
    const KIND: Kind = Kind::Policy;
    const NAME: &'static str = "MultiNetworkPolicy";

    fn id(&self) -> ObjectId {
        ObjectId::Policy(name_of(&self.metadata))
    }

    fn version(&self) -> Option<&Arc<str>> {
        self.metadata.resource_version.as_ref()
    }

    fn convert(&self, _: &Options) -> Converted {
        convert::policy(self)
    }
}

impl Source for Namespace {
    const KIND: Kind = Kind::Namespace;
    const NAME: &'static str = "Namespace";
    const BUILT_IN: Option<&'static str> = Some("namespaces");

    fn id(&self) -> ObjectId {
        ObjectId::Namespace(self.metadata.name.clone())
    }

    fn version(&self) -> Option<&Arc<str>> {
        self.metadata.resource_version.as_ref()
    }

    fn convert(&self, _: &Options) -> Converted {
        convert::namespace(self)
    }
}

impl Source for NetworkAttachmentDefinition {
    const KIND: Kind = Kind::Network;
    const NAME: &'static str = "NetworkAttachmentDefinition";

    fn id(&self) -> ObjectId {
        ObjectId::Network(name_of(&self.metadata))
    }

    fn version(&self) -> Option<&Arc<str>> {
        self.metadata.resource_version.as_ref()
    }

    fn convert(&self, options: &Options) -> Converted {
        convert::network(self, options)
    }
}

impl Source for Pod {
    const KIND: Kind = Kind::Pod;
    const NAME: &'static str = "Pod";
    const BUILT_IN: Option<&'static str> = Some("pods");
    // Completed pods have no attachments: they are not even sent.
    const FIELDS: Option<&'static str> = Some("status.phase!=Succeeded,status.phase!=Failed");

    fn id(&self) -> ObjectId {
        ObjectId::Pod(name_of(&self.metadata))
    }

    fn version(&self) -> Option<&Arc<str>> {
        self.metadata.resource_version.as_ref()
    }

    fn convert(&self, _: &Options) -> Converted {
        convert::pod(self)
    }
}

/// An object with the metadata of the client library.
#[derive(Clone, Debug)]
pub(crate) struct Watched<T> {
    meta: ObjectMeta,
    /// The object.
    pub(crate) object: T,
}

impl<'de, T: Source> Deserialize<'de> for Watched<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = T::deserialize(deserializer)?;
        // The client continues a watch from here; it asks for nothing else.
        let resource_version = object.version().map(ToString::to_string);
        Ok(Self { meta: ObjectMeta { resource_version, ..ObjectMeta::default() }, object })
    }
}

impl<T> Resource for Watched<T> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
