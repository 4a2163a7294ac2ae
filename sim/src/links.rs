//! Bridges, veth pairs and addresses.

use std::io::ErrorKind;

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{InfoData, InfoVeth, LinkMessage};
use rtnetlink::{Error, Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVlan};

use crate::netns::{Namespace, ask_often};
use crate::plan::Station;

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
    let inside = existing(pod.links(), interface).await?;
    pod.run(|| ask_often(interface))??;
    for address in &station.addresses {
        add_address(pod.links(), inside, *address).await.with_context(|| format!("cannot add {address}"))?;
    }
    let up = LinkUnspec::new_with_index(inside).up().build();
    pod.links().link().set(up).execute().await.context("cannot set the interface up")?;
    existing(node.links(), &port).await
}

/// Cuts the wire of `station` on `node`.
pub async fn detach(node: &Namespace, station: &Station) -> Result<()> {
    let port = existing(node.links(), &station.port_name()).await?;
    node.links().link().del(port).execute().await.with_context(|| format!("cannot detach {}", station.id))
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
