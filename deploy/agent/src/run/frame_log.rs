//! Frames that policies want logged: heard from the kernel, named by the enforcer, written as lines and counted.
//!
//! The kernel tells a limited number of frames for each place that tells; the thread here reads them and asks the enforcer
//! whose they are, one datagram after the other, so the enforcer never has more than one such question. Whatever goes wrong is
//! said and counted, and ends nothing: a policy is enforced whether anybody reads of it or not.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use core::time::Duration;

use anyhow::Result;
use driver_nft::{FrameLog, LoggedFrame, NftError, Told};
use policy_core::frame::Summary;
use policy_core::{Compiler, LogSettings, Sighted, Sighting};
use tracing::{info, warn};

use super::metrics::Metrics;
use super::{Content, Inbox, spawn};

/// How much of a frame is heard, from its network header on, in bytes; what a rule tells is no more.
const BYTES_MAX: u32 = 128;
/// How long after a failure the group is listened to again.
const AGAIN: Duration = Duration::from_secs(5);

/// Frames, and who wants to know whose they are.
#[derive(Debug)]
pub(crate) struct Question {
    frames: Vec<(LoggedFrame, Summary)>,
    answer: SyncSender<Vec<(LoggedFrame, Summary, Option<Sighted>)>>,
}

impl Question {
    /// Answers.
    pub(crate) fn answer(self, compiler: &Compiler) {
        let sightings: Vec<Sighting<'_>> =
            self.frames.iter().map(|(frame, summary)| sighting(frame, summary)).collect();
        let sighted = compiler.sighted(&sightings);
        let named = self.frames.into_iter().zip(sighted);
        let named = named.map(|((frame, summary), sighted)| (frame, summary, sighted)).collect();
        // Whoever asked may have ended.
        drop(self.answer.try_send(named));
    }
}

fn sighting<'a>(frame: &'a LoggedFrame, summary: &Summary) -> Sighting<'a> {
    Sighting {
        prefix: &frame.prefix,
        input: frame.input,
        output: frame.output,
        macs: frame.macs,
        source: summary.source,
        destination: summary.destination,
    }
}

/// Listens in a thread of its own.
///
/// # Errors
/// There can be no thread.
pub(crate) fn watch(settings: LogSettings, inbox: Inbox, metrics: Metrics) -> Result<()> {
    // Before anything is enforced, so that the first frame is heard.
    let mut log = listen(settings, true);
    let work = move || {
        let mut said = log.is_none();
        loop {
            match log.as_mut().map(|log| log.next(None)) {
                Some(Ok(Told::Frames(frames))) => {
                    said = false;
                    if !write_all(frames, &inbox, &metrics) {
                        return;
                    }
                }
                Some(Ok(Told::Lost)) => {
                    metrics.frames_lost();
                    warn!("logged frames come faster than they can be read; some are lost");
                }
                Some(Ok(Told::Nothing)) => {}
                Some(Err(reason)) => {
                    warn!(%reason, "logged frames cannot be read; it is tried again");
                    log = None;
                }
                None => {
                    thread::sleep(AGAIN);
                    log = listen(settings, !said);
                    said = true;
                    if log.is_some() {
                        info!(group = settings.group, "listening to logged frames again");
                    }
                }
            }
        }
    };
    spawn("frame-log", work)
}

/// Begins to listen; says why that is not possible where `aloud`.
fn listen(settings: LogSettings, aloud: bool) -> Option<FrameLog> {
    let failed = |reason: NftError| {
        if aloud {
            warn!(group = settings.group, %reason, "nobody hears of logged frames; it is tried again");
        }
    };
    FrameLog::open(settings.group, BYTES_MAX).map_err(failed).ok()
}

/// Writes a line for each frame; whether the enforcer still answers.
fn write_all(frames: Vec<LoggedFrame>, inbox: &Inbox, metrics: &Metrics) -> bool {
    if frames.is_empty() {
        return true;
    }
    let (answer, named) = sync_channel(1);
    let frames = frames.into_iter().map(|frame| {
        let summary = Summary::read(frame.ether_type, &frame.payload);
        (frame, summary)
    });
    let question = Question { frames: frames.collect(), answer };
    if !inbox.send(Content::Whose(question)) {
        return false;
    }
    // It answers, or it has ended.
    let Ok(named) = named.recv() else { return false };
    for (frame, summary, sighted) in &named {
        metrics.logged(sighted.as_ref());
        write(frame, summary, sighted.as_ref());
    }
    true
}

/// Writes the line of a frame. What is not known has no field.
fn write(frame: &LoggedFrame, summary: &Summary, sighted: Option<&Sighted>) {
    let judged = sighted.map(|sighted| &sighted.judged);
    let policies = sighted.map(|sighted| {
        let names: Vec<String> = sighted.policies.iter().map(ToString::to_string).collect();
        names.join(",")
    });
    info!(
        target: "frames",
        action = sighted.map(|sighted| sighted.action.word()),
        direction = judged.map(|judged| display(judged.direction)),
        namespace = judged.map(|judged| &*judged.pod.namespace),
        pod = judged.map(|judged| &*judged.pod.name),
        network = judged.map(|judged| display(&judged.network)),
        interface = judged.map(|judged| &*judged.interface),
        policies,
        peer = sighted.and_then(|sighted| sighted.peer.as_ref()).map(display),
        from = summary.source.map(display),
        to = summary.destination.map(display),
        from_mac = frame.macs.map(|(source, _)| display(source)),
        to_mac = frame.macs.map(|(_, destination)| display(destination)),
        ether_type = display(format_args!("{:#06x}", summary.ether_type)),
        protocol = summary.protocol.map(protocol).map(display),
        from_port = summary.ports.map(|(from, _)| from),
        to_port = summary.ports.map(|(_, to)| to),
        icmp_type = summary.icmp.map(|(kind, _)| kind),
        icmp_code = summary.icmp.map(|(_, code)| code),
        arp_operation = summary.arp,
        input = frame.input,
        output = frame.output,
        received = frame.received.map(|at| at.as_secs_f64()),
        // Only where nobody knows what they stand for.
        words = sighted.is_none().then_some(&*frame.prefix),
        "frame"
    );
}

/// A transport protocol's name (IANA "Assigned Internet Protocol Numbers"), or its number.
fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        2 => "igmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}
