//! The bridge ports of this node, and who sits at their other ends.
//!
//! One blocking handle for one thread, on the same netlink socket as nftables: there is nothing to run concurrently,
//! and a thread that waits in `poll` needs no runtime.
//!
//! What is announced only says *where* to look: the links concerned are asked for again, so that late and reordered
//! announcements cannot bring back an old state. What the kernel tells, and what it does not:
//! * Links of this namespace: every change is announced.
//! * The far end of a pair, in another namespace: its address and name can be asked for, because the kernel numbers the
//!   namespaces that links of this one lead to. Its changes are announced to a socket that listens to all numbered
//!   namespaces, which takes `CAP_NET_BROADCAST`. Without that, a changed far address is noticed at the next change
//!   of the port itself, or at the next [`Links::dump`]; [`Links::sees_far_changes`] says which it is.
//! * Addresses behind a port: learning, moving and ageing are announced. A port's far end can make its bridge learn any
//!   address by sending from it, so these prove nothing by themselves.

mod message;

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;
use policy_core::Input;
use policy_core::model::{BridgePort, Kind, Mac, Object, ObjectId};

use crate::error::NftError;
use crate::socket::{Dump, NetlinkSocket, Received, wait_for};
use crate::uapi::{
    IFLA_EXT_MASK, IFLA_TARGET_NETNSID, RTEXT_FILTER_SKIP_STATS, RTM_GETLINK, RTM_GETNEIGH, RTNLGRP_LINK,
    RTNLGRP_NEIGH,
};
use crate::wire::messages;
use message::{Event, FarEnd, Link, Station};

/// How often a listing is tried again because links changed at the same moment.
const LISTING_ATTEMPTS_MAX: u32 = 50;

/// Watches the bridge ports of one network namespace.
pub struct Links {
    /// For questions.
    socket: NetlinkSocket,
    /// For announcements about this namespace.
    announcements: NetlinkSocket,
    /// For announcements about the namespaces of far ends; `None` without the privilege.
    far_announcements: Option<NetlinkSocket>,
    /// All links by index, as they were when last asked for.
    known: BTreeMap<u32, Link>,
    /// Bridge entries: bridge, VLAN and address to port.
    stations: BTreeMap<(u32, u16, Mac), u32>,
    /// What was reported last.
    reported: BTreeMap<u32, BridgePort>,
}

/// A change of this node's bridge ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortEvent {
    /// All ports there are: announcements were lost, so everything was listed again.
    Relist(Vec<BridgePort>),
    /// The port with this interface index is gone, or is no bridge port any more.
    Remove(u32),
    /// A port is new or has changed.
    Upsert(BridgePort),
}

impl From<PortEvent> for Input {
    fn from(event: PortEvent) -> Self {
        match event {
            PortEvent::Relist(ports) => {
                Self::Relist { kind: Kind::Port, objects: ports.into_iter().map(Object::Port).collect() }
            }
            PortEvent::Remove(index) => Self::Remove(ObjectId::Port(index)),
            PortEvent::Upsert(port) => Self::Upsert(Object::Port(port)),
        }
    }
}

impl Links {
    /// Starts to listen in the network namespace of the calling thread; call [`Self::dump`] next.
    pub fn open() -> Result<Self, NftError> {
        let socket = NetlinkSocket::open(NETLINK_ROUTE, &[])?;
        let announcements = NetlinkSocket::open(NETLINK_ROUTE, &[RTNLGRP_LINK, RTNLGRP_NEIGH])?;
        let far_announcements = NetlinkSocket::open_for_all_namespaces(NETLINK_ROUTE, &[RTNLGRP_LINK])?;
        Ok(Self {
            socket,
            announcements,
            far_announcements,
            known: BTreeMap::new(),
            stations: BTreeMap::new(),
            reported: BTreeMap::new(),
        })
    }

    /// Whether changes of far ends in other namespaces are announced.
    pub const fn sees_far_changes(&self) -> bool {
        self.far_announcements.is_some()
    }

