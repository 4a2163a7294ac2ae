//! Writes Events: what cannot be enforced of an object, where `kubectl describe` shows it.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::time::Duration;
use std::time::Instant;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use policy_core::model::ObjectId;
use serde_json::json;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::events::{Next, Note, Pace, Told};
use crate::watch::GROUP;

/// What Events say that they come from.
const COMPONENT: &str = "mnp-nft-bridge";
/// The reason of every Event: a word for programs.
const REASON: &str = "NotEnforced";
/// What the API server answers when something of that name is there, or when something is not: RFC 9110.
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;
/// How long to wait for news when nothing else is to be done.
const IDLE: Duration = Duration::from_hours(1);

/// What became of an Event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The API server did not take it.
    Failed,
    /// The object is gone meanwhile.
    Gone,
    /// Too many objects have problems at once.
    Overflowed,
    /// Another agent has said the same already.
    Shared,
    /// It was written.
    Written,
}

impl Outcome {
    /// Everything that may become of an Event.
    pub const ALL: [Self; 5] = [Self::Failed, Self::Gone, Self::Overflowed, Self::Shared, Self::Written];

    /// What it is called.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Overflowed => "overflowed",
            Self::Shared => "shared",
            Self::Written => "written",
        }
    }
}

/// Writes Events about what comes in through `news`, at the pace of [`Pace`], until nobody sends any more.
pub async fn announce(
    client: Client,
    node: Arc<str>,
    mut news: Receiver<Told>,
    counted: impl Fn(Outcome) + Send,
) {
    let begun = Instant::now();
    let mut pace = Pace::default();
    let mut own = BTreeSet::new();
    loop {
        let wait = match pace.next(begun.elapsed()) {
            Next::Write(note) => {
                let outcome = write(&client, &node, &note, &mut own).await;
                let outcome = match outcome {
                    Ok(outcome) => {
                        info!(object = %note.object, ?outcome, "an Event is written");
                        outcome
                    }
                    Err(error) => {
                        warn!(object = %note.object, %error, "an Event cannot be written");
                        Outcome::Failed
                    }
                };
                counted(outcome);
                continue;
            }
            Next::Wait(at) => at.saturating_sub(begun.elapsed()),
            Next::Nothing => IDLE,
        };
        match timeout(wait, news.recv()).await {
            // It is time.
            Err(_) => {}
            Ok(None) => return,
            Ok(Some(told)) => {
                if !pace.tell(told, begun.elapsed()) {
                    counted(Outcome::Overflowed);
                }
            }
        }
    }
}

/// Writes one Event; `own` are the names of those that this agent has written.
async fn write(
    client: &Client,
    node: &str,
    note: &Note,
    own: &mut BTreeSet<String>,
) -> Result<Outcome, kube::Error> {
    let Some((resource, namespace, name)) = about(&note.object) else { return Ok(Outcome::Gone) };
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    // `kubectl describe` looks for the object's uid, which nobody keeps.
    let uid = match objects.get_metadata(name).await {
        Ok(object) => object.metadata.uid,
        Err(kube::Error::Api(status)) if status.code == NOT_FOUND => return Ok(Outcome::Gone),
        Err(error) => return Err(error),
    };
    let reference = ObjectReference {
        api_version: Some(resource.api_version.clone()),
        kind: Some(resource.kind.clone()),
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        uid,
        ..ObjectReference::default()
    };
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    match events.create(&PostParams::default(), &event(note, reference, namespace, node)).await {
        Ok(_) => {
            own.insert(note.name.clone());
            Ok(Outcome::Written)
        }
        Err(kube::Error::Api(status)) if status.code == CONFLICT && !own.contains(&note.name) => {
            Ok(Outcome::Shared)
        }
        Err(kube::Error::Api(status)) if status.code == CONFLICT => {
            let renewed = json!({ "lastTimestamp": Time(Timestamp::now()) });
            events.patch(&note.name, &PatchParams::default(), &Patch::Merge(renewed)).await?;
            Ok(Outcome::Written)
        }
        Err(error) => Err(error),
    }
}

fn event(note: &Note, about: ObjectReference, namespace: &str, node: &str) -> Event {
    let now = Some(Time(Timestamp::now()));
    Event {
        metadata: ObjectMeta {
            name: Some(note.name.clone()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: about,
        reason: Some(REASON.to_owned()),
        message: Some(note.message.clone()),
        type_: Some("Warning".to_owned()),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: Some(node.to_owned()) }),
        first_timestamp: now.clone(),
        last_timestamp: now,
        count: Some(1),
        ..Event::default()
    }
}

/// Where the API has the object: none for what is not in a namespace.
fn about(object: &ObjectId) -> Option<(ApiResource, &str, &str)> {
    let (group, version, kind, plural, name) = match object {
        ObjectId::Namespace(_) | ObjectId::Port(_) => return None,
        ObjectId::Network(name) => {
            (GROUP, "v1", "NetworkAttachmentDefinition", "network-attachment-definitions", name)
        }
        ObjectId::Pod(name) => ("", "v1", "Pod", "pods", name),
        ObjectId::Policy(name) => (GROUP, "v1beta1", "MultiNetworkPolicy", "multi-networkpolicies", name),
    };
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    Some((resource, &name.namespace, &name.name))
}
