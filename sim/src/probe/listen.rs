//! The receiving side of the built-in TCP and UDP probes: it notes what arrives, then answers.

use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::receipts::{Nonce, Receipts, answer};
use super::round::Place;

/// How many connections may wait to be accepted; more than a round has pods.
const BACKLOG: u32 = 1024;

/// Answers TCP probes to `port` until `tasks` ends.
pub(super) fn tcp(at: &Place, port: u16, receipts: &Receipts, tasks: &mut JoinSet<()>) -> Result<()> {
    let listener = at.namespace.run(|| tcp_listener(at, port))??;
    let receipts = receipts.clone();
    tasks.spawn(async move {
        let mut conversations = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            conversations.spawn(converse(stream, receipts.clone()));
        }
    });
    Ok(())
}

fn tcp_listener(at: &Place, port: u16) -> std::io::Result<TcpListener> {
    let socket = match at.address {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of the round before may still be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind_device(Some(at.interface.as_bytes()))?;
    socket.bind(SocketAddr::new(at.address, port))?;
    socket.listen(BACKLOG)
}

/// One connection. An error means that the sender is gone: nobody is left to tell.
async fn converse(mut stream: TcpStream, receipts: Receipts) {
    let mut nonce: Nonce = [0; 8];
    if stream.read_exact(&mut nonce).await.is_ok() {
        receipts.receive(nonce);
        if stream.write_all(&answer(nonce)).await.is_ok() {
            // Kept open until the sender closes it, so that TIME_WAIT is at its end.
            drop(stream.read(&mut nonce).await);
        }
    }
}

/// Answers UDP probes to `port` until `tasks` ends.
pub(super) fn udp(at: &Place, port: u16, receipts: &Receipts, tasks: &mut JoinSet<()>) -> Result<()> {
    let socket = at.namespace.run(|| std::net::UdpSocket::bind(SocketAddr::new(at.address, port)))??;
    socket.set_nonblocking(true)?;
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    socket.bind_device(Some(at.interface.as_bytes()))?;
    let receipts = receipts.clone();
    tasks.spawn(async move {
        let mut nonce: Nonce = [0; 8];
        loop {
            // An error belongs to an answer sent earlier; the socket goes on.
            if let Ok((8, sender)) = socket.recv_from(&mut nonce).await {
                receipts.receive(nonce);
                drop(socket.send_to(&answer(nonce), sender).await);
            }
        }
    });
    Ok(())
}

/// Whether the kernel at the receiver holds half a connection to `port` from one of `sources`: state `TCP_SYN_RECV`
/// (3, `include/net/tcp_states.h`) in `/proc/net/tcp` or `tcp6`.
pub(super) fn half_open(at: &Place, port: u16, sources: &[SocketAddr]) -> Result<bool> {
    let file = if at.address.is_ipv4() { "tcp" } else { "tcp6" };
    let path = format!("/proc/thread-self/net/{file}");
    let table = at.namespace.run(|| std::fs::read_to_string(&path))?;
    let table = table.with_context(|| format!("cannot read {path}"))?;
    let local = format!("{}:{port:04X}", table_address(at.address));
    let remotes: Vec<String> = sources
        .iter()
        .map(|source| format!("{}:{:04X}", table_address(source.ip()), source.port()))
        .collect();
    Ok(table.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next() == Some(&local)
            && columns.next().is_some_and(|remote| remotes.iter().any(|source| source == remote))
            && columns.next() == Some("03")
    }))
}

/// An address as `/proc/net/tcp` shows it: words of four bytes, each in the machine's byte order.
fn table_address(address: IpAddr) -> String {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let words = bytes.chunks_exact(4).filter_map(|word| <[u8; 4]>::try_from(word).ok());
    let words: Vec<String> = words.map(|word| format!("{:08X}", u32::from_ne_bytes(word))).collect();
    words.concat()
}
