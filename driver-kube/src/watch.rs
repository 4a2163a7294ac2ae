//! The API server as the source: one watch per kind, each a list and then its changes.
//!
//! ```text
//!  Init, InitApply .., InitDone   ->  Relist   (the complete truth for a kind)
//!  Apply                          ->  Upsert
//!  Delete                         ->  Remove
//! ```
//!
//! Objects are parsed into the few fields that are read, converted, and dropped: nothing of the API's own objects stays
//! in memory. When the server cannot be reached, what was passed on last holds.

use alloc::collections::BTreeSet;
use core::pin::pin;
use core::time::Duration;
use std::time::Instant;

use futures_util::{StreamExt as _, future};
use kube::api::ApiResource;
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{Config, DefaultBackoff, Error, Event, watcher};
use kube::{Api, Client, discovery};
use policy_core::Input;
use policy_core::model::{Kind, Object, ObjectId, Problem};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::api::{MultiNetworkPolicy, Namespace, NetworkAttachmentDefinition, Pod};
use crate::convert::{Converted, Options};
use crate::watched::{Source, Watched};

/// The API group of networks and their policies.
pub(crate) const GROUP: &str = "k8s.cni.cncf.io";

/// How long to wait before a kind that is not served is asked for again.
const ABSENCE: Duration = Duration::from_secs(5);

/// A watch that has gone well for so long has recovered.
const RECOVERED: Duration = Duration::from_mins(1);

/// What a watch has to say.
#[derive(Debug)]
pub enum Heard {
    /// For the core.
    Input(Input),
    /// A watch of this kind was interrupted, or begins anew.
    Interrupted(Kind),
    /// All that cannot be used of an object; none means that earlier problems are solved. A policy's are not among these:
    /// the core reports them.
    Problems(ObjectId, Vec<Problem>),
}

/// Watches every kind that policies depend on. It ends when `listener` answers that nobody listens any more.
///
/// `renewed` makes a client like `client` whose credentials are read anew: it is asked when the server does not accept those
/// that are known. `start_after` spreads the agents of a cluster that start at the same moment.
pub async fn watch(
    client: Client,
    renewed: impl Fn() -> Result<Client, kube::Error> + Sync,
    options: Options,
    start_after: Duration,
    listener: impl Fn(Heard) -> bool + Sync,
) {
    sleep(start_after).await;
    let watches = Watches { client, renewed, options, listener };
    let namespaces = Box::pin(watches.follow::<Namespace>());
    let networks = Box::pin(watches.follow::<NetworkAttachmentDefinition>());
    let pods = Box::pin(watches.follow::<Pod>());
    let policies = Box::pin(watches.follow::<MultiNetworkPolicy>());
    future::join4(namespaces, networks, pods, policies).await;
}

struct Watches<R, L> {
    client: Client,
    renewed: R,
    options: Options,
    listener: L,
}

/// Why a watch does not go on as it is.
enum Ended {
    /// Nobody listens.
    Unheard,
    /// The server does not serve what was asked for; it may serve another version, or the kind may be gone.
    Unserved,
    /// The server does not stream lists.
    Unstreamed,
    /// The server no longer knows where the watch was.
    Expired,
    /// The server does not accept our credentials.
    Unauthorized,
    /// Something is missing of what the server has said.
    Incomplete,
}

