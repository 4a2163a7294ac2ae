//! Bridges, veth pairs and addresses.

use alloc::collections::BTreeSet;
use std::io::ErrorKind;

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{BridgeVlanInfoFlags, InfoData, InfoVeth, LinkMessage};
use rtnetlink::{
    Error, Handle, LinkBridge, LinkBridgeVlan, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVlan,
};

use crate::netns::{Namespace, ask_often};
use crate::plan::Station;
use crate::tagging::{DEFAULT_VLAN, Tagging};

/// Connects `station`, inside `pod`, to its bridge on `node`, as a CNI plugin would; the bridge is made when it is
/// not there. Returns the port's index on the node.
pub async fn attach(node: &Namespace, pod: &Namespace, station: &Station) -> Result<u32> {
    connect(node, pod, station).await.with_context(|| format!("cannot attach {}", station.id))
}

async fn connect(node: &Namespace, pod: &Namespace, station: &Station) -> Result<u32> {
    let bridge = bridge(node.links(), &station.bridge).await?;
    let interface = &station.id.interface;
    let far_end = LinkMessageBuilder::<LinkUnspec>::default()
        .name(interface)
        .address(station.mac.0.to_vec())
        .setns_by_fd(pod.descriptor())
        .build();
    let port = station.port_name();
    let pair = LinkVeth::new(&port, interface)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(far_end)))
        .controller(bridge)
        .up()
        .build();
    node.links().link().add(pair).execute().await.context("cannot make a veth pair")?;
    set_vlans(node.links(), &station.bridge, &port, &station.tagging).await?;
    let wire = existing(pod.links(), interface).await?;
    let inside = match station.tagging.tag() {
        Some(tag) => tagged(pod.links(), wire, &station.interface(), tag).await?,
        None => wire,
    };
    pod.run(|| ask_often(&station.interface()))??;
    for address in &station.addresses {
        add_address(pod.links(), inside, *address).await.with_context(|| format!("cannot add {address}"))?;
    }
    for link in BTreeSet::from([wire, inside]) {
        let up = LinkUnspec::new_with_index(link).up().build();
        pod.links().link().set(up).execute().await.context("cannot set the interface up")?;
    }
    existing(node.links(), &port).await
}

/// Cuts the wire of `station` on `node`.
pub async fn detach(node: &Namespace, station: &Station) -> Result<()> {
    let port = existing(node.links(), &station.port_name()).await?;
    node.links().link().del(port).execute().await.with_context(|| format!("cannot detach {}", station.id))
}

/// Makes `port` a member of its VLANs, and lets `bridge` look at tags if there are any.
async fn set_vlans(links: &Handle, bridge: &str, port: &str, tagging: &Tagging) -> Result<()> {
    if tagging.is_plain() {
        return Ok(());
    }
    let filter = LinkBridge::new(bridge).vlan_filtering(true).build();
    let changed = links.link().change(filter).execute().await;
    changed.with_context(|| format!("cannot make bridge {bridge} look at tags"))?;
    let port = existing(links, port).await?;
    let untagged = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
    let access = tagging.access.map(|vlan| (vlan, untagged));
    let trunk = tagging.trunk.iter().map(|vlan| (*vlan, BridgeVlanInfoFlags::empty()));
    for (vlan, flags) in trunk.chain(access) {
        let member = LinkBridgeVlan::new(port).vlan(vlan, flags).build();
        let added = links.link().set(member).execute().await;
        added.with_context(|| format!("cannot put a port into VLAN {vlan}"))?;
    }
    if !tagging.keeps_default {
        let default = LinkBridgeVlan::new(port).vlan(DEFAULT_VLAN, BridgeVlanInfoFlags::empty()).build();
        let removed = links.link().del_with_message(default).execute().await;
        removed.context("cannot take a port out of the default VLAN")?;
    }
    Ok(())
}

/// Makes the device `name` for frames with `tag` on `wire`. Returns its index.
async fn tagged(links: &Handle, wire: u32, name: &str, tag: u16) -> Result<u32> {
    let device = LinkVlan::new(name, wire, tag).build();
    links.link().add(device).execute().await.with_context(|| format!("cannot make {name}"))?;
    existing(links, name).await
}

/// The index of bridge `name`, which is made when it is not there.
async fn bridge(links: &Handle, name: &str) -> Result<u32> {
    if let Some(index) = index(links, name).await? {
        return Ok(index);
    }
    let message = LinkBridge::new(name).up().build();
    links.link().add(message).execute().await.with_context(|| format!("cannot make bridge {name}"))?;
    existing(links, name).await
}

async fn existing(links: &Handle, name: &str) -> Result<u32> {
    index(links, name).await?.with_context(|| format!("there is no link {name}"))
}

/// The index of link `name`, if it is there.
async fn index(links: &Handle, name: &str) -> Result<Option<u32>> {
    let found: Result<Option<LinkMessage>, Error> =
        links.link().get().match_name(name).execute().try_next().await;
    match found {
        Ok(link) => Ok(link.map(|link| link.header.index)),
        Err(Error::NetlinkError(message)) if is_absence(&message.to_io()) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot look for link {name}")),
    }
}

/// ENODEV, which the standard library has no kind for, or ENOENT.
fn is_absence(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(19) || error.kind() == ErrorKind::NotFound
}

/// Adds an address that is usable at once: without duplicate address detection (`IFA_F_NODAD`,
/// `uapi/linux/if_addr.h`).
async fn add_address(links: &Handle, link: u32, address: IpNet) -> Result<(), Error> {
    let mut request = links.address().add(link, address.addr(), address.prefix_len());
    if address.addr().is_ipv6() {
        request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    request.execute().await
}

/// Whether a bridge can be told to filter VLANs, and a device be made for a tag; `namespace` must be a fresh one.
pub async fn can_filter_vlans(namespace: &Namespace) -> Result<bool> {
    let links = namespace.links();
    let bridge = LinkBridge::new("try-bridge").vlan_filtering(true).build();
    if links.link().add(bridge).execute().await.is_err() {
        return Ok(false);
    }
    let bridge = existing(links, "try-bridge").await?;
    let tagged = links.link().add(LinkVlan::new("try-tag", bridge, 2).build()).execute().await.is_ok();
    links.link().del(bridge).execute().await.context("cannot delete a bridge")?;
    Ok(tagged)
}
