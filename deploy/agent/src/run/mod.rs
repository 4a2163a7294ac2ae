//! The agent itself: sources of events on one side, the core and the kernel on the other, a channel between them.
//!
//! ```text
//!  manifests or API server --+
//!  bridge ports (netlink) ---+--> inbox --> core --> nftables
//!  other writers (netlink) --+
//!  logged frames (netlink) --+
//!  signals ------------------+
//! ```
//!
//! The core and the kernel have a thread of their own, in which nothing else waits. Whatever ends the agent leaves the
//! table as it is: enforcement stays until `cleanup`.

pub(crate) mod cluster;
pub(crate) mod directory;
pub(crate) mod dry_run;
pub(crate) mod enforcer;
pub(crate) mod feedback;
pub(crate) mod frame_log;
pub(crate) mod http;
pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod node_events;

use std::sync::mpsc::{Sender, SyncSender};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};
use policy_core::Input;
use policy_core::model::{ObjectId, Problem};

/// Something for the enforcer.
#[derive(Debug)]
pub(crate) struct Message {
    /// When it was heard of.
    pub(crate) at: Instant,
    /// What it is.
    pub(crate) content: Content,
}

/// What a message is about.
#[derive(Debug)]
pub(crate) enum Content {
    /// A source cannot go on: the agent ends, and whoever supervises it starts another.
    Failed(anyhow::Error),
    /// For the core.
    Input(Input),
    /// Somebody wants to know how it goes.
    Health(SyncSender<Health>),
    /// Somebody wants to know what there is.
    Look(SyncSender<metrics::Snapshot>),
    /// All that cannot be used of an object, found before the core saw it; none means that earlier problems are solved.
    Problems(ObjectId, Vec<Problem>),
    /// The agent is asked to end.
    Stop,
    /// Somebody wants to know whose frames these are.
    Whose(frame_log::Question),
}

/// How it goes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Health {
    /// Whether everything has been heard of once, and the kernel has taken it.
    pub(crate) synced: bool,
    /// Whether the kernel has refused the last transaction.
    pub(crate) refused: bool,
}

/// The way to the enforcer. Sending fails only when the enforcer has ended, and then the whole agent ends.
#[derive(Clone, Debug)]
pub(crate) struct Inbox(Sender<Message>);

impl Inbox {
    /// The way through `sender`.
    pub(crate) const fn new(sender: Sender<Message>) -> Self {
        Self(sender)
    }

    /// Sends; whether somebody still listens.
    pub(crate) fn send(&self, content: Content) -> bool {
        self.0.send(Message { at: Instant::now(), content }).is_ok()
    }

    /// Sends something for the core; whether somebody still listens.
    pub(crate) fn input(&self, input: Input) -> bool {
        self.send(Content::Input(input))
    }
}

/// Does `work` in a thread of this name.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop).context("cannot start a thread")
}

/// Watches a source of events in a thread of this name; when the source fails, the agent ends.
pub(crate) fn source(
    name: &str,
    inbox: Inbox,
    watch: impl FnOnce(&Inbox) -> Result<()> + Send + 'static,
) -> Result<()> {
    spawn(name, move || {
        if let Err(error) = watch(&inbox) {
            inbox.send(Content::Failed(error));
        }
    })
}
