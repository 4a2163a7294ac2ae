//! What the agent counts, and what it is asked for: Prometheus metrics.
//!
//! What happens is counted when it happens. What there is (objects, chains, elements) is counted when somebody asks, by the
//! enforcer, so that an event costs nothing for being one of many. The kernel's counters are read then too.

use alloc::collections::BTreeMap;
use core::fmt;
use core::time::Duration;
use std::fs;

use driver_kube::announce::Outcome;
use driver_nft::Counted;
use policy_core::model::{Kind, NetworkConfig};
use policy_core::ruleset::ChainName;
use policy_core::{Compiler, Judged, Sighted};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Health;

/// The beginning of every name that is the project's own.
const PREFIX: &str = "mnp_nft_bridge";

/// A kind of object.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// What became of an Event.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The frames of an attachment, in one direction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, EncodeLabelSet)]
struct AttachmentLabel {
    direction: &'static str,
    namespace: String,
    pod: String,
    network: String,
    interface: String,
}

/// Frames that were logged. By namespace and not by pod: whoever can start pods could make as many series, and the line has
/// the pod's name.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct LoggedLabel {
    action: &'static str,
    direction: &'static str,
    namespace: String,
}

/// A part of the table that belongs to no attachment.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ChainLabel {
    chain: String,
}

/// What there is at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// How many objects are known, by kind.
    objects: BTreeMap<&'static str, usize>,
    local_attachments: usize,
    chains: usize,
    rules: usize,
    sets: usize,
    elements: usize,
    /// Policies that name a network which is no bridge's.
    unmanaged_policies: usize,
    /// Objects of which something cannot be used, by kind.
    pub(crate) troubled: BTreeMap<&'static str, usize>,
    /// Whose frames each chain judges.
    judged: BTreeMap<ChainName, Judged>,
    health: Health,
}

impl Snapshot {
    /// What there is now.
    pub(crate) fn of(compiler: &Compiler, health: Health) -> Self {
        let (world, applied) = (compiler.world(), compiler.applied());
        let objects = Kind::ALL.map(|kind| {
            let count = match kind {
                Kind::Namespace => world.namespaces().count(),
                Kind::Network => world.networks().count(),
                Kind::Pod => world.pods().count(),
                Kind::Policy => world.policies().count(),
                Kind::Port => world.ports().count(),
            };
            (kind.word(), count)
        });
        let is_unmanaged = |network| matches!(world.network(network), Some(NetworkConfig::Other { .. }));
        let unmanaged = world.policies().filter(|policy| policy.networks.iter().any(is_unmanaged));
        Self {
            objects: objects.into(),
            local_attachments: compiler.local_attachments(),
            chains: applied.chains.len(),
            rules: applied.chains.values().map(|chain| chain.rules.len()).sum(),
            sets: applied.sets.len(),
            elements: applied.sets.values().map(|set| set.elements.len()).sum(),
            unmanaged_policies: unmanaged.count(),
            troubled: BTreeMap::new(),
            judged: compiler.judged().map(|(chain, judged)| (chain.clone(), judged)).collect(),
            health,
        }
    }
}

/// Everything that is counted.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    commits: Counter,
    events: Family<OutcomeLabel, Counter>,
    interruptions: Family<KindLabel, Counter>,
    logged: Family<LoggedLabel, Counter>,
    log_overruns: Counter,
    latency: Histogram,
    operations: Counter,
    refusals: Counter,
    repairs: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let interruptions: Family<KindLabel, Counter> = Family::default();
        // A series that begins with its first count hides that from whoever asks for increases.
        for kind in Kind::OF_THE_CLUSTER {
            drop(interruptions.get_or_create(&KindLabel { kind: kind.word() }));
        }
        let events: Family<OutcomeLabel, Counter> = Family::default();
        for outcome in Outcome::ALL {
            drop(events.get_or_create(&OutcomeLabel { outcome: outcome.word() }));
        }
        Self {
            commits: Counter::default(),
            events,
            interruptions,
            logged: Family::default(),
            log_overruns: Counter::default(),
            // From 0.1 ms to 3.3 s.
            latency: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            operations: Counter::default(),
            refusals: Counter::default(),
            repairs: Counter::default(),
        }
    }
}

impl Metrics {
    /// The kernel has committed a transaction of so many operations; `waited` is the time since its oldest event.
    pub(crate) fn committed(&self, operations: usize, waited: Option<Duration>) {
        self.commits.inc();
        self.operations.inc_by(u64::try_from(operations).unwrap_or(u64::MAX));
        if let Some(waited) = waited {
            self.latency.observe(waited.as_secs_f64());
        }
    }

    /// The kernel has refused a transaction.
    pub(crate) fn refused(&self) {
        self.refusals.inc();
    }

    /// Another program has changed the table.
    pub(crate) fn tampered(&self) {
        self.repairs.inc();
    }

    /// A watch was interrupted, or begins anew.
    pub(crate) fn interrupted(&self, kind: Kind) {
        self.interruptions.get_or_create(&KindLabel { kind: kind.word() }).inc();
    }

    /// A frame was logged; `None` when nobody knows any more whose it was.
    pub(crate) fn logged(&self, sighted: Option<&Sighted>) {
        let label = sighted.map_or_else(
            || LoggedLabel { action: "unknown", direction: "unknown", namespace: String::new() },
            |Sighted { action, judged, .. }| LoggedLabel {
                action: action.word(),
                direction: judged.direction.word(),
                namespace: judged.pod.namespace.to_string(),
            },
        );
        self.logged.get_or_create(&label).inc();
    }

