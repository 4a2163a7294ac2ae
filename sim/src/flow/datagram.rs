//! Numbered UDP datagrams, each of which the other end sends back.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;
use std::net::UdpSocket;
use std::thread;

use anyhow::{Context as _, Result};

use super::line::{Ends, Line, Lines, TICK};
use super::stream::is_wait;

/// The port that is sent to.
const PORT: u16 = 5353;
/// Between two datagrams.
const PAUSE: Duration = Duration::from_millis(2);

/// Begins to send, and to answer.
pub(super) fn begin(lines: &Lines, name: &str, ends: &Ends) -> Result<()> {
    let there = SocketAddr::new(ends.destination, PORT);
    let server = ends.to.run(|| UdpSocket::bind(there))?.context("cannot listen")?;
    let client =
        ends.from.run(|| UdpSocket::bind(SocketAddr::new(ends.source, 0)))?.context("cannot bind")?;
    client.connect(there).context("cannot connect")?;
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(TICK))?;
    }
    let [forth, back] =
        ["to the server", "to the client"].map(|way| lines.line(format!("{name} {way}"), "datagrams"));
    let (sender, lanes) = (client.try_clone()?, [Arc::clone(&forth), Arc::clone(&back)]);
    lines.run(move |lines| send(lines, &lanes, &sender));
    lines.run(move |lines| {
        receive(lines, &forth, &server, UdpSocket::send_to);
    });
    lines.run(move |lines| receive(lines, &back, &client, |_, bytes, _| Ok(bytes.len())));
    Ok(())
}

/// Every datagram is to come back, so both lines count it.
fn send(lines: &Lines, lanes: &[Arc<Line>; 2], socket: &UdpSocket) {
    let mut number: u64 = 0;
    while !lines.is_stopped() {
        match socket.send(&number.to_be_bytes()) {
            Ok(_) => {
                number += 1;
                for line in lanes {
                    line.send(1);
                }
            }
            Err(error) if is_wait(&error) => {}
            Err(error) => {
                for line in lanes {
                    line.fail(format!("cannot send: {error}"));
                }
                return;
            }
        }
        thread::park_timeout(PAUSE);
    }
    for line in lanes {
        line.finish();
    }
}

/// Notes every number once, and hands it to `then`.
fn receive(
    lines: &Lines,
    line: &Line,
    socket: &UdpSocket,
    then: impl Fn(&UdpSocket, &[u8], SocketAddr) -> std::io::Result<usize>,
) {
    let (mut seen, mut number) = (BTreeSet::new(), [0; 8]);
    while !lines.is_abandoned() {
        match socket.recv_from(&mut number) {
            Ok((_, sender)) => {
                if seen.insert(number) {
                    line.arrive(1);
                }
                if let Err(error) = then(socket, &number, sender) {
                    return line.fail(format!("cannot answer: {error}"));
                }
            }
            Err(error) if is_wait(&error) => {}
            Err(error) => return line.fail(format!("cannot receive: {error}")),
        }
    }
}
