//! What is heard of events: by whoever only watches the API, and by the kernel's announcements.

use std::sync::mpsc::Sender;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use crate::world::{NETWORK, number_of};

/// Something was heard of the pod of that number.
pub type Heard = (Instant, usize);

/// The group of nftables' announcements (`linux/netfilter/nfnetlink.h`).
const NFNLGRP_NFTABLES: u32 = 7;
/// Room for the announcements of a large commit.
const RECEIVE_BUFFER: usize = 64 << 20;
const DATAGRAM_MAX: usize = 1 << 20;

/// Listens to the kernel of the calling thread's network namespace, in a thread of its own, for pods' addresses.
pub fn to_the_kernel(heard: Sender<Heard>) -> Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER).context("no netlink")?;
    socket.bind(&SocketAddr::new(0, 0))?;
    // Without rights there is less room.
    drop(socket.set_rx_buf_sz(RECEIVE_BUFFER));
    socket.add_membership(NFNLGRP_NFTABLES)?;
    let listen = move || {
        let mut buffer = Vec::with_capacity(DATAGRAM_MAX);
        loop {
            buffer.clear();
            // An overrun loses announcements: their events count as unheard.
            if socket.recv(&mut buffer, 0).is_err() {
                continue;
            }
            let now = Instant::now();
            let mut numbers: Vec<usize> = addresses(&buffer).collect();
            numbers.sort_unstable();
            numbers.dedup();
            if numbers.into_iter().any(|number| heard.send((now, number)).is_err()) {
                return;
            }
        }
    };
    thread::Builder::new().name("kernel".to_owned()).spawn(listen)?;
    Ok(())
}

fn addresses(datagram: &[u8]) -> impl Iterator<Item = usize> {
    let [a, b] = NETWORK;
    datagram.windows(4).filter_map(move |bytes| match *bytes {
        [first, second, c, d] if first == a && second == b => number_of([c, d]),
        _ => None,
    })
}

/// Watches pods and does nothing else, in a thread of its own.
pub fn to_the_api(config: kube::Config, heard: Sender<Heard>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watch = async move {
        let client = Client::try_from(config)?;
        let resource = kube::api::ApiResource {
            group: String::new(),
            version: "v1".to_owned(),
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            plural: "pods".to_owned(),
        };
        let api: Api<DynamicObject> = Api::all_with(client, &resource);
        let version = api.list_metadata(&ListParams::default().limit(1)).await?.metadata.resource_version;
        let mut events = api.watch(&WatchParams::default(), &version.unwrap_or_default()).await?.boxed();
        while let Some(event) = events.next().await {
            let now = Instant::now();
            let WatchEvent::Modified(object) = event? else { continue };
            let name = object.metadata.name.unwrap_or_default();
            let number = name.strip_prefix("pod-").and_then(|number| number.parse().ok());
            if number.is_some_and(|number| heard.send((now, number)).is_err()) {
                break;
            }
        }
        anyhow::Ok(())
    };
    thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || runtime.block_on(watch).expect("the watch goes on as long as events come"))?;
    Ok(())
}