impl<R: Fn() -> Result<Client, kube::Error> + Sync, L: Fn(Heard) -> bool + Sync> Watches<R, L> {
    /// Follows one kind, whatever happens to the server.
    async fn follow<T: Source>(&self) {
        let mut backoff = DefaultBackoff::default();
        let mut client = self.client.clone();
        let mut streaming = true;
        let mut troubled = Troubled::new();
        loop {
            let resource = self.served::<T>(&mut client).await;
            let config = T::FIELDS.map_or_else(Config::default, |fields| Config::default().fields(fields));
            // Lists from the server's cache, not from its database.
            let config = if streaming { config.streaming_lists() } else { config.any_semantic() };
            let begun = Instant::now();
            let ended =
                self.attend::<T>(Api::all_with(client.clone(), &resource), config, &mut troubled).await;
            if !matches!(ended, Ended::Unheard) && !(self.listener)(Heard::Interrupted(T::KIND)) {
                return;
            }
            match ended {
                Ended::Unheard => return,
                Ended::Unstreamed => {
                    info!(kind = T::NAME, "the API server does not stream lists; listing page by page");
                    streaming = false;
                }
                Ended::Expired => {
                    info!(kind = T::NAME, "the API server has forgotten where we were; listing again");
                }
                Ended::Incomplete => {
                    warn!(kind = T::NAME, "not all has come of what the API server says; listing again");
                }
                Ended::Unauthorized => {
                    warn!(
                        kind = T::NAME,
                        "the API server does not accept our credentials; reading them again"
                    );
                    self.renew(&mut client);
                }
                Ended::Unserved => warn!(kind = T::NAME, "the API server does not serve this kind any more"),
            }
            if begun.elapsed() > RECOVERED {
                backoff.reset();
            }
            sleep(backoff.next().unwrap_or(ABSENCE)).await;
        }
    }

    /// Reads the credentials again. The library does too, but only once a minute.
    fn renew(&self, client: &mut Client) {
        match (self.renewed)() {
            Ok(renewed) => *client = renewed,
            Err(error) => warn!(%error, "cannot read the credentials again; keeping those that are known"),
        }
    }

    /// The API of a kind; waits until it is served.
    async fn served<T: Source>(&self, client: &mut Client) -> ApiResource {
        if let Some(plural) = T::BUILT_IN {
            return ApiResource {
                group: String::new(),
                version: "v1".to_owned(),
                api_version: "v1".to_owned(),
                kind: T::NAME.to_owned(),
                plural: plural.to_owned(),
            };
        }
        let mut backoff = DefaultBackoff::default();
        let mut said = false;
        loop {
            match discovery::group(client, GROUP).await {
                Ok(group) => {
                    // The group prefers the version of another kind of its.
                    let mut served = group.resources_by_stability().into_iter();
                    if let Some((resource, _)) = served.find(|(resource, _)| resource.kind == T::NAME) {
                        info!(kind = T::NAME, version = resource.version, "served");
                        return resource;
                    }
                    absent::<T>(&mut said);
                    sleep(ABSENCE).await;
                }
                Err(kube::Error::Discovery(_)) => {
                    absent::<T>(&mut said);
                    sleep(ABSENCE).await;
                }
                Err(error) => {
                    warn!(kind = T::NAME, %error, "cannot ask the API server what it serves; trying again");
                    if matches!(&error, kube::Error::Api(status) if status.code == 401) {
                        self.renew(client);
                    }
                    sleep(backoff.next().unwrap_or(ABSENCE)).await;
                }
            }
        }
    }

    /// Passes on what one watch says, until it cannot go on.
    async fn attend<T: Source>(
        &self,
        api: Api<Watched<T>>,
        config: Config,
        troubled: &mut Troubled,
    ) -> Ended {
        let mut events = pin!(watcher(api, config));
        let mut backoff = DefaultBackoff::default();
        let mut listed = Vec::new();
        // Whether a list has begun that is not complete.
        let mut listing = false;
        while let Some(event) = events.next().await {
            match event {
                // The list was cut: the library would ask for another at once, however often.
                Ok(Event::Init) if listing => return Ended::Incomplete,
                Ok(event) => {
                    listing = matches!(event, Event::Init | Event::InitApply(_));
                    if !listing {
                        backoff.reset();
                    }
                    if !self.take(event, &mut listed, troubled) {
                        return Ended::Unheard;
                    }
                }
                Err(error) => {
                    warn!(kind = T::NAME, %error, "the watch was interrupted; what is known holds");
                    if let Some(ended) = verdict(&error, listing) {
                        return ended;
                    }
                    listing = false;
                    if !(self.listener)(Heard::Interrupted(T::KIND)) {
                        return Ended::Unheard;
                    }
                    sleep(backoff.next().unwrap_or(ABSENCE)).await;
                }
            }
        }
        Ended::Expired
    }

