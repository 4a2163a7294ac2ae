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

/// Connects, sends a nonce and reads its answer; again, when the connection breaks. The kernel repeats what gets
/// lost in between.
pub(super) async fn tcp(attempt: &mut Attempt, port: u16) -> Result<()> {
    let to = SocketAddr::new(attempt.to, port);
    loop {
        let again = Instant::now() + AGAIN;
        let socket = attempt.from.namespace.run(|| tcp_socket(&attempt.from, 0))??;
        let nonce = attempt.receipts.issue(&attempt.probe, socket.local_addr()?);
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

/// Sends a nonce until its answer comes back.
pub(super) async fn udp(attempt: &mut Attempt, port: u16) -> Result<()> {
    let socket = attempt.from.namespace.run(|| udp_socket(&attempt.from, 0))??;
    socket.connect(SocketAddr::new(attempt.to, port)).await?;
    let nonce = attempt.receipts.issue(&attempt.probe, socket.local_addr()?);
    loop {
        let again = Instant::now() + AGAIN;
        // An error is an ICMP error or a failed neighbour discovery for an earlier datagram: the next one may pass.
        let sent = socket.send(&nonce).await;
        attempt.sent();
        let mut reply = [0; 16];
        let received = timeout_at(again, socket.recv(&mut reply)).await;
        if let (Ok(_), Ok(Ok(length))) = (sent, received)
            && reply.get(..length) == Some(&answer(nonce)[..])
        {
            return Ok(());
        }
        sleep_until(again).await;
    }
}
