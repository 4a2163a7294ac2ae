//! Links and bridge entries in rtnetlink's messages: pure.
//!
//! Only the handful of attributes that matter here is read, by the same reader as nftables' messages; what the kernel
//! adds to a link is passed over instead of being parsed.

use policy_core::model::{Mac, PortKind};

use crate::uapi::{
    AF_BRIDGE, AF_UNSPEC, IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_INFO_SLAVE_KIND, IFLA_LINK,
    IFLA_LINK_NETNSID, IFLA_LINKINFO, IFLA_MASTER, NDA_LLADDR, NDA_MASTER, NDA_VLAN, NUD_PERMANENT,
    RTM_DELLINK, RTM_DELNEIGH, RTM_NEWLINK, RTM_NEWNEIGH,
};
use crate::wire::{Message, WireError};

/// The length of `struct ifinfomsg` (`linux/rtnetlink.h`), in bytes.
const LINK_HEADER: usize = 16;
/// The length of `struct ndmsg` (`linux/neighbour.h`), in bytes.
const NEIGHBOUR_HEADER: usize = 12;

/// A network interface, as far as bridges are concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: Option<Mac>,
    /// The bridge that it is a port of.
    pub(super) bridge: Option<u32>,
    /// The other end, of a kind of link that has one.
    pub(super) far: Option<FarEnd>,
    /// What it is as a bridge port.
    pub(super) kind: PortKind,
}

/// Where the other end of a pair is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FarEnd {
    /// Its interface index there.
    pub(super) index: u32,
    /// This namespace's number for the namespace that it is in; `None` for this one.
    pub(super) namespace: Option<u32>,
}

/// An address that a bridge has learned, or was told, behind one of its ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Station {
    pub(super) bridge: u32,
    /// The VLAN; 0 on a bridge without.
    pub(super) vlan: u16,
    pub(super) mac: Mac,
    pub(super) port: u32,
}

/// What one message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// Something about the link with this index.
    LinkChanged(u32),
    StationGone(Station),
    StationSeen(Station),
}

/// The fixed part of a request for a link, or for all of them with index 0.
pub(super) fn link_request(index: u32) -> [u8; LINK_HEADER] {
    let mut fixed = [0; LINK_HEADER];
    let [family, _, _, _, rest @ ..] = &mut fixed;
    *family = AF_UNSPEC;
    if let Some(place) = rest.first_chunk_mut() {
        *place = index.to_ne_bytes();
    }
    fixed
}

