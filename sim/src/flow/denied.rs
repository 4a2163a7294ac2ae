//! Traffic that no policy allows, all the time: none of it may arrive.

use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;

use anyhow::{Context as _, Result};

use super::line::{Ends, Lines, TICK};
use super::stream::is_wait;

/// The port that is sent to.
const PORT: u16 = 5399;
/// Between two datagrams.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a connection may take to come about.
const CONNECTING: Duration = Duration::from_millis(150);

/// What was tried, and what of it arrived.
#[derive(Clone, Default)]
pub(super) struct Denied {
    tried: Arc<AtomicU64>,
    arrived: Arc<AtomicU64>,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} denied packets and connections tried, {} arrived", self.tried(), self.arrived())
    }
}

impl Denied {
    /// How often it was tried.
    fn tried(&self) -> u64 {
        self.tried.load(Ordering::SeqCst)
    }

    /// How often something arrived.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::SeqCst)
    }

    /// That something arrived, or that nothing was tried.
    pub(super) fn complaint(&self) -> Option<String> {
        (self.arrived() > 0 || self.tried() == 0).then(|| self.to_string())
    }

    /// Begins to send datagrams and to open connections, until `lines` stop.
    pub(super) fn begin(&self, lines: &Lines, ends: &Ends) -> Result<()> {
        let there = SocketAddr::new(ends.destination, PORT);
        let server = ends.to.run(|| UdpSocket::bind(there))?.context("cannot listen")?;
        let listener = ends.to.run(|| TcpListener::bind(there))?.context("cannot listen")?;
        let client =
            ends.from.run(|| UdpSocket::bind(SocketAddr::new(ends.source, 0)))?.context("cannot bind")?;
        server.set_read_timeout(Some(TICK))?;
        let (sender, receiver, connecter) = (self.clone(), self.clone(), self.clone());
        lines.run(move |lines| sender.send(lines, &client, there));
        lines.run(move |lines| receiver.receive(lines, &server));
        let from = Arc::clone(&ends.from);
        lines.run(move |lines| {
            // Threads enter a namespace one by one; what they open stays there.
            drop(from.run(|| connecter.connect(lines, there)));
            drop(listener);
        });
        Ok(())
    }

    fn send(&self, lines: &Lines, socket: &UdpSocket, there: SocketAddr) {
        while !lines.is_stopped() {
            // What the kernel cannot even send does not arrive either.
            if socket.send_to(b"let me in", there).is_ok() {
                self.tried.fetch_add(1, Ordering::SeqCst);
            }
            thread::park_timeout(PAUSE);
        }
    }

    fn receive(&self, lines: &Lines, socket: &UdpSocket) {
        let mut bytes = [0; 64];
        while !lines.is_abandoned() {
            match socket.recv_from(&mut bytes) {
                Ok(_) => drop(self.arrived.fetch_add(1, Ordering::SeqCst)),
                Err(error) if is_wait(&error) => {}
                Err(_) => return,
            }
        }
    }

    fn connect(&self, lines: &Lines, there: SocketAddr) {
        while !lines.is_stopped() {
            self.tried.fetch_add(1, Ordering::SeqCst);
            if TcpStream::connect_timeout(&there, CONNECTING).is_ok() {
                self.arrived.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}
