//! The receiving side of the built-in TCP and UDP probes: it notes what arrives, then answers.

use core::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::receipts::{Nonce, Receipts, answer};
use super::round::Place;
use super::socket::{tcp_socket, udp_socket};

/// How many connections may wait to be accepted; more than a round has pods.
const BACKLOG: u32 = 1024;
/// More than any datagram of a probe carries, in bytes.
const BIGGEST: usize = 8192;

/// Answers TCP probes to `port` until `tasks` ends.
pub(super) fn tcp(at: &Place, port: u16, receipts: &Receipts, tasks: &mut JoinSet<()>) -> Result<()> {
    let listener = at.namespace.run(|| tcp_socket(at, port))??.listen(BACKLOG)?;
    let receipts = receipts.clone();
    tasks.spawn(async move {
        let mut conversations = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            conversations.spawn(converse(stream, receipts.clone()));
        }
    });
    Ok(())
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

/// Answers UDP probes to `port` until `tasks` ends, each with as much as it carries.
pub(super) fn udp(at: &Place, port: u16, receipts: &Receipts, tasks: &mut JoinSet<()>) -> Result<()> {
    let socket = at.namespace.run(|| udp_socket(at, port))??;
    let receipts = receipts.clone();
    tasks.spawn(async move {
        let mut datagram = vec![0; BIGGEST];
        loop {
            // An error belongs to an answer sent earlier; the socket goes on.
            let Ok((length, sender)) = socket.recv_from(&mut datagram).await else { continue };
            if let Some(nonce) = datagram.first_chunk_mut() {
                receipts.receive(*nonce);
                *nonce = answer(*nonce);
                drop(socket.send_to(datagram.get(..length).unwrap_or_default(), sender).await);
            }
        }
    });
    Ok(())
}

/// Whether the kernel at the receiver holds half a connection to `port` from one of `sources`: state `TCP_SYN_RECV`
/// (3, `include/net/tcp_states.h`) in `/proc/net/tcp` or `tcp6`.
pub(super) fn half_open(at: &Place, port: u16, sources: &[SocketAddr]) -> Result<bool> {
    let address = at.address()?;
    let file = if address.is_ipv4() { "tcp" } else { "tcp6" };
    let path = format!("/proc/thread-self/net/{file}");
    let table = at.namespace.run(|| std::fs::read_to_string(&path))?;
    let table = table.with_context(|| format!("cannot read {path}"))?;
    let local = SocketAddr::new(address, port);
    Ok(sources.iter().any(|source| holds_half(&table, local, *source)))
}

/// Whether a table of TCP sockets has one at `local` with the remote end `remote` in state `TCP_SYN_RECV`.
fn holds_half(table: &str, local: SocketAddr, remote: SocketAddr) -> bool {
    let column = |end: SocketAddr| format!("{}:{:04X}", table_address(end.ip()), end.port());
    let (local, remote) = (column(local), column(remote));
    table.lines().any(|line| line.split_whitespace().skip(1).take(3).eq([local.as_str(), &remote, "03"]))
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

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;
    use test_case::test_case;

    /// Lines as Linux on a little-endian machine prints them: a listener, a half connection, a whole one.
    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0200000A:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0200000A:0050 0100000A:9C41 03 00000000:00000000 01:00000063 00000000     0        0 0 2
   2: 0200000A:0050 0300000A:9C42 01 00000000:00000000 00:00000000 00000000     0        0 12 1
";

    #[test_case("10.0.0.1:40001" => true; "half")]
    #[test_case("10.0.0.3:40002" => false; "whole")]
    #[test_case("10.0.0.1:40002" => false; "another port")]
    #[test_case("10.0.0.4:40001" => false; "another sender")]
    fn only_half_connections_of_the_sender_count(remote: &str) -> bool {
        holds_half(TABLE, "10.0.0.2:80".parse().expect("an address"), remote.parse().expect("an address"))
    }

    #[test]
    fn addresses_of_both_families_are_written_as_the_kernel_does() {
        assert_eq!(table_address("10.0.0.1".parse().expect("an address")), "0100000A");
        let text = table_address("fe80::ff:fe00:4".parse().expect("an address"));
        assert_eq!(text, "000080FE00000000FF000000040000FE");
    }
}
