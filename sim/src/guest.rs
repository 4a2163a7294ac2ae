//! Virtual machines, as the node sees them: behind a bridge inside their pod, with a MAC that is not that of the pod's
//! interface. Where they are, only the node's bridge learns, from what they send.

use core::net::{Ipv6Addr, SocketAddrV6};
use std::net::UdpSocket;

use anyhow::{Context as _, Result};
use rtnetlink::LinkUnspec;

use crate::links::{Plug, bridge, existing, furnish, plug, set_learning, set_up};
use crate::netns::Namespace;
use crate::plan::{Station, device_name};

/// All nodes of a link: RFC 4291 section 2.7.1.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The port of the discard protocol: RFC 863.
const DISCARD: u16 = 9;

/// Connects `station`, a machine in the namespace `machine` inside `pod`, to its bridge on `node`. Returns the port's
/// index on the node.
pub async fn attach(
    node: &Namespace,
    pod: &Namespace,
    machine: &Namespace,
    station: &Station,
) -> Result<u32> {
    let attached = async {
        let port = station.port_name();
        let outer = Plug { bridge: &station.bridge, port: &port, mac: station.far_mac() };
        plug(node, pod, station, &outer).await?;
        let port = existing(node.links(), &port).await?;
        let learns = station.wire.guest.is_some_and(|guest| guest.is_learned);
        set_learning(node, port, learns).await?;
        let (inner, tap) = (device_name("k6t-", &station.id), device_name("tap-", &station.id));
        let inner_index = bridge(pod.links(), &inner).await?;
        let wire = existing(pod.links(), &station.id.interface).await?;
        let plugged = LinkUnspec::new_with_index(wire).controller(inner_index).build();
        pod.links()
            .link()
            .set(plugged)
            .execute()
            .await
            .context("cannot plug the wire into the pod's bridge")?;
        set_up(pod.links(), wire).await?;
        plug(pod, machine, station, &Plug { bridge: &inner, port: &tap, mac: station.mac }).await?;
        furnish(machine, station).await?;
        anyhow::Ok(port)
    };
    let port = attached.await.with_context(|| format!("cannot attach the machine {}", station.id))?;
    settle(node, machine, port, station).await?;
    Ok(port)
}

/// Makes the node's bridge learn where the machine is, or not, as `station` says.
pub async fn settle(node: &Namespace, machine: &Namespace, port: u32, station: &Station) -> Result<()> {
    let Some(guest) = station.wire.guest else { return Ok(()) };
    set_learning(node, port, guest.is_learned).await?;
    if guest.is_learned {
        let link = existing(machine.links(), &station.interface()).await?;
        machine.run(|| speak(link))?.with_context(|| format!("{} cannot say anything", station.id))?;
    }
    Ok(())
}

/// Sends something by the link with this index, of the namespace that this thread is in.
fn speak(link: u32) -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    socket.send_to(&[], SocketAddrV6::new(ALL_NODES, DISCARD, 0, link)).map(drop)
}
