//! A server between the API server and its clients that does on request what networks and servers do by themselves.
//!
//! It ends the clients' TLS sessions with the API server's own certificate, and passes requests on, with whatever token they
//! have. Answers are passed on in small chunks, so that a cut can be made anywhere in them.

mod places;
mod relay;

use alloc::sync::Arc;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub use places::{Cut, Ending, Place};

use crate::ControlPlane;
use relay::{Command, Relay};

/// How requests are treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Manner {
    /// They are passed on, and so are the answers.
    #[default]
    Honest,
    /// They are answered with this status, and not passed on; 429 with `Retry-After`, and 200 with what is no JSON.
    Answering(u16),
    /// They are answered with nothing: watches end as soon as they begin.
    Empty,
    /// Nobody listens, and what was connected is not any more.
    Refusing,
    /// Heads of answers, and each part of a body, come so much later.
    Slow(Duration),
}

/// What happens to one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mishap {
    /// It is answered with this status, and not passed on.
    Answered(u16),
    /// The answer is cut.
    Cut(Cut),
    /// The object after so many others is no object any more.
    Garbled(usize),
}

/// Which requests something happens to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// Those that ask for all objects of a kind, and then for changes.
    List,
    /// Those that ask for changes only.
    Watch,
}

/// What is to happen once.
#[derive(Debug)]
struct Awaited {
    of: Of,
    /// The kind in the path, such as `pods`.
    plural: &'static str,
    mishap: Mishap,
}

/// What connections look at.
#[derive(Debug)]
struct Shared {
    settings: Mutex<Settings>,
    /// Takes the path of each request that was not treated honestly.
    happened: Sender<String>,
}

#[derive(Debug, Default)]
struct Settings {
    manner: Manner,
    awaited: Vec<Awaited>,
    /// How many requests have come.
    requests: usize,
}

impl Shared {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        // Nothing panics while it is held.
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to happen to a request for `path`, of those that `wanted` names.
    fn mishap(&self, path: &str, wanted: impl Fn(Mishap) -> bool) -> Option<Mishap> {
        let of = match (path.contains("sendInitialEvents=true"), path.contains("watch=true")) {
            (true, _) => Of::List,
            (false, true) => Of::Watch,
            (false, false) => return None,
        };
        let resource = path.split('?').next()?.rsplit('/').next()?;
        let awaited = &mut self.settings().awaited;
        let found = awaited
            .iter()
            .position(|entry| entry.of == of && entry.plural == resource && wanted(entry.mishap))?;
        Some(awaited.remove(found).mishap)
    }

    fn tell(&self, path: &str) {
        // Nobody may be interested.
        drop(self.happened.send(path.to_owned()));
    }
}

/// A running server; it ends, with all connections, when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    commands: UnboundedSender<(Command, SyncSender<()>)>,
    happened: Receiver<String>,
}

impl Proxy {
    /// Starts one in front of `plane`, on the loopback of the calling thread's network namespace.
    ///
    /// # Errors
    /// The certificates cannot be used, or nothing can be bound to the loopback.
    pub fn start(plane: &ControlPlane) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot bind to the loopback")?;
        let address = listener.local_addr().context("no address")?;
        listener.set_nonblocking(true).context("cannot make a socket wait for nothing")?;
        let (happened, receiver) = channel();
        let shared = Arc::new(Shared { settings: Mutex::default(), happened });
        let (commands, commanded) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let relay = {
            let _inside = runtime.enter();
            Relay::new(plane, listener, Arc::clone(&shared))?
        };
        thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || runtime.block_on(relay.serve(commanded)))
            .context("cannot start a thread")?;
        Ok(Self { address, shared, commands, happened: receiver })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Treats all requests like that from now on; what runs already goes on, unless connections are refused.
    pub fn behave(&self, manner: Manner) {
        self.shared.settings().manner = manner;
        self.command(if manner == Manner::Refusing { Command::Close } else { Command::Open });
    }

    /// Lets `mishap` happen once, to the first request of that kind; cuts within a body also to one that runs already.
    pub fn once(&self, of: Of, plural: &'static str, mishap: Mishap) {
        self.shared.settings().awaited.push(Awaited { of, plural, mishap });
    }

    /// Nothing that has not happened yet is to happen any more.
    pub fn forget(&self) {
        self.shared.settings().awaited.clear();
    }

    /// Ends all connections.
    pub fn hang_up(&self) {
        self.command(Command::HangUp);
    }

    /// Waits until something that is not honest has happened to a request for each of the kinds that `plurals` name, in any
    /// order; forgets what has happened to others meanwhile.
    ///
    /// # Errors
    /// That does not happen within `patience`.
    pub fn happened(&self, plurals: &[&str], patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut left = plurals.to_vec();
        while !left.is_empty() {
            let path = self.happened.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let path = path.with_context(|| format!("nothing has happened to requests for {left:?}"))?;
            let resource = path.split('?').next().unwrap_or_default();
            left.retain(|plural| !resource.ends_with(plural));
        }
        Ok(())
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        self.shared.settings().requests
    }

    /// Waits until the command is carried out.
    fn command(&self, command: Command) {
        let (done, carried_out) = sync_channel(1);
        if self.commands.send((command, done)).is_ok() {
            // The server has ended otherwise, which whoever connects notices.
            carried_out.recv().unwrap_or_default();
        }
    }
}
