//! A round of probes: all pairs at once, over real sockets and by real programs.
//!
//! Probes that are to be answered have [`PATIENCE`]; the round ends when they all are. The others have that long too,
//! and at least [`WINDOW`]: a denied probe costs one short timeout per round, and a slow machine makes the window
//! longer, because the probes that pass are the clock.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::convert::Infallible;
use core::net::IpAddr;
use core::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use policy_core::model::Mac;

use super::receipts::Receipts;
use super::{Outcome, Probe, ProbeKind, ethernet, listen, program, refused, sctp, send};
use crate::netns::Namespace;
use crate::plan::{Station, StationId};
use crate::scenario::Wanted;

/// How long a probe that is to be answered may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long a probe that is not to be answered is watched after the last probe was sent.
pub const WINDOW: Duration = Duration::from_millis(350);
/// How much longer than the slowest answer it is watched.
pub(super) const MARGIN: Duration = Duration::from_millis(50);

/// Who stands where, for real.
pub struct Field<'a> {
    /// Everyone who can be probed.
    pub stations: &'a BTreeMap<StationId, Station>,
    /// The namespaces of their owners, by name.
    pub namespaces: &'a BTreeMap<String, Arc<Namespace>>,
    /// How many times longer than on an ordinary machine everything may take; 1 there.
    pub slowness: u32,
}

/// One end of a probe, ready to be used by a task.
#[derive(Clone)]
pub(super) struct Place {
    /// The namespace.
    pub(super) namespace: Arc<Namespace>,
    /// The interface in it.
    pub(super) interface: String,
    /// The interface's Ethernet address.
    pub(super) mac: Mac,
    /// The address, if the probe goes over a family that has any.
    pub(super) address: Option<IpAddr>,
}

impl Place {
    /// The address, of the probe's family.
    pub(super) fn address(&self) -> Result<IpAddr> {
        self.address.with_context(|| format!("{} has no address of the probe's family", self.interface))
    }
}

/// A probe under way.
pub(super) struct Attempt {
    /// The probe.
    pub(super) probe: Probe,
    /// Where it starts.
    pub(super) from: Place,
    /// Who is asked.
    pub(super) to: Place,
    /// Where probes that carry a number keep their books.
    pub(super) receipts: Receipts,
    /// Dropped as soon as the first frame is on its way; the window of the round begins with the last of them.
    pub(super) unsent: Option<Sender<Infallible>>,
}

impl Attempt {
    /// The first frame is on its way.
    pub(super) fn sent(&mut self) {
        self.unsent = None;
    }

    /// Ends when the probe has been answered, and not before.
    async fn answered(mut self) -> Result<Probe> {
        let done = match self.probe.kind {
            ProbeKind::Arp => program::arping(&mut self).await,
            ProbeKind::Ether(ether_type) => ethernet::send(&mut self, ether_type).await,
            ProbeKind::Icmp => program::ping(&mut self).await,
            ProbeKind::IcmpError(port) => refused::send(&mut self, port).await,
            ProbeKind::Sctp(port) => sctp::send(&mut self, port).await,
            ProbeKind::Tcp(port) => send::tcp(&mut self, port).await,
            ProbeKind::Udp(port) => send::udp(&mut self, port, send::SMALL).await,
            ProbeKind::UdpBig(port) => send::udp(&mut self, port, send::BIG).await,
        };
        done.with_context(|| format!("cannot probe {}", self.probe)).map(|()| self.probe)
    }
}