    /// Passes on one event; whether anybody listens. What is listed is collected until the list is complete.
    fn take<T: Source>(
        &self,
        event: Event<Watched<T>>,
        listed: &mut Vec<Object>,
        troubled: &mut Troubled,
    ) -> bool {
        match event {
            Event::Init => {
                listed.clear();
                true
            }
            Event::InitApply(Watched { object, .. }) => {
                let Converted { object: converted, problems } = object.convert(&self.options);
                debug!(object = %object.id(), version = object.version().map(|version| &**version), "listed");
                listed.push(converted);
                self.tell_problems::<T>(object.id(), problems, troubled)
            }
            Event::InitDone => {
                let objects = core::mem::take(listed);
                info!(kind = T::NAME, objects = objects.len(), "listed");
                let there: BTreeSet<ObjectId> = objects.iter().map(Object::id).collect();
                let gone: Vec<ObjectId> = troubled.difference(&there).cloned().collect();
                gone.into_iter().all(|id| self.tell_problems::<T>(id, Vec::new(), troubled))
                    && (self.listener)(Heard::Input(Input::Relist { kind: T::KIND, objects }))
            }
            Event::Apply(Watched { object, .. }) => {
                let Converted { object: converted, problems } = object.convert(&self.options);
                debug!(object = %object.id(), version = object.version().map(|version| &**version), "heard of");
                (self.listener)(Heard::Input(Input::Upsert(converted)))
                    && self.tell_problems::<T>(object.id(), problems, troubled)
            }
            Event::Delete(Watched { object, .. }) => {
                debug!(object = %object.id(), "heard of the end of");
                (self.listener)(Heard::Input(Input::Remove(object.id())))
                    && self.tell_problems::<T>(object.id(), Vec::new(), troubled)
            }
        }
    }

    /// Passes on an object's problems, if it has some or had some before; whether anybody listens.
    fn tell_problems<T: Source>(
        &self,
        id: ObjectId,
        problems: Vec<Problem>,
        troubled: &mut Troubled,
    ) -> bool {
        if T::KIND == Kind::Policy {
            return true;
        }
        let had_some = if problems.is_empty() { troubled.remove(&id) } else { !troubled.insert(id.clone()) };
        if problems.is_empty() && !had_some {
            return true;
        }
        (self.listener)(Heard::Problems(id, problems))
    }
}

/// The objects of one kind whose problems were passed on.
type Troubled = BTreeSet<ObjectId>;

fn absent<T: Source>(said: &mut bool) {
    if !*said {
        let again_s = ABSENCE.as_secs();
        warn!(
            kind = T::NAME,
            again_s, "the API server does not serve this kind: is its CRD installed? Waiting for it"
        );
        *said = true;
    }
}

/// Whether an error means that the watch must begin anew, maybe while it is `listing`; others are temporary.
fn verdict(error: &Error, listing: bool) -> Option<Ended> {
    let (starting, status) = match error {
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchFailed(kube::Error::Api(status)) => {
            (false, status)
        }
        Error::WatchStartFailed(kube::Error::Api(status)) => (true, status),
        Error::WatchError(status) => (false, status),
        // The library would go on with what comes next.
        Error::WatchFailed(kube::Error::SerdeError(_)) => return Some(Ended::Incomplete),
        Error::WatchFailed(_) if listing => return Some(Ended::Incomplete),
        Error::InitialListFailed(_)
        | Error::NoResourceVersion
        | Error::WatchFailed(_)
        | Error::WatchStartFailed(_) => return None,
    };
    match status.code {
        // Invalid: the request says sendInitialEvents, which old servers refuse.
        400 | 422 if starting => Some(Ended::Unstreamed),
        401 => Some(Ended::Unauthorized),
        404 => Some(Ended::Unserved),
        410 => Some(Ended::Expired),
        _ if listing => Some(Ended::Incomplete),
        _ => None,
    }
}
