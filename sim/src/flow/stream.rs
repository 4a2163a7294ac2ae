//! A TCP connection that carries known bytes both ways, checked one by one.

use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, Result};

use super::line::{Ends, Line, Lines, TICK};

/// The port that is connected to.
const PORT: u16 = 8080;
/// How much is sent at once, in bytes; and the pause after it. Both machines' processors have more to do.
const CHUNK: usize = 4096;
const PAUSE: Duration = Duration::from_millis(2);

/// Begins to transfer both ways.
pub(super) fn begin(lines: &Lines, name: &str, ends: &Ends) -> Result<()> {
    let there = SocketAddr::new(ends.destination, PORT);
    let listener = ends.to.run(|| TcpListener::bind(there))?.context("cannot listen")?;
    let client = ends.from.run(|| TcpStream::connect(there))?.context("cannot connect")?;
    let (server, _) = listener.accept().context("cannot accept")?;
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TICK))?;
        socket.set_nodelay(true)?;
    }
    let ways = [("to the server", &client, &server), ("to the client", &server, &client)];
    for (way, sender, receiver) in ways {
        let line = lines.line(format!("{name} {way}"), "bytes");
        let (sender, receiver) = (sender.try_clone()?, receiver.try_clone()?);
        let sent = Arc::clone(&line);
        lines.run(move |lines| send(lines, &sent, sender));
        lines.run(move |lines| receive(lines, &line, receiver));
    }
    Ok(())
}

/// The bytes at `place` of every stream.
fn known(place: u64, length: usize) -> Vec<u8> {
    let first = place / 8;
    let skipped = usize::try_from(place % 8).unwrap_or_default();
    let words = (first..).flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    words.skip(skipped).take(length).collect()
}

fn send(lines: &Lines, line: &Line, mut socket: TcpStream) {
    let mut place = 0;
    while !lines.is_stopped() {
        match socket.write(&known(place, CHUNK)) {
            Ok(written) => {
                let written = u64::try_from(written).unwrap_or_default();
                place += written;
                line.send(written);
            }
            Err(error) if is_wait(&error) => {}
            Err(error) => return line.fail(format!("cannot send: {error}")),
        }
        thread::park_timeout(PAUSE);
    }
    line.finish();
    // An error means that the other end is gone, which it notices itself.
    drop(socket.shutdown(Shutdown::Write));
}

fn receive(lines: &Lines, line: &Line, mut socket: TcpStream) {
    let (mut place, mut buffer) = (0, [0; 4 * CHUNK]);
    while !lines.is_abandoned() {
        match socket.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let read = buffer.get(..length).unwrap_or_default();
                if read != known(place, length) {
                    return line.fail(format!("other bytes than were sent arrive after {place}"));
                }
                let length = u64::try_from(length).unwrap_or_default();
                place += length;
                line.arrive(length);
            }
            Err(error) if is_wait(&error) => {}
            Err(error) => return line.fail(format!("cannot receive: {error}")),
        }
    }
}

/// Whether a socket had nothing to do in time.
pub(super) fn is_wait(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn the_bytes_of_a_stream_depend_on_their_place_alone() {
        let whole = known(0, 100);
        for (place, skipped) in (0..50).zip(0..) {
            assert_eq!(whole.get(skipped..skipped + 50), Some(known(place, 50).as_slice()));
        }
        assert_ne!(known(0, 8), known(8, 8));
    }
}
