//! What the node's kernel says by itself: bridge ports that come and go, and other programs that change our table.

use anyhow::{Context as _, Error, Result};
use driver_nft::{Links, Monitor, Notice};
use policy_core::Input;
use policy_core::model::{Kind, Object};

use super::{Inbox, source};

/// Watches the bridge ports in a thread of its own.
pub(crate) fn watch_ports(inbox: Inbox) -> Result<()> {
    let links = Links::open().context("cannot watch the node's links")?;
    source("ports", inbox, move |inbox| ports(links, inbox))
}

/// Listens for foreign changes of the table in a thread of its own.
pub(crate) fn watch_table(monitor: Monitor, inbox: Inbox) -> Result<()> {
    source("table", inbox, move |inbox| foreign_changes(monitor, inbox))
}

fn ports(mut links: Links, inbox: &Inbox) -> Result<()> {
    if !links.sees_far_changes() {
        tracing::warn!(
            "without CAP_NET_BROADCAST, a pod that changes its MAC is noticed only when its port changes too"
        );
    }
    let ports = links.dump().context("cannot list the node's ports")?;
    let objects = ports.into_iter().map(Object::Port).collect();
    let mut heard = inbox.input(Input::Relist { kind: Kind::Port, objects });
    while heard {
        for event in links.next(None).context("cannot watch the node's links")? {
            heard &= inbox.input(event.into());
        }
    }
    Ok(())
}

fn foreign_changes(mut monitor: Monitor, inbox: &Inbox) -> Result<()> {
    let mut heard = true;
    while heard {
        let notice =
            monitor.next(None).map_err(Error::from).context("cannot listen to changes of the tables")?;
        if let Some(notice) = notice.filter(Notice::is_tampering) {
            tracing::warn!(?notice, "another program has changed the table; it is repaired");
            heard = inbox.input(Input::Tampered);
        }
    }
    Ok(())
}