    /// Frames came faster than they were read.
    pub(crate) fn frames_lost(&self) {
        self.log_overruns.inc();
    }

    /// What became of an Event.
    pub(crate) fn event(&self, outcome: Outcome) {
        self.events.get_or_create(&OutcomeLabel { outcome: outcome.word() }).inc();
    }

    /// All of it in the `OpenMetrics` text format, with what there is and what the kernel has counted.
    ///
    /// # Errors
    /// It cannot be written, which would be a fault in the library.
    pub(crate) fn text(
        &self,
        snapshot: Snapshot,
        counted: BTreeMap<ChainName, Counted>,
    ) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The version of the agent", Info::new(version));
        registry.register("commits", "Transactions that the kernel has committed", self.commits.clone());
        registry.register("events", "Events for people, by what became of them", self.events.clone());
        registry.register(
            "event_to_commit_seconds",
            "Time from the oldest event of a transaction to the kernel's acknowledgement",
            self.latency.clone(),
        );
        registry.register(
            "logged_packets",
            "Frames that were logged, by what became of them, the direction that was judged, and the pod's namespace",
            self.logged.clone(),
        );
        registry.register(
            "log_overruns",
            "How often frames to be logged came faster than they were read, so that some are not logged",
            self.log_overruns.clone(),
        );
        registry.register("operations", "Operations of these transactions", self.operations.clone());
        registry.register("refusals", "Transactions that the kernel has refused", self.refusals.clone());
        registry.register("repairs", "Changes of the table by other programs", self.repairs.clone());
        registry.register(
            "watch_interruptions",
            "Watches of the API server that were interrupted or began anew, by kind of object",
            self.interruptions.clone(),
        );
        registry.register_collector(Box::new(Moment { snapshot, counted }));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// What there is at the moment of a scrape.
#[derive(Debug)]
struct Moment {
    snapshot: Snapshot,
    counted: BTreeMap<ChainName, Counted>,
}

impl Collector for Moment {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Self { snapshot, counted } = self;
        let gauges = [
            (
                "local_attachments",
                "Attachments of this node's pods that are enforced",
                snapshot.local_attachments,
            ),
            ("chains", "Chains in the table", snapshot.chains),
            ("rules", "Rules in the table", snapshot.rules),
            ("sets", "Sets and maps in the table", snapshot.sets),
            ("elements", "Elements of sets and maps, without those of connections", snapshot.elements),
            (
                "unmanaged_policies",
                "Policies that name a network which is no bridge's, so that nothing is enforced there",
                snapshot.unmanaged_policies,
            ),
            ("synced", "1 when everything has been heard of and is enforced", snapshot.health.synced.into()),
            ("refused", "1 when the last transaction was refused", snapshot.health.refused.into()),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        by_kind(&mut encoder, "objects", "Objects that are known", &snapshot.objects)?;
        let troubled = "Objects of which something cannot be enforced";
        by_kind(&mut encoder, "troubled_objects", troubled, &snapshot.troubled)?;
        drops(&mut encoder, &snapshot.judged, counted)?;
        gauge(&mut encoder, "resident_memory_bytes", "Memory of the agent", resident_bytes())
    }
}

fn number(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: usize,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(number(value));
    gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn by_kind(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: &BTreeMap<&'static str, usize>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (kind, count) in counts {
        ConstGauge::new(number(*count)).encode(family.encode_family(&KindLabel { kind })?)?;
    }
    Ok(())
}

/// The counters of an attachment's chains, together; and those of the parts that belong to no attachment.
fn drops(
    encoder: &mut DescriptorEncoder<'_>,
    judged: &BTreeMap<ChainName, Judged>,
    counted: &BTreeMap<ChainName, Counted>,
) -> Result<(), fmt::Error> {
    let mut of_attachments: BTreeMap<AttachmentLabel, u64> = BTreeMap::new();
    let mut others = Vec::new();
    for (chain, Counted { packets, .. }) in counted {
        match judged.get(chain) {
            Some(judged) => *of_attachments.entry(label(judged)).or_default() += packets,
            None => others.push((ChainLabel { chain: chain.to_string() }, *packets)),
        }
    }
    let help =
        "Packets that the policies of an attachment have not let through, since its rules were last written";
    let mut family = encoder.encode_descriptor("dropped_packets", help, None, MetricType::Counter)?;
    for (label, packets) in &of_attachments {
        ConstCounter::new(*packets).encode(family.encode_family(label)?)?;
    }
    let help = "Packets that a guard against spoofing or router advertisements has dropped, by chain";
    let mut family = encoder.encode_descriptor("guard_dropped_packets", help, None, MetricType::Counter)?;
    for (label, packets) in &others {
        ConstCounter::new(*packets).encode(family.encode_family(label)?)?;
    }
    Ok(())
}

fn label(judged: &Judged) -> AttachmentLabel {
    AttachmentLabel {
        direction: judged.direction.word(),
        namespace: judged.pod.namespace.to_string(),
        pod: judged.pod.name.to_string(),
        network: judged.network.to_string(),
        interface: judged.interface.to_string(),
    }
}

/// `VmRSS` of `/proc/self/status`, `proc_pid_status(5)`; 0 where there is no /proc.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    kibibytes.and_then(|number| number.parse::<usize>().ok()).unwrap_or(0) * 1_024
}
