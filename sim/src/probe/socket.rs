//! Sockets of the built-in probes, made in the namespace that the calling thread is in.
//!
//! Every socket is bound to its interface and address: a pod with several interfaces sends and answers by the right
//! one, and link-local addresses mean something.

use core::net::{IpAddr, SocketAddr};

use anyhow::Result;
use nix::sys::socket::sockopt::BindToDevice;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind, setsockopt,
    socket,
};
use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use tokio::net::{TcpSocket, UdpSocket};

use super::round::Place;

/// A TCP socket at `place`; any port, when `port` is 0.
pub(super) fn tcp_socket(place: &Place, port: u16) -> Result<TcpSocket> {
    let address = place.address()?;
    let socket = match address {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of the round before may still be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind_device(Some(place.interface.as_bytes()))?;
    socket.bind(SocketAddr::new(address, port))?;
    Ok(socket)
}

/// A UDP socket at `place`; any port, when `port` is 0. A socket of the standard library is bound to its address
/// first, and a link-local address cannot be bound before the interface is known.
pub(super) fn udp_socket(place: &Place, port: u16) -> Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let open = |family| socket(family, SockType::Datagram, flags, None);
    let socket = match SocketAddr::new(place.address()?, port) {
        SocketAddr::V4(address) => bound(open(AddressFamily::Inet)?, place, &SockaddrIn::from(address))?,
        SocketAddr::V6(address) => bound(open(AddressFamily::Inet6)?, place, &SockaddrIn6::from(address))?,
    };
    Ok(UdpSocket::from_std(socket.into())?)
}

/// A socket for the SCTP packets of `place`, whether or not the kernel knows SCTP: raw(7), ipv6(7).
pub(super) fn sctp_socket(place: &Place) -> Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let open = |family| socket(family, SockType::Raw, flags, Some(SockProtocol::Sctp));
    // Port 0: a raw socket has none.
    let socket = match SocketAddr::new(place.address()?, 0) {
        SocketAddr::V4(address) => bound(open(AddressFamily::Inet)?, place, &SockaddrIn::from(address))?,
        SocketAddr::V6(address) => bound(open(AddressFamily::Inet6)?, place, &SockaddrIn6::from(address))?,
    };
    // Sending to an address and receiving from one are the same calls for every socket of the internet families.
    Ok(UdpSocket::from_std(socket.into())?)
}

fn bound(socket: OwnedFd, place: &Place, address: &dyn SockaddrLike) -> Result<OwnedFd> {
    setsockopt(&socket, BindToDevice, &OsString::from(&place.interface))?;
    bind(socket.as_raw_fd(), address)?;
    Ok(socket)
}