    /// Lists all bridge ports, by interface index.
    pub fn dump(&mut self) -> Result<Vec<BridgePort>, NftError> {
        self.known = self.list_links()?.into_iter().map(|link| (link.index, link)).collect();
        self.stations = BTreeMap::new();
        for station in self.list_stations()? {
            self.learn(station);
        }
        let indexes: BTreeSet<u32> = self.known.keys().copied().collect();
        self.reported = self.describe(&indexes)?;
        Ok(self.reported.values().cloned().collect())
    }

    /// Waits at most `timeout` (`None`: for ever) for announcements, and reports what they changed since the last
    /// report. Empty when the time is up, a signal came, or nothing of interest changed.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Vec<PortEvent>, NftError> {
        match &self.far_announcements {
            Some(far) => wait_for([&self.announcements, far], timeout)?,
            None => wait_for([&self.announcements], timeout)?,
        }
        let mut dirty = BTreeSet::new();
        if !self.take_announcements(&mut dirty)? {
            return Ok(vec![PortEvent::Relist(self.dump()?)]);
        }
        self.refresh(&mut dirty)?;
        self.report(&dirty)
    }

    /// Takes in everything that was announced; `false` when something was lost.
    fn take_announcements(&mut self, dirty: &mut BTreeSet<u32>) -> Result<bool, NftError> {
        let Some(events) = drain(&mut self.announcements)? else { return Ok(false) };
        for event in events {
            self.take(event, dirty);
        }
        let Some(far) = &mut self.far_announcements else { return Ok(true) };
        let Some(events) = drain(far)? else { return Ok(false) };
        for event in events {
            if let Event::LinkChanged(index) = event {
                // Which namespace it was is not said; links of this one are announced on the other socket too.
                dirty.extend(facing(&self.known, index));
            }
        }
        Ok(true)
    }

    fn take(&mut self, event: Event, dirty: &mut BTreeSet<u32>) {
        match event {
            Event::LinkChanged(index) => {
                dirty.insert(index);
                // The far end of a pair within this namespace, and the name of a bridge, show at other links.
                dirty.extend(facing(&self.known, index));
                dirty.extend(
                    self.known.values().filter(|link| link.bridge == Some(index)).map(|link| link.index),
                );
            }
            Event::StationSeen(station) => {
                dirty.insert(station.port);
                dirty.extend(self.learn(station));
            }
            Event::StationGone(Station { bridge, vlan, mac, port }) => {
                // It may have moved to another port before it was deleted at this one.
                if self.stations.get(&(bridge, vlan, mac)) == Some(&port) {
                    self.stations.remove(&(bridge, vlan, mac));
                    dirty.insert(port);
                }
            }
        }
    }

    /// Notes where an address was learned; the port that it was at before.
    fn learn(&mut self, station: Station) -> Option<u32> {
        let Station { bridge, vlan, mac, port } = station;
        self.stations.insert((bridge, vlan, mac), port)
    }

    /// Asks for the links with these indexes again. A bridge that was not known makes its ports worth a look.
    fn refresh(&mut self, dirty: &mut BTreeSet<u32>) -> Result<(), NftError> {
        for index in dirty.clone() {
            if let Some(link) = self.ask_for_link(index, None)? {
                self.known.insert(index, link);
            } else {
                self.known.remove(&index);
            }
        }
        let late =
            self.known.values().filter(|link| link.bridge.is_some_and(|bridge| dirty.contains(&bridge)));
        dirty.extend(late.map(|link| link.index).collect::<Vec<_>>());
        Ok(())
    }

    /// What changed at these links since the last report.
    fn report(&mut self, dirty: &BTreeSet<u32>) -> Result<Vec<PortEvent>, NftError> {
        let now = self.describe(dirty)?;
        let mut events = Vec::new();
        for index in dirty {
            if !now.contains_key(index) && self.reported.remove(index).is_some() {
                events.push(PortEvent::Remove(*index));
            }
        }
        for (index, port) in now {
            if self.reported.get(&index) != Some(&port) {
                self.reported.insert(index, port.clone());
                events.push(PortEvent::Upsert(port));
            }
        }
        Ok(events)
    }

    /// Those of these links that are bridge ports, with everything that is known about them.
    fn describe(&mut self, indexes: &BTreeSet<u32>) -> Result<BTreeMap<u32, BridgePort>, NftError> {
        let mut ports = BTreeMap::new();
        for index in indexes {
            let Some(link) = self.known.get(index).cloned() else { continue };
            let Some(bridge) = link.bridge.and_then(|bridge| self.known.get(&bridge)) else { continue };
            let bridge = bridge.name.as_str().into();
            let far = match link.far {
                Some(FarEnd { index, namespace }) => self.ask_for_link(index, namespace)?,
                None => None,
            };
            let port = BridgePort {
                index: link.index,
                name: link.name.into(),
                bridge,
                far_mac: far.as_ref().and_then(|far| far.mac),
                far_name: far.map(|far| far.name.into()),
                kind: link.kind,
                stations: BTreeSet::new(),
            };
            ports.insert(*index, port);
        }
        for ((bridge, _, mac), index) in &self.stations {
            let at_port = self.known.get(index).is_some_and(|link| link.bridge == Some(*bridge));
            if let Some(port) = ports.get_mut(index).filter(|_| at_port) {
                port.stations.insert(*mac);
            }
        }
        Ok(ports)
    }

    /// One link, here or in the namespace with this number; `None` when it cannot be seen.
    fn ask_for_link(&mut self, index: u32, namespace: Option<u32>) -> Result<Option<Link>, NftError> {
        let answer = self.socket.fetch(RTM_GETLINK, &message::link_request(index), "a link", |w| {
            w.native(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
            if let Some(namespace) = namespace {
                w.native(IFLA_TARGET_NETNSID, namespace);
            }
        });
        match answer {
            Ok(answer) => Ok(links_in(&answer.bytes)?.pop()),
            // Gone, or in a namespace that is gone or closed to us (`rtnl_get_net_ns_capable`, `net/core/rtnetlink.c`).
            Err(NftError::Request {
                errno: Errno::ENODEV | Errno::EINVAL | Errno::EACCES | Errno::EPERM,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list_links(&mut self) -> Result<Vec<Link>, NftError> {
        let dump = self.settled(|socket| {
            socket.list(RTM_GETLINK, &message::link_request(0), "a list of links", |w| {
                w.native(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
            })
        })?;
        links_in(&dump.bytes)
    }

    fn list_stations(&mut self) -> Result<Vec<Station>, NftError> {
        let dump = self.settled(|socket| {
            socket.list(RTM_GETNEIGH, &message::stations_request(), "a list of bridge entries", |_| {})
        })?;
        let mut stations = Vec::new();
        for message in messages(&dump.bytes) {
            stations.extend(message::read_station(&message?)?);
        }
        Ok(stations)
    }

    /// A listing during which nothing changed.
    fn settled(
        &mut self,
        mut list: impl FnMut(&mut NetlinkSocket) -> Result<Dump, NftError>,
    ) -> Result<Dump, NftError> {
        for _ in 0..LISTING_ATTEMPTS_MAX {
            let dump = list(&mut self.socket)?;
            if !dump.interrupted {
                return Ok(dump);
            }
        }
        Err(NftError::Unsettled { attempts: LISTING_ATTEMPTS_MAX })
    }
}

/// The links whose other end has this index, in whatever namespace.
fn facing(links: &BTreeMap<u32, Link>, index: u32) -> impl Iterator<Item = u32> {
    links.values().filter(move |link| link.far.is_some_and(|far| far.index == index)).map(|link| link.index)
}

fn links_in(bytes: &[u8]) -> Result<Vec<Link>, NftError> {
    let mut links = Vec::new();
    for message in messages(bytes) {
        links.extend(message::read_link(&message?)?);
    }
    Ok(links)
}

/// Everything that was announced; `None` when some of it was lost.
fn drain(socket: &mut NetlinkSocket) -> Result<Option<Vec<Event>>, NftError> {
    let mut events = Vec::new();
    loop {
        let datagram = match socket.receive(Some(Duration::ZERO))? {
            Received::Nothing => return Ok(Some(events)),
            Received::Overrun => return Ok(None),
            Received::Datagram(datagram) => datagram,
        };
        for message in messages(datagram) {
            events.extend(message::read_event(&message?)?);
        }
    }
}