/// The fixed part of a request for all entries of all bridges.
pub(super) const fn stations_request() -> [u8; NEIGHBOUR_HEADER] {
    [AF_BRIDGE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// The link that a message describes; `None` for other messages, and for a bridge's own view of its ports, which
/// lacks what is needed here.
pub(super) fn read_link(message: &Message<'_>) -> Result<Option<Link>, WireError> {
    if message.kind != RTM_NEWLINK {
        return Ok(None);
    }
    let (fixed, attributes) = message.split::<LINK_HEADER>()?;
    let [family, _, _, _, i0, i1, i2, i3, ..] = *fixed;
    if family == AF_BRIDGE {
        return Ok(None);
    }
    let details = attributes.nested(IFLA_LINKINFO)?;
    let kind = details.text(IFLA_INFO_KIND).unwrap_or_default();
    let is_port = details.text(IFLA_INFO_SLAVE_KIND).is_some_and(|kind| kind == "bridge");
    let is_pair = matches!(kind.as_str(), "veth" | "netkit");
    let far = attributes.native(IFLA_LINK).filter(|index| is_pair && *index != 0);
    let far = far.map(|index| FarEnd { index, namespace: attributes.native(IFLA_LINK_NETNSID) });
    Ok(Some(Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        name: attributes.text(IFLA_IFNAME).unwrap_or_default(),
        mac: attributes.bytes(IFLA_ADDRESS).and_then(mac),
        bridge: attributes.native(IFLA_MASTER).filter(|_| is_port),
        far,
        kind: port_kind(&kind, far),
    }))
}

/// What a link of this kind (`rtnl_link_ops.kind` in the kernel) is as a bridge port. A pair without a visible other end
/// is one whose end is elsewhere.
fn port_kind(kind: &str, far: Option<FarEnd>) -> PortKind {
    match (kind, far) {
        ("veth" | "netkit", Some(FarEnd { namespace: None, .. })) => PortKind::Uplink,
        ("veth" | "netkit", _) => PortKind::Veth,
        ("tun", _) => PortKind::Tap,
        _ => PortKind::Uplink,
    }
}

/// The bridge entry that a message describes; `None` for other messages, for devices' own filter lists, and for the
/// bridge's permanent entries of its ports' own addresses.
pub(super) fn read_station(message: &Message<'_>) -> Result<Option<Station>, WireError> {
    if !matches!(message.kind, RTM_NEWNEIGH | RTM_DELNEIGH) {
        return Ok(None);
    }
    let (fixed, attributes) = message.split::<NEIGHBOUR_HEADER>()?;
    let [family, _, _, _, i0, i1, i2, i3, s0, s1, ..] = *fixed;
    if family != AF_BRIDGE || u16::from_ne_bytes([s0, s1]) & NUD_PERMANENT != 0 {
        return Ok(None);
    }
    let vlan = attributes.bytes(NDA_VLAN).and_then(|bytes| bytes.first_chunk()).copied();
    let (Some(bridge), Some(mac)) =
        (attributes.native(NDA_MASTER), attributes.bytes(NDA_LLADDR).and_then(mac))
    else {
        return Ok(None);
    };
    let port = u32::from_ne_bytes([i0, i1, i2, i3]);
    Ok(Some(Station { bridge, vlan: vlan.map_or(0, u16::from_ne_bytes), mac, port }))
}

/// What an announcement says.
pub(super) fn read_event(message: &Message<'_>) -> Result<Option<Event>, WireError> {
    Ok(match message.kind {
        RTM_NEWLINK | RTM_DELLINK => {
            let ([_, _, _, _, i0, i1, i2, i3, ..], _) = message.split::<LINK_HEADER>()?;
            Some(Event::LinkChanged(u32::from_ne_bytes([*i0, *i1, *i2, *i3])))
        }
        RTM_NEWNEIGH => read_station(message)?.map(Event::StationSeen),
        RTM_DELNEIGH => read_station(message)?.map(Event::StationGone),
        _ => None,
    })
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    <[u8; 6]>::try_from(bytes).ok().map(Mac)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};
    use proptest::sample::select;

    use super::{link_request, read_event, read_link, read_station};
    use crate::uapi::{IFLA_IFNAME, RTM_DELLINK, RTM_DELNEIGH, RTM_NEWLINK, RTM_NEWNEIGH};
    use crate::wire::{Header, Message, Writer, messages};

    proptest! {
        /// Whatever a message holds, reading it ends with something or an error.
        #[test]
        fn random_messages_are_read_or_refused(
            kind in select(vec![RTM_NEWLINK, RTM_DELLINK, RTM_NEWNEIGH, RTM_DELNEIGH]),
            payload in vec(any::<u8>(), 0..120),
        ) {
            let message = Message { kind, flags: 0, sequence: 0, port: 0, payload: &payload };
            let event = read_event(&message);
            // What cannot be read at all is no event either.
            assert!(read_station(&message).is_ok() || event.is_err());
            assert!(read_link(&message).is_ok() || kind == RTM_NEWLINK);
        }

        #[test]
        fn link_is_read_with_its_index_and_name(index in any::<u32>(), name in "[a-z0-9.]{1,15}") {
            let mut writer = Writer::default();
            let header = Header { kind: RTM_NEWLINK, flags: 0, sequence: 0 };
            writer.plain_message(header, &link_request(index), |w| w.text(IFLA_IFNAME, &name));
            let bytes = writer.into_bytes();
            let message = messages(&bytes).next().unwrap().unwrap();
            let link = read_link(&message).unwrap().unwrap();
            assert_eq!((link.index, link.name), (index, name));
        }
    }
}
