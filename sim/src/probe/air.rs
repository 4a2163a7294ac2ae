//! Crafted frames, sent for real: one after the other, while every station listens.
//!
//! Before each frame every station announces itself, so that the bridges know where everybody is, whatever an earlier frame
//! made them believe. A frame counts as sent when it has been seen at its sender's port on the node: what comes after it
//! there, the bridge handles after it. That a frame does not arrive is judged as in a round of probes: by a window after
//! the last frame, and by the arrival of those that must.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::packet::PacketSocket;
use super::round::{Field, MARGIN, PATIENCE, WINDOW};
use crate::craft::{Crafted, announcement};
use crate::netns::Namespace;
use crate::plan::{Station, StationId};

/// Which frame has arrived where: frames by their number.
type Arrivals = BTreeSet<(usize, StationId)>;

/// What has arrived, shared by all that listen.
#[derive(Clone, Default)]
struct Log {
    arrivals: Arc<Mutex<Arrivals>>,
    news: Arc<Notify>,
}

impl Log {
    fn add(&self, frame: usize, at: &StationId) {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).insert((frame, at.clone()));
        self.news.notify_waiters();
    }

    fn all(&self) -> Arrivals {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends when everything of `wanted` has arrived.
    async fn complete(&self, wanted: &Arrivals) {
        loop {
            // Before looking, so that what arrives in between wakes it.
            let news = self.news.notified();
            if wanted.is_subset(&self.all()) {
                return;
            }
            news.await;
        }
    }
}

/// A station, and the port that it is behind.
struct Mast {
    announcement: Vec<u8>,
    antenna: Arc<PacketSocket>,
    /// Hears what the station sends, on the other side of its wire.
    port: PacketSocket,
}

impl Mast {
    fn raise(station: &Station, field: &Field<'_>, node: &Namespace) -> Result<Self> {
        let namespace = field.namespaces.get(&station.namespace());
        let namespace = namespace.with_context(|| format!("{} has no namespace", station.id))?;
        Ok(Self {
            announcement: announcement(station),
            antenna: Arc::new(namespace.run(|| PacketSocket::open(&station.interface()))??),
            port: node.run(|| PacketSocket::open(&station.port_name()))??,
        })
    }

    /// Sends `frame`, and waits until it has reached the port, where it is `heard`.
    async fn send(&self, frame: &[u8], heard: &[u8], patience: Duration) -> Result<()> {
        self.antenna.send(frame).await?;
        let seen = async {
            while self.port.receive().await? != heard {}
            anyhow::Ok(())
        };
        timeout(patience, seen).await.context("a frame that was sent did not reach the bridge port")?
    }
}

/// Sends `frames`, and says at which stations each has arrived. `nodes` are the namespaces of the nodes.
pub async fn broadcast(
    field: &Field<'_>,
    nodes: &BTreeMap<String, Arc<Namespace>>,
    frames: &[Crafted],
) -> Result<Vec<BTreeSet<StationId>>> {
    let senders: Vec<&Station> = frames.iter().filter_map(|frame| field.stations.get(&frame.from)).collect();
    let mut masts = BTreeMap::new();
    let near = |station: &&Station| senders.iter().any(|sender| sender.can_craft_beside(station));
    for station in field.stations.values().filter(near) {
        let node = nodes.get(&station.node).with_context(|| format!("there is no node {}", station.node))?;
        let mast = Mast::raise(station, field, node);
        masts.insert(&station.id, mast.with_context(|| format!("cannot listen at {}", station.id))?);
    }
    let (log, mut listeners) = (Log::default(), JoinSet::new());
    let numbered: BTreeMap<Vec<u8>, usize> = frames.iter().map(Crafted::heard).zip(0..).collect();
    let numbered = Arc::new(numbered);
    for (id, mast) in &masts {
        listeners.spawn(listen((*id).clone(), Arc::clone(&mast.antenna), Arc::clone(&numbered), log.clone()));
    }
    let patience = PATIENCE * field.slowness;
    for frame in frames {
        for mast in masts.values() {
            mast.send(&mast.announcement, &mast.announcement, patience).await?;
        }
        let mast = masts.get(&frame.from).with_context(|| format!("{} is nowhere", frame.from))?;
        let sent = mast.send(&frame.bytes(), &frame.heard(), patience).await;
        sent.with_context(|| format!("cannot send {}", frame.name))?;
    }
    let wanted = frames.iter().zip(0..);
    let wanted = wanted.flat_map(|(frame, number)| frame.reaches.iter().map(move |id| (number, id.clone())));
    watch(&log, &wanted.collect(), field.slowness).await;
    listeners.shutdown().await;
    let mut arrivals = vec![BTreeSet::new(); frames.len()];
    for (number, id) in log.all() {
        arrivals.get_mut(number).context("only known frames are counted")?.insert(id);
    }
    Ok(arrivals)
}

/// Waits until all that is wanted has arrived, and as long as the rest would have needed.
async fn watch(log: &Log, wanted: &Arrivals, slowness: u32) {
    let sent = Instant::now();
    let complete = timeout(PATIENCE * slowness, log.complete(wanted)).await.is_ok();
    let last = if complete { Instant::now() } else { sent };
    let end = (sent + WINDOW * slowness).max(last + MARGIN * slowness);
    // Nothing more is wanted: it ends when the time is over.
    let never = core::future::pending::<()>();
    drop(timeout_at(end, never).await);
}

/// Notes the frames of `numbered` that come in at a station.
async fn listen(
    at: StationId,
    antenna: Arc<PacketSocket>,
    numbered: Arc<BTreeMap<Vec<u8>, usize>>,
    log: Log,
) {
    while let Ok(frame) = antenna.receive().await {
        if let Some(number) = numbered.get(&frame) {
            log.add(*number, &at);
        }
    }
}
