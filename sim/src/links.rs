//! Bridges, veth pairs and addresses.

use core::net::IpAddr;
use std::io::ErrorKind;

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{BridgeVlanInfoFlags, InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::{
    Error, Handle, LinkBridge, LinkBridgePort, LinkBridgeVlan, LinkMessageBuilder, LinkUnspec, LinkVeth,
    LinkVlan, RouteMessageBuilder,
};

use crate::netns::{Namespace, ask_often, forward_packets};
use crate::plan::{Route, Station, Uplink};
use crate::tagging::{DEFAULT_VLAN, Tagging};
use policy_core::model::Mac;

/// Connects `station`, inside `pod`, to its bridge on `node`, as a CNI plugin would; the bridge is made when it is
/// not there. Returns the port's index on the node.
pub async fn attach(node: &Namespace, pod: &Namespace, station: &Station) -> Result<u32> {
    connect(node, pod, station).await.with_context(|| format!("cannot attach {}", station.id))
}

async fn connect(node: &Namespace, pod: &Namespace, station: &Station) -> Result<u32> {
    let port = station.port_name();
    plug(node, pod, station, &Plug { bridge: &station.bridge, port: &port, mac: station.mac }).await?;
    set_vlans(node.links(), &station.bridge, &port, &station.tagging).await?;
    if let Some(tag) = station.tagging.tag() {
        let wire = existing(pod.links(), &station.id.interface).await?;
        tagged(pod.links(), wire, &station.interface(), tag).await?;
        set_up(pod.links(), wire).await?;
    }
    furnish(pod, station).await?;
    existing(node.links(), &port).await
}

/// The near end of a wire, and the Ethernet address of its far end.
pub(crate) struct Plug<'a> {
    pub(crate) bridge: &'a str,
    pub(crate) port: &'a str,
    pub(crate) mac: Mac,
}

/// Makes a veth pair from a bridge on `near`, which is made when it is not there, to the interface of `station` in `far`.
pub(crate) async fn plug(
    near: &Namespace,
    far: &Namespace,
    station: &Station,
    plug: &Plug<'_>,
) -> Result<()> {
    let bridge = bridge(near.links(), plug.bridge).await?;
    let interface = &station.id.interface;
    let far_end = LinkMessageBuilder::<LinkUnspec>::default()
        .name(interface)
        .address(plug.mac.0.to_vec())
        .setns_by_fd(far.descriptor())
        .build();
    let pair = LinkVeth::new(plug.port, interface)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(far_end)))
        .controller(bridge)
        .up()
        .build();
    near.links().link().add(pair).execute().await.context("cannot make a veth pair")
}

/// Gives the interface of `station` its addresses and routes, and sets it up.
pub(crate) async fn furnish(place: &Namespace, station: &Station) -> Result<()> {
    let link = existing(place.links(), &station.interface()).await?;
    place.run(|| ask_often(&station.interface()))??;
    for address in &station.addresses {
        let added = add_address(place.links(), link, *address).await;
        added.with_context(|| format!("cannot add {address}"))?;
    }
    set_up(place.links(), link).await?;
    add_routes(place.links(), link, &station.routes).await
}

/// Gives the interface of `station` the MAC, addresses and routes that it has now. Its link-local address follows from
/// its MAC only when it is set up.
pub async fn readdress(place: &Namespace, station: &Station) -> Result<()> {
    let readdressed = async {
        let link = existing(place.links(), &station.interface()).await?;
        let down = LinkUnspec::new_with_index(link).down().address(station.mac.0.to_vec()).build();
        place.links().link().set(down).execute().await.context("cannot set its MAC")?;
        let mut old = place.links().address().get().set_link_index_filter(link).execute();
        while let Some(address) = old.try_next().await.context("cannot list its addresses")? {
            place.links().address().del(address).execute().await.context("cannot take an address away")?;
        }
        furnish(place, station).await
    };
    readdressed.await.with_context(|| format!("cannot readdress {}", station.id))
}

/// Gives the port with this index the name and the bridge that it has now.
pub async fn replug(node: &Namespace, port: u32, station: &Station) -> Result<()> {
    let replugged = async {
        let bridge = bridge(node.links(), &station.bridge).await?;
        // Older kernels rename only what is down.
        let down = LinkUnspec::new_with_index(port).down().build();
        node.links().link().set(down).execute().await.context("cannot set the port down")?;
        let renamed = LinkUnspec::new_with_index(port).name(station.port_name()).controller(bridge).up();
        node.links().link().set(renamed.build()).execute().await.context("cannot rename or move the port")
    };
    replugged.await.with_context(|| format!("cannot replug {}", station.id))
}

/// Says whether the bridge learns who is behind a port.
pub(crate) async fn set_learning(node: &Namespace, port: u32, learns: bool) -> Result<()> {
    let message = LinkBridgePort::new(port).learning(learns).build();
    node.links().link().set_port(message).execute().await.context("cannot set what the port learns")
}

/// Gives `node` the addresses of `station` on the bridge, and makes it route.
pub async fn settle(node: &Namespace, station: &Station) -> Result<()> {
    let settled = async {
        let bridge = bridge(node.links(), &station.bridge).await?;
        let named = LinkUnspec::new_with_index(bridge).address(station.mac.0.to_vec()).build();
        node.links().link().set(named).execute().await.context("cannot set the bridge's address")?;
        node.run(|| ask_often(&station.bridge))??;
        for address in &station.addresses {
            let added = add_address(node.links(), bridge, *address).await;
            added.with_context(|| format!("cannot add {address}"))?;
        }
        node.run(forward_packets)?
    };
    settled.await.with_context(|| format!("cannot make {} a station on {}", node.name(), station.bridge))
}

