//! Connections across network namespaces.
//!
//! The API server listens on the loopback of a namespace of its own, and so each node needs a way there that is no wire of
//! the scenario: a socket in the file system, which every namespace sees.

use core::net::{Ipv4Addr, SocketAddr};
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result};

/// Listens on the loopback of the namespace that this thread is in, and passes every connection on to the socket.
pub(crate) fn to_socket(port: u16, socket: &Path) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("cannot listen on port {port} of the loopback"))?;
    let socket: PathBuf = socket.to_owned();
    let accept = move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = UnixStream::connect(&socket) else { continue };
            let Ok(halves) = near.try_clone().and_then(|back| Ok((back, far.try_clone()?))) else { continue };
            let (back, far_back) = halves;
            thread::spawn(move || copy(&near, &far, |stream| stream.shutdown(Shutdown::Write)));
            thread::spawn(move || copy(&far_back, &back, |stream| stream.shutdown(Shutdown::Write)));
        }
    };
    thread::Builder::new().name("relay".to_owned()).spawn(accept).map(drop).context("cannot start a thread")
}

/// Listens on the socket, and passes every connection on to `server`, in the namespace that this thread is in. Ends only
/// when nothing can be accepted any more.
pub(crate) fn from_socket(listener: &UnixListener, server: SocketAddr) -> Result<()> {
    loop {
        let (near, _) = listener.accept().context("cannot accept a connection")?;
        // A server that is away is a connection that ends.
        let Ok(far) = TcpStream::connect(server) else { continue };
        let (back, far_back) = (near.try_clone()?, far.try_clone()?);
        thread::spawn(move || copy(&near, &far, |stream| stream.shutdown(Shutdown::Write)));
        thread::spawn(move || copy(&far_back, &back, |stream| stream.shutdown(Shutdown::Write)));
    }
}

/// Copies until one end is closed, and closes the other one.
fn copy<F, T>(from: &F, to: &T, close: impl FnOnce(&T) -> io::Result<()>)
where
    for<'a> &'a F: io::Read,
    for<'a> &'a T: io::Write,
{
    let (mut from, mut writer) = (from, to);
    // Whatever ends it, nothing more comes.
    drop(io::copy(&mut from, &mut writer));
    drop(close(to));
}
