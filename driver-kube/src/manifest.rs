//! Manifests: objects of the API as they are written in files, and as `kubectl get -o yaml` prints them.

use alloc::sync::Arc;
use core::fmt;
use std::panic::resume_unwind;
use std::thread;

use policy_core::model::{NamespacedName, ObjectId};
use policy_core::spec::syntax::{is_dns_label, is_dns_name};
use policy_core::spec::{quoted, shortened};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api;
use crate::convert::{self, Converted, Options, name_of};
use crate::node::{Content, Node, Place};

/// An object of one of the kinds that are read.
#[derive(Clone, PartialEq, Debug)]
pub enum Manifest {
    /// A `Namespace`.
    Namespace(api::Namespace),
    /// A `NetworkAttachmentDefinition`.
    Network(api::NetworkAttachmentDefinition),
    /// A `Pod`.
    Pod(Box<api::Pod>),
    /// A `MultiNetworkPolicy`.
    Policy(Box<api::MultiNetworkPolicy>),
}

/// Why something is not a manifest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not YAML, or beyond the limits of what is read.
    #[error("{0}")]
    Syntax(String),
    /// A field is missing, or is not what it must be.
    #[error("{object}: {path}: {reason}")]
    Field {
        /// The object, as far as it can be named.
        object: String,
        /// The field's path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A kind that no policy depends on.
    #[error("{kind} of {api_version:?} is not one of the kinds that are read")]
    UnknownKind {
        /// The kind.
        kind: String,
        /// Its API version.
        api_version: String,
    },
}

impl ManifestError {
    /// The field it is about; empty for the document as a whole.
    fn path(&self) -> &str {
        match self {
            Self::Field { path, .. } => path,
            Self::UnknownKind { .. } => "kind",
            Self::Syntax(_) => "",
        }
    }
}

impl Manifest {
    /// Reads one object. Fields that are not read may hold anything.
    pub fn from_value(value: Value) -> Result<Self, ManifestError> {
        let api_version = text_field(&value, "apiVersion")?;
        let kind = text_field(&value, "kind")?;
        let manifest = match (api_version.as_str(), kind.as_str()) {
            ("v1", "Namespace") => Self::Namespace(typed(value, &kind)?),
            ("v1", "Pod") => Self::Pod(Box::new(typed(value, &kind)?)),
            ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition") => Self::Network(typed(value, &kind)?),
            ("k8s.cni.cncf.io/v1beta1" | "k8s.cni.cncf.io/v1beta2", "MultiNetworkPolicy") => {
                Self::Policy(Box::new(typed(value, &kind)?))
            }
            _ => return Err(unknown_kind(&kind, &api_version)),
        };
        checked_id(&kind, manifest.id())?;
        Ok(manifest)
    }

    /// The object's name.
    pub fn id(&self) -> ObjectId {
        match self {
            Self::Namespace(object) => ObjectId::Namespace(object.metadata.name.clone()),
            Self::Network(object) => ObjectId::Network(name_of(&object.metadata)),
            Self::Pod(object) => ObjectId::Pod(name_of(&object.metadata)),
            Self::Policy(object) => ObjectId::Policy(name_of(&object.metadata)),
        }
    }

    /// The object as the core knows it, and what in it could not be used.
    pub fn object(&self, options: &Options) -> Converted {
        match self {
            Self::Namespace(object) => convert::namespace(object),
            Self::Network(object) => convert::network(object, options),
            Self::Pod(object) => convert::pod(object),
            Self::Policy(object) => convert::policy(object),
        }
    }
}

/// Names an object the way a command does: kind, namespace (`default` when absent; none for a `Namespace`), name.
pub fn identify(kind: &str, namespace: Option<&str>, name: &str) -> Result<ObjectId, ManifestError> {
    let full = || NamespacedName::new(namespace.unwrap_or("default"), name);
    let id = match kind {
        "Namespace" => match namespace {
            None => ObjectId::Namespace(name.into()),
            Some(_) => return Err(wrong(kind, name, "namespace", "a Namespace is in none")),
        },
        "NetworkAttachmentDefinition" => ObjectId::Network(full()),
        "Pod" => ObjectId::Pod(full()),
        "MultiNetworkPolicy" => ObjectId::Policy(full()),
        _ => return Err(unknown_kind(kind, "")),
    };
    checked_id(kind, id)
}

/// Refuses names that no object can have.
fn checked_id(kind: &str, id: ObjectId) -> Result<ObjectId, ManifestError> {
    let (namespace, name) = match &id {
        ObjectId::Namespace(name) => (None, name),
        ObjectId::Network(name) | ObjectId::Pod(name) | ObjectId::Policy(name) => {
            (Some(&name.namespace), &name.name)
        }
        ObjectId::Port(_) => return Ok(id),
    };
    if let Some(namespace) = namespace.filter(|namespace| !is_dns_label(namespace)) {
        return Err(wrong(
            kind,
            name,
            "metadata.namespace",
            &format!("{}: not a namespace's name", quoted(namespace)),
        ));
    }
    let valid = if namespace.is_none() { is_dns_label(name) } else { is_dns_name(name) };
    if !valid {
        return Err(wrong(kind, name, "metadata.name", &format!("{}: not an object's name", quoted(name))));
    }
    Ok(id)
}

