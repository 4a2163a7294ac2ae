//! Lines: what was sent one way, and what of it arrived.

use alloc::sync::Arc;
use core::fmt;
use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::netns::Namespace;

/// How often something is looked at that is waited for; and how long a thread waits for its socket before it looks
/// whether it is still needed.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// Who sends to whom.
pub(super) struct Ends {
    /// The namespace of the one who begins.
    pub(super) from: Arc<Namespace>,
    /// That of the other.
    pub(super) to: Arc<Namespace>,
    /// The address of the one who begins.
    pub(super) source: IpAddr,
    /// That of the other.
    pub(super) destination: IpAddr,
}

/// One way of one flow.
pub(super) struct Line {
    name: String,
    unit: &'static str,
    sent: AtomicU64,
    arrived: AtomicU64,
    /// Nothing more will be sent.
    finished: AtomicBool,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    last: Option<Instant>,
    mistake: Option<String>,
}

impl Line {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So much more was sent.
    pub(super) fn send(&self, count: u64) {
        self.sent.fetch_add(count, Ordering::SeqCst);
    }

    /// So much more has arrived.
    pub(super) fn arrive(&self, count: u64) {
        self.arrived.fetch_add(count, Ordering::SeqCst);
        self.memory().last = Some(Instant::now());
    }

    /// Nothing more will be sent.
    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::SeqCst);
    }

    /// Something arrived that was not sent, or a socket failed.
    pub(super) fn fail(&self, mistake: String) {
        self.memory().mistake.get_or_insert(mistake);
    }

    fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::SeqCst), self.arrived.load(Ordering::SeqCst))
    }

    fn is_complete(&self) -> bool {
        let (sent, arrived) = self.counts();
        self.finished.load(Ordering::SeqCst) && sent == arrived
    }
}

/// Flows that run together. All handles are one.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<Arc<Line>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stopped: AtomicBool,
    abandoned: AtomicBool,
}

impl Lines {
    /// A new line; what is sent on it is counted in `unit`.
    pub(super) fn line(&self, name: String, unit: &'static str) -> Arc<Line> {
        let line = Line {
            name,
            unit,
            sent: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            finished: AtomicBool::new(false),
            memory: Mutex::default(),
        };
        let line = Arc::new(line);
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&line));
        line
    }

    /// Runs `work` in a thread that ends before the flows do.
    pub(super) fn run(&self, work: impl FnOnce(&Self) + Send + 'static) {
        let lines = self.clone();
        let thread = thread::spawn(move || work(&lines));
        self.0.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    fn all(&self) -> Vec<Arc<Line>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nothing new is to be sent.
    pub(super) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst) || self.is_abandoned()
    }

    /// Whether nothing is waited for any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.abandoned.load(Ordering::SeqCst)
    }

    /// Lets what is under way arrive, and sends nothing new.
    pub(super) fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
    }

    /// Ends everything at once.
    pub(super) fn abandon(&self) {
        self.0.abandoned.store(true, Ordering::SeqCst);
        let threads = core::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// Waits until something more has arrived on every line.
    pub(super) fn wait_for_more(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let before: Vec<(Arc<Line>, u64)> =
            self.all().into_iter().map(|line| (Arc::clone(&line), line.counts().1)).collect();
        loop {
            let silent = before.iter().find(|(line, before)| line.counts().1 <= *before);
            let Some((silent, _)) = silent else { return Ok(()) };
            if Instant::now() > deadline {
                bail!("nothing more arrives of {} within {patience:?}", silent.name);
            }
            thread::park_timeout(TICK);
        }
    }

    /// After [`Self::stop`]: waits at most `patience` for what is under way, ends, and says what was lost.
    pub(super) fn losses(&self, patience: Duration) -> Vec<String> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && !self.all().iter().all(|line| line.is_complete()) {
            thread::park_timeout(TICK);
        }
        self.abandon();
        let loss = |line: Arc<Line>| {
            let ((sent, arrived), mistake) = (line.counts(), line.memory().mistake.take());
            let lost = sent.saturating_sub(arrived);
            match mistake {
                Some(mistake) => Some(format!("{}: {mistake}", line.name)),
                None if lost > 0 => Some(format!("{}: {lost} of {sent} {} are lost", line.name, line.unit)),
                None => None,
            }
        };
        self.all().into_iter().filter_map(loss).collect()
    }

    /// Everything that has arrived, on all lines.
    pub(super) fn arrived(&self) -> u64 {
        self.all().iter().map(|line| line.counts().1).sum()
    }

    /// For each line, how long after `moment` something arrived last.
    pub(super) fn latest_after(&self, moment: Instant) -> Vec<(String, Duration)> {
        let late = |line: Arc<Line>| {
            let last = line.memory().last.unwrap_or(moment);
            (line.name.clone(), last.saturating_duration_since(moment))
        };
        self.all().into_iter().map(late).collect()
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.all().iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{} {} {}", line.name, line.counts().1, line.unit)?;
        }
        Ok(())
    }
}
