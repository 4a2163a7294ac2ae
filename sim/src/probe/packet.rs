//! Packet sockets: whole Ethernet frames as they pass an interface, packet(7).

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// The longest frame that is read, in bytes; longer ones are cut.
const LONGEST: usize = 16_384;
/// The type of a frame that the machine itself sends: `PACKET_OUTGOING`, `uapi/linux/if_packet.h`.
const OUTGOING: u8 = 4;

/// A socket that sends and hears everything on one interface.
pub(super) struct PacketSocket {
    /// No UDP socket, but its calls are the same for every kind of socket that sends and receives messages.
    socket: UdpSocket,
    index: usize,
}

impl PacketSocket {
    /// Opens one on `interface` of the namespace that this thread is in. Must be called inside a tokio runtime.
    pub(super) fn open(interface: &str) -> Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll);
        let socket = socket.context("cannot open a packet socket")?;
        let mut links = getifaddrs().context("cannot list interfaces")?;
        let link = links.find_map(|link| {
            let address = link.address.filter(|_| link.interface_name == interface)?;
            address.as_link_addr().copied()
        });
        let link = link.with_context(|| format!("there is no interface {interface}"))?;
        // The kernel keeps the protocol of the socket, because this address has none.
        bind(socket.as_raw_fd(), &link).with_context(|| format!("cannot bind to {interface}"))?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, index: link.ifindex() })
    }

    /// Sends a frame, from its Ethernet destination on.
    pub(super) async fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = self.socket.send(frame).await.context("cannot send a frame")?;
        ensure!(sent == frame.len(), "only {sent} bytes of a frame of {} were sent", frame.len());
        Ok(())
    }

    /// The next frame that comes in by the interface, for whomever it is.
    pub(super) async fn receive(&self) -> Result<Vec<u8>> {
        let mut frame = vec![0; LONGEST];
        loop {
            let receiving = self.socket.async_io(Interest::READABLE, || {
                match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut frame) {
                    // The interface went down or up: what follows may be of interest again.
                    Err(Errno::ENETDOWN) => Ok((0, None)),
                    received => Ok(received?),
                }
            });
            let (length, from) = receiving.await.context("cannot receive a frame")?;
            // Until it was bound, the socket heard every interface.
            if from.is_some_and(|from| from.ifindex() == self.index && from.pkttype() != OUTGOING) {
                frame.truncate(length);
                return Ok(frame);
            }
        }
    }
}
