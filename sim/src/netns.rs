//! Network namespaces: making them, entering them, and a netlink connection to each.

use std::io::ErrorKind::NotFound;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use netlink_packet_route::neighbour::NeighbourState;
use netns_rs::{Env, NetNs};
use rtnetlink::{Handle, LinkUnspec};

/// Where `ip netns` looks for namespaces. The harness has a `/run` of its own.
#[derive(Clone, Copy, Debug)]
struct RunNetns;

impl Env for RunNetns {
    fn persist_dir(&self) -> PathBuf {
        "/run/netns".into()
    }
}

/// A network namespace.
pub struct Namespace {
    name: String,
    inner: NetNs<RunNetns>,
    links: Handle,
}

/// Settings of every new namespace, before its first link is there (`Documentation/networking/ip-sysctl.rst`):
/// addresses are usable at once, without duplicate address detection; nobody looks for routers; an interface answers for
/// its own addresses only, also where a pod has two on one network; nobody saves ICMP errors.
const SETTINGS: [(&str, &str); 7] = [
    ("ipv4/conf/default/arp_announce", "2"),
    ("ipv4/conf/default/arp_ignore", "1"),
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv6/icmp/ratelimit", "0"),
];

impl Namespace {
    /// Makes the namespace `name`. Must be called inside a tokio runtime.
    pub async fn create(name: &str) -> Result<Self> {
        let inner =
            NetNs::new_with_env(name, RunNetns).with_context(|| format!("cannot make namespace {name}"))?;
        let connection = inner.run(|_| {
            for (setting, value) in SETTINGS {
                write_setting(setting, value)?;
            }
            rtnetlink::new_connection().context("cannot open a netlink socket")
        });
        let (connection, links, _) =
            connection.with_context(|| format!("cannot enter namespace {name}"))??;
        // The task ends with the runtime.
        drop(tokio::spawn(connection));
        links.link().set(LinkUnspec::new_with_name("lo").up().build()).execute().await?;
        Ok(Self { name: name.to_owned(), inner, links })
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The netlink connection into it.
    pub const fn links(&self) -> &Handle {
        &self.links
    }

    /// A descriptor that stands for it in netlink messages; valid as long as `self`.
    pub fn descriptor(&self) -> RawFd {
        self.inner.file().as_raw_fd()
    }

    /// Empties its neighbour tables. What is left in them from an earlier stage would let one end of a conversation go
    /// without the question from which the other end learns where it is.
    pub async fn forget_neighbours(&self) -> Result<()> {
        let mut entries = self.links.neighbours().get().execute();
        while let Some(entry) = entries.try_next().await.context("cannot list neighbours")? {
            if matches!(entry.header.state, NeighbourState::Noarp | NeighbourState::Permanent) {
                continue;
            }
            match self.links.neighbours().del(entry).execute().await {
                // It may have expired meanwhile.
                Err(rtnetlink::Error::NetlinkError(message)) if message.to_io().kind() == NotFound => {}
                deleted => deleted.context("cannot delete a neighbour")?,
            }
        }
        Ok(())
    }

    /// Runs `inside` with this thread in the namespace. What is opened or started there stays there.
    pub fn run<T>(&self, inside: impl FnOnce() -> T) -> Result<T> {
        self.inner.run(|_| inside()).with_context(|| format!("cannot enter namespace {}", self.name))
    }

    /// Takes its name away; the kernel removes it once nothing is inside any more.
    pub fn remove(self) -> Result<()> {
        self.inner.remove().with_context(|| format!("cannot remove namespace {}", self.name))
    }
}

/// Makes `interface`, in the namespace that this thread is in, repeat a lost question for a neighbour four times a
/// second instead of once.
pub fn ask_often(interface: &str) -> Result<()> {
    for family in ["ipv4", "ipv6"] {
        write_setting(&format!("{family}/neigh/{interface}/retrans_time_ms"), "250")?;
    }
    Ok(())
}

/// Makes the namespace that this thread is in route packets.
pub fn forward_packets() -> Result<()> {
    write_setting("ipv4/ip_forward", "1")?;
    write_setting("ipv6/conf/all/forwarding", "1")
}

/// Writes a setting of the namespace that this thread is in. A kernel without IPv6 has no settings for it.
fn write_setting(setting: &str, value: &str) -> Result<()> {
    match std::fs::write(format!("/proc/sys/net/{setting}"), value) {
        Err(error) if error.kind() == NotFound && setting.starts_with("ipv6/") => Ok(()),
        written => written.with_context(|| format!("cannot set net/{setting}")),
    }
}
