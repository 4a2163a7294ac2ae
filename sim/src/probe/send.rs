//! The sending side of the built-in TCP and UDP probes.
//!
//! Every socket is bound to its interface and address, so that a pod with several interfaces sends by the right one.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

use super::Probe;
use super::receipts::{Nonce, Receipts, answer};
use super::round::Place;

/// How long to wait for an answer before asking again.
const AGAIN: Duration = Duration::from_millis(250);

/// Connects, sends a nonce and reads its answer; again, when the connection breaks. The kernel repeats what gets
/// lost in between.
pub(super) async fn tcp(probe: &Probe, from: &Place, to: SocketAddr, receipts: &Receipts) -> Result<()> {
    loop {
        let socket = from.namespace.run(|| tcp_socket(from))??;
        let nonce = receipts.issue(probe, socket.local_addr()?);
        if converse(socket, to, nonce).await.is_ok_and(|reply| reply == answer(nonce)) {
            return Ok(());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn tcp_socket(from: &Place) -> std::io::Result<TcpSocket> {
    let socket = match from.address {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind_device(Some(from.interface.as_bytes()))?;
    socket.bind(SocketAddr::new(from.address, 0))?;
    Ok(socket)
}

async fn converse(socket: TcpSocket, to: SocketAddr, nonce: Nonce) -> std::io::Result<Nonce> {
    let mut stream = socket.connect(to).await?;
    stream.write_all(&nonce).await?;
    let mut reply = [0; 8];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

/// Sends a nonce until its answer comes back.
pub(super) async fn udp(probe: &Probe, from: &Place, to: SocketAddr, receipts: &Receipts) -> Result<()> {
    let socket = from.namespace.run(|| std::net::UdpSocket::bind(SocketAddr::new(from.address, 0)))??;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    socket.bind_device(Some(from.interface.as_bytes()))?;
    socket.connect(to).await?;
    let nonce = receipts.issue(probe, socket.local_addr()?);
    loop {
        // An error is an ICMP error or a failed neighbour discovery for an earlier datagram: the next one may pass.
        let sent = socket.send(&nonce).await;
        let mut reply = [0; 16];
        let received = timeout(AGAIN, socket.recv(&mut reply)).await;
        if let (Ok(_), Ok(Ok(length))) = (sent, received)
            && reply.get(..length) == Some(&answer(nonce)[..])
        {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}