/// Sends every probe of `wanted` and says what came of each.
pub async fn round(field: &Field<'_>, wanted: &BTreeMap<Probe, Wanted>) -> Result<BTreeMap<Probe, Outcome>> {
    let receipts = Receipts::default();
    let mut listeners = JoinSet::new();
    field.listen(wanted, &receipts, &mut listeners)?;
    let mut senders = JoinSet::new();
    let (unsent, mut all_sent) = channel(1);
    for probe in wanted.keys() {
        let (from, to) = (field.place(&probe.from, probe)?, field.place(&probe.to, probe)?);
        let (receipts, unsent) = (receipts.clone(), Some(unsent.clone()));
        senders.spawn(Attempt { probe: probe.clone(), from, to, receipts, unsent }.answered());
    }
    drop(unsent);
    // Nobody ever sends through it: it ends when every probe has let go of it.
    drop(timeout(PATIENCE * field.slowness, all_sent.recv()).await);
    let answered = gather(senders, wanted, field.slowness).await?;
    let mut outcomes = BTreeMap::new();
    for probe in wanted.keys() {
        let outcome = if answered.contains(probe) {
            Outcome::Open
        } else if receipts.arrived(probe) || field.half_open(probe, &receipts)? {
            Outcome::OneWay
        } else {
            Outcome::Closed
        };
        outcomes.insert(probe.clone(), outcome);
    }
    // The next round listens at the same addresses, so the sockets must be closed by then.
    listeners.shutdown().await;
    Ok(outcomes)
}

/// Waits for answers, all probes being sent, until the round is over; whatever still runs then is ended.
async fn gather(
    mut senders: JoinSet<Result<Probe>>,
    wanted: &BTreeMap<Probe, Wanted>,
    slowness: u32,
) -> Result<BTreeSet<Probe>> {
    let mut answered = BTreeSet::new();
    let sent = Instant::now();
    let mut missing = wanted.values().filter(|wanted| **wanted == Wanted::Open).count();
    let mut last_answer = sent;
    loop {
        let deadline = if missing > 0 {
            sent + PATIENCE * slowness
        } else {
            (sent + WINDOW * slowness).max(last_answer + MARGIN * slowness)
        };
        let Ok(Some(ended)) = timeout_at(deadline, senders.join_next()).await else { break };
        let probe = ended.context("a probe panicked")??;
        if wanted.get(&probe) == Some(&Wanted::Open) {
            missing -= 1;
            last_answer = Instant::now();
        }
        answered.insert(probe);
    }
    senders.shutdown().await;
    Ok(answered)
}

impl Field<'_> {
    fn place(&self, id: &StationId, probe: &Probe) -> Result<Place> {
        let station = self.stations.get(id).with_context(|| format!("{id} is nowhere"))?;
        let namespace = self.namespaces.get(&station.namespace());
        Ok(Place {
            namespace: Arc::clone(namespace.with_context(|| format!("{id} has no namespace"))?),
            interface: station.interface(),
            mac: station.mac,
            address: station.address(probe.family),
        })
    }

    /// Opens the sockets that answer probes; `ping` and `arping` are answered by the kernel.
    fn listen(
        &self,
        wanted: &BTreeMap<Probe, Wanted>,
        receipts: &Receipts,
        listeners: &mut JoinSet<()>,
    ) -> Result<()> {
        let mut opened = BTreeSet::new();
        for probe in wanted.keys() {
            // One socket answers datagrams of every size.
            let kind =
                if let ProbeKind::UdpBig(port) = probe.kind { ProbeKind::Udp(port) } else { probe.kind };
            if !opened.insert((&probe.to, probe.family, kind)) {
                continue;
            }
            let place = self.place(&probe.to, probe)?;
            let opened = match kind {
                ProbeKind::Arp | ProbeKind::Icmp | ProbeKind::UdpBig(_) => Ok(()),
                ProbeKind::Ether(ether_type) => ethernet::listen(&place, ether_type, receipts, listeners),
                ProbeKind::IcmpError(port) => refused::listen(&place, port, receipts, listeners),
                ProbeKind::Sctp(port) => sctp::listen(&place, port, receipts, listeners),
                ProbeKind::Tcp(port) => listen::tcp(&place, port, receipts, listeners),
                ProbeKind::Udp(port) => listen::udp(&place, port, receipts, listeners),
            };
            opened.with_context(|| format!("cannot listen on {} for {kind}", probe.to))?;
        }
        Ok(())
    }

    /// Whether the receiver of a TCP probe holds half a connection of it: the first segment came through, the answer
    /// did not.
    fn half_open(&self, probe: &Probe, receipts: &Receipts) -> Result<bool> {
        let ProbeKind::Tcp(port) = probe.kind else { return Ok(false) };
        let receiver = self.place(&probe.to, probe)?;
        listen::half_open(&receiver, port, &receipts.sent_from(probe))
    }
}