fn wrong(kind: &str, name: &str, path: &str, reason: &str) -> ManifestError {
    ManifestError::Field {
        object: format!("{kind} {name:.70}"),
        path: shortened(path).into(),
        reason: shortened(reason).into(),
    }
}

fn unknown_kind(kind: &str, api_version: &str) -> ManifestError {
    ManifestError::UnknownKind { kind: shortened(kind).into(), api_version: shortened(api_version).into() }
}

fn text_field(value: &Value, field: &str) -> Result<String, ManifestError> {
    let fail = |path: &str, reason: &str| {
        Err(ManifestError::Field { object: "manifest".into(), path: path.into(), reason: reason.into() })
    };
    match value.as_object().map(|object| object.get(field)) {
        Some(Some(Value::String(text))) => Ok(text.clone()),
        Some(Some(_)) => fail(field, "not a string"),
        Some(None) => fail(field, "missing"),
        None => fail(".", "not an object"),
    }
}

/// Reads `value` as an object of `kind`.
fn typed<T: DeserializeOwned>(value: Value, kind: &str) -> Result<T, ManifestError> {
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without a name").to_owned();
    serde_path_to_error::deserialize(value)
        .map_err(|error| wrong(kind, &name, &error.path().to_string(), &error.inner().to_string()))
}

/// A manifest, and where it is written.
#[derive(Clone, Debug)]
pub struct Located {
    /// The file.
    pub file: Arc<str>,
    /// The object.
    pub manifest: Manifest,
    /// The document it is written in.
    pub node: Node,
}

impl Located {
    /// Where the field path `path` of the object is written, as deep as the document goes along it.
    pub fn place_of(&self, path: &str) -> Place {
        self.node.place_of(path)
    }
}

/// A mistake in a file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Mistake {
    /// The file.
    pub file: Arc<str>,
    /// Where in it.
    pub place: Place,
    /// What is wrong.
    pub error: ManifestError,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.place, self.error)
    }
}

/// What a file holds.
#[derive(Clone, Default, Debug)]
pub struct Contents {
    /// The objects of the kinds that are read, in their order.
    pub manifests: Vec<Located>,
    /// What could not be read; kinds that no policy depends on are among these.
    pub mistakes: Vec<Mistake>,
}

/// Reads the text of `file`: YAML of one or more documents, or JSON; each an object or a `List` of objects.
pub fn read(text: &str, file: impl Into<Arc<str>>) -> Contents {
    let file = file.into();
    let mut contents = Contents::default();
    match documents(text) {
        Err((place, reason)) => {
            contents.mistakes.push(Mistake { file, place, error: ManifestError::Syntax(reason) });
        }
        Ok(documents) => {
            for document in documents {
                objects(document, &file, &mut contents);
            }
        }
    }
    contents
}

/// Stack for reading documents, in bytes. A level of nesting costs up to 40 kilobytes in an unoptimized build, and the
/// parser allows 64 levels; the caller's stack may be a tenth of that.
const STACK: usize = 16 << 20;

/// The longest reason why a text is not YAML, in bytes: the parser quotes what it does not understand, all of it.
const REASON_MAX: usize = 500;

/// The documents of a YAML or JSON text.
fn documents(text: &str) -> Result<Vec<Node>, (Place, String)> {
    let parse = || {
        // Without aliases, a text of so many bytes has fewer nodes, events and documents than this: a whole cluster may be
        // read from one file. What aliases repeat is limited by the parser's defaults.
        let bytes = text.len();
        let options = serde_saphyr::options! {
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_documents: bytes.max(1024),
                max_events: bytes.saturating_mul(2).max(1_000_000),
                max_nodes: bytes.max(250_000),
                max_total_scalar_bytes: bytes.max(64 << 20),
            },
        };
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            let place = error.location().map_or(Place::START, Place::from);
            let reason = error.without_snippet().to_string();
            // The place is told apart from the reason.
            let tail = format!(" at line {}, column {}", place.line, place.column);
            let reason = reason.strip_suffix(&tail).unwrap_or(&reason);
            (place, reason.get(..reason.floor_char_boundary(REASON_MAX)).unwrap_or(reason).to_owned())
        })
    };
    thread::scope(|scope| {
        let reader = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, parse);
        let reader = reader.map_err(|error| (Place::START, format!("cannot start a thread: {error}")))?;
        reader.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Adds the object `node`, or the objects of the list that it is.
fn objects(node: Node, file: &Arc<str>, contents: &mut Contents) {
    let value = node.value();
    let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    if let (true, Some(Content::List(items))) = (is_list, node.field("items").map(|items| &items.content)) {
        for item in items {
            objects(item.clone(), file, contents);
        }
        return;
    }
    match Manifest::from_value(value) {
        Ok(manifest) => contents.manifests.push(Located { file: file.clone(), manifest, node }),
        Err(error) => {
            let place = node.place_of(error.path());
            contents.mistakes.push(Mistake { file: file.clone(), place, error });
        }
    }
}