/// Connects `station`, in the namespace `host`, to `node` by a wire that leads to no bridge; `near` are the node's
/// addresses on it.
pub async fn route(node: &Namespace, host: &Namespace, station: &Station, near: &[IpNet]) -> Result<()> {
    let routed = async {
        let (port, interface) = (station.port_name(), &station.id.interface);
        let far_end = LinkMessageBuilder::<LinkUnspec>::default()
            .name(interface)
            .address(station.mac.0.to_vec())
            .setns_by_fd(host.descriptor())
            .build();
        let pair = LinkVeth::new(&port, interface).set_info_data(InfoData::Veth(InfoVeth::Peer(far_end)));
        node.links().link().add(pair.build()).execute().await.context("cannot make a veth pair")?;
        let ends = [(node, port.as_str(), near), (host, interface.as_str(), &station.addresses)];
        for (side, name, addresses) in ends {
            let link = existing(side.links(), name).await?;
            side.run(|| ask_often(name))??;
            for address in addresses {
                let added = add_address(side.links(), link, *address).await;
                added.with_context(|| format!("cannot add {address}"))?;
            }
            set_up(side.links(), link).await?;
        }
        let inside = existing(host.links(), interface).await?;
        add_routes(host.links(), inside, &station.routes).await
    };
    routed.await.with_context(|| format!("cannot connect {} to {}", station.id, node.name()))
}

/// Sets the loopback interface up in the network namespace that this thread is in.
pub async fn raise_loopback() -> Result<()> {
    let (connection, links, _) = rtnetlink::new_connection().context("cannot open a netlink socket")?;
    // The task ends with the runtime.
    drop(tokio::spawn(connection));
    let loopback = existing(&links, "lo").await?;
    set_up(&links, loopback).await
}

/// The index, on the other side, of the far end of `interface`: `IFLA_LINK`, `uapi/linux/if_link.h`.
pub(crate) async fn far_end(links: &Handle, interface: &str) -> Result<u32> {
    let mut found = links.link().get().match_name(interface).execute();
    let link = found.try_next().await.with_context(|| format!("cannot look for link {interface}"))?;
    let attributes = link.map(|link| link.attributes).unwrap_or_default();
    let far_end = attributes
        .into_iter()
        .find_map(|attribute| if let LinkAttribute::Link(index) = attribute { Some(index) } else { None });
    far_end.with_context(|| format!("{interface} has no far end"))
}

/// Readies an interface that somebody else has connected for `station`, and gives it its routes and the device for its
/// tag.
pub(crate) async fn take_over(pod: &Namespace, station: &Station) -> Result<()> {
    let wire = existing(pod.links(), &station.id.interface).await?;
    pod.run(|| ask_often(&station.id.interface))??;
    if let Some(tag) = station.tagging.tag() {
        tagged(pod.links(), wire, &station.interface(), tag).await?;
        return furnish(pod, station).await;
    }
    add_routes(pod.links(), wire, &station.routes).await
}

pub(crate) async fn set_up(links: &Handle, link: u32) -> Result<()> {
    let up = LinkUnspec::new_with_index(link).up().build();
    links.link().set(up).execute().await.context("cannot set the interface up")
}

async fn add_routes(links: &Handle, link: u32, routes: &[Route]) -> Result<()> {
    for Route { to, via } in routes {
        let route = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(to.addr(), to.prefix_len())
            .and_then(|route| route.gateway(*via))
            .with_context(|| format!("{to} via {via} is no route"))?;
        let added = links.route().add(route.output_interface(link).build()).execute().await;
        added.with_context(|| format!("cannot add the route to {to} via {via}"))?;
    }
    Ok(())
}

/// Connects a bridge of `node` to the bridge of the same name on `switch`; both are made when they are not there.
/// Returns the port's index on the node.
pub async fn join(node: &Namespace, switch: &Namespace, uplink: &Uplink) -> Result<u32> {
    let joined = async {
        let near = bridge(node.links(), &uplink.bridge).await?;
        let far = bridge(switch.links(), &uplink.bridge).await?;
        let far_end = LinkMessageBuilder::<LinkUnspec>::default()
            .name(&uplink.far_name)
            .address(uplink.far_mac.0.to_vec())
            .setns_by_fd(switch.descriptor())
            .build();
        let pair = LinkVeth::new(&uplink.port_name, &uplink.far_name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far_end)))
            .controller(near)
            .up()
            .build();
        node.links().link().add(pair).execute().await.context("cannot make a veth pair")?;
        let far_end = existing(switch.links(), &uplink.far_name).await?;
        let plugged = LinkUnspec::new_with_index(far_end).controller(far).up().build();
        switch.links().link().set(plugged).execute().await.context("cannot plug it into the switch")?;
        existing(node.links(), &uplink.port_name).await
    };
    joined.await.with_context(|| format!("cannot join bridge {} of {}", uplink.bridge, node.name()))
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
pub(crate) async fn bridge(links: &Handle, name: &str) -> Result<u32> {
    if let Some(index) = index(links, name).await? {
        return Ok(index);
    }
    let message = LinkBridge::new(name).up().build();
    links.link().add(message).execute().await.with_context(|| format!("cannot make bridge {name}"))?;
    existing(links, name).await
}

pub(crate) async fn existing(links: &Handle, name: &str) -> Result<u32> {
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
