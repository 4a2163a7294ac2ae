//! The sending side of the built-in TCP and UDP probes.

use core::net::SocketAddr;
use core::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::receipts::{Nonce, answer};
use super::round::Attempt;
use super::socket::{tcp_socket, udp_socket};

/// How long to wait for an answer before asking again.
const AGAIN: Duration = Duration::from_millis(250);
/// How many bytes a datagram carries that fits into one packet.
pub(super) const SMALL: usize = 8;
/// How many bytes a datagram carries that does not: more than two Ethernet frames hold.
pub(super) const BIG: usize = 4000;

/// Connects, sends a nonce and reads its answer; again, when the connection breaks. The kernel repeats what gets
/// lost in between.
pub(super) async fn tcp(attempt: &mut Attempt, port: u16) -> Result<()> {
    let to = SocketAddr::new(attempt.to.address()?, port);
    loop {
        let again = Instant::now() + AGAIN;
        let socket = attempt.from.namespace.run(|| tcp_socket(&attempt.from, 0))??;
        let nonce = attempt.receipts.issue(&attempt.probe);
        attempt.receipts.send_from(&attempt.probe, socket.local_addr()?);
        attempt.sent();
        if converse(socket, to, nonce).await.is_ok_and(|reply| reply == answer(nonce)) {
            return Ok(());
        }
        sleep_until(again).await;
    }
}

async fn converse(socket: TcpSocket, to: SocketAddr, nonce: Nonce) -> std::io::Result<Nonce> {
    let mut stream = socket.connect(to).await?;
    stream.write_all(&nonce).await?;
    let mut reply = [0; 8];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

/// Sends a nonce and as many more bytes as make `size` until its answer comes back.
pub(super) async fn udp(attempt: &mut Attempt, port: u16, size: usize) -> Result<()> {
    let socket = attempt.from.namespace.run(|| udp_socket(&attempt.from, 0))??;
    socket.connect(SocketAddr::new(attempt.to.address()?, port)).await?;
    let nonce = attempt.receipts.issue(&attempt.probe);
    let (question, wanted) = (filled(nonce, size), filled(answer(nonce), size));
    loop {
        let again = Instant::now() + AGAIN;
        // An error is an ICMP error or a failed neighbour discovery for an earlier datagram: the next one may pass.
        let sent = socket.send(&question).await;
        attempt.sent();
        let mut reply = vec![0; size + 1];
        let received = timeout_at(again, socket.recv(&mut reply)).await;
        if let (Ok(_), Ok(Ok(length))) = (sent, received)
            && reply.get(..length) == Some(&wanted)
        {
            return Ok(());
        }
        sleep_until(again).await;
    }
}

/// `nonce`, followed by zeros to make it `size` bytes long.
fn filled(nonce: Nonce, size: usize) -> Vec<u8> {
    let mut bytes = nonce.to_vec();
    bytes.resize(size, 0);
    bytes
}
