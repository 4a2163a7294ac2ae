//! Packets from the client to the server, and how fast they go.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use sim::programs;

use crate::bed::{Bed, CLIENT, SERVER, address};

/// Where the server takes connections.
pub(crate) const TCP_PORT: u16 = 5001;
/// Where the server takes datagrams.
pub(crate) const UDP_PORT: u16 = 5002;
/// How long each kind of packet is sent.
const SPAN: Duration = Duration::from_secs(1);
/// Bytes per write to a connection.
const WRITE: usize = 128 * 1024;
/// With the headers (14 + 20 + 8 bytes) and the frame check sequence (4), a frame of 64 bytes.
const DATAGRAM: [u8; 18] = [0; 18];
/// How many echo requests are timed.
const PINGS: usize = 1_000;

/// What was measured once.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Gigabits of payload per second over one connection.
    pub(crate) tcp_gbit: f64,
    /// Thousands of datagrams per second that arrived.
    pub(crate) udp_kpps: f64,
    /// The median round trip of a ping in microseconds.
    pub(crate) ping_us: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tcp_gbit, udp_kpps, ping_us } = self;
        write!(f, "TCP {tcp_gbit:.1} Gbit/s, UDP {udp_kpps:.0} kpps, ping {ping_us:.0} us")
    }
}

impl Sample {
    /// Measures the three, one after the other.
    pub(crate) fn take(bed: &Bed) -> Result<Self> {
        // First, so that both ends know each other's MAC.
        let ping_us = ping(bed).context("ping")?;
        Ok(Self { tcp_gbit: tcp(bed).context("TCP")?, udp_kpps: udp(bed).context("UDP")?, ping_us })
    }
}

fn server(port: u16) -> Result<SocketAddr> {
    Ok(SocketAddr::new(IpAddr::V4(address(SERVER)?), port))
}

/// `count` per second of `elapsed`, in thousands.
fn thousands(count: u64, elapsed: Duration) -> Result<f64> {
    let count = u32::try_from(count).context("more than can be counted")?;
    Ok(f64::from(count) / elapsed.as_secs_f64() / 1_000.0)
}

fn tcp(bed: &Bed) -> Result<f64> {
    let at = server(TCP_PORT)?;
    let listener = bed.server.run(|| TcpListener::bind(at))??;
    let mut sender = bed.client.run(|| TcpStream::connect_timeout(&at, SPAN))??;
    let (mut receiver, _) = listener.accept()?;
    let sending = thread::spawn(move || {
        let begun = Instant::now();
        let bytes = vec![0; WRITE];
        while begun.elapsed() < SPAN && sender.write_all(&bytes).is_ok() {}
    });
    let begun = Instant::now();
    let mut buffer = vec![0; 4 * WRITE];
    let mut bytes: u64 = 0;
    loop {
        match receiver.read(&mut buffer)? {
            0 => break,
            length => bytes += u64::try_from(length)?,
        }
    }
    let elapsed = begun.elapsed();
    ensure!(sending.join().is_ok(), "the sender has panicked");
    // Thousands of kilobytes, times eight bits: megabits.
    Ok(thousands(bytes / 1_000, elapsed)? * 8.0 / 1_000.0)
}

fn udp(bed: &Bed) -> Result<f64> {
    let at = server(UDP_PORT)?;
    let receiver = bed.server.run(|| UdpSocket::bind(at))??;
    // The sender is faster; when nothing has come for so long, it has ended.
    receiver.set_read_timeout(Some(SPAN / 4))?;
    let own = SocketAddr::new(IpAddr::V4(address(CLIENT)?), 0);
    let sender = bed.client.run(|| UdpSocket::bind(own))??;
    sender.connect(at)?;
    let sending = thread::spawn(move || {
        let begun = Instant::now();
        while begun.elapsed() < SPAN {
            // A full queue refuses some; they are not counted, because only what arrives is.
            drop(sender.send(&DATAGRAM));
        }
    });
    let mut buffer = [0; 64];
    let mut arrived: u64 = 0;
    let mut begun = None;
    let mut last = Instant::now();
    loop {
        match receiver.recv(&mut buffer) {
            Ok(_) => {
                last = Instant::now();
                begun = begun.or(Some(last));
                arrived += 1;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(sending.join().is_ok(), "the sender has panicked");
    let begun = begun.context("no datagram has arrived")?;
    thousands(arrived, last - begun)
}

fn ping(bed: &Bed) -> Result<f64> {
    let program = programs::find(programs::PING).context("ping is not installed")?;
    let to = address(SERVER)?.to_string();
    let count = PINGS.to_string();
    let mut command = Command::new(program);
    // As fast as the answers come (-A), and each round trip printed.
    command.args(["-A", "-n", "-W", "1", "-c", &count, &to]).stdin(Stdio::null());
    let output = bed.client.run(|| command.output())??;
    let text = String::from_utf8_lossy(&output.stdout);
    let times =
        text.lines().filter_map(|line| line.split_once("time=")?.1.split_once(' ')?.0.parse::<f64>().ok());
    let mut times: Vec<f64> = times.collect();
    ensure!(times.len() == PINGS, "{} of {PINGS} pings were answered", times.len());
    times.sort_by(f64::total_cmp);
    Ok(times.get(PINGS / 2).copied().unwrap_or(f64::NAN) * 1_000.0)
}
