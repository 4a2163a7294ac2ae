//! A pod's network status: the annotation in which Multus writes what it attached.
//!
//! Format: Kubernetes Network Custom Resource Definition De-facto Standard 1.3, section 4.1 (`network-status`).

use alloc::sync::Arc;
use core::net::IpAddr;

use policy_core::model::{Attachment, Mac, NamespacedName};
use policy_core::spec::syntax::{is_dns_label, is_dns_name};
use policy_core::spec::{Field, List, Path, Problems, quoted, shortened};
use serde::Deserialize;

use crate::cni::is_interface_name;

/// One entry as written; fields that are not read are dropped.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default, expecting = "an object")]
struct Entry {
    name: Field<String>,
    interface: Field<String>,
    ips: List<String>,
    mac: Field<String>,
    default: Field<bool>,
}

/// The attachments in the status `text`, written at `at`, of a pod in `namespace`.
///
/// An entry that is not usable is left out and named; the others count.
pub fn attachments(text: &str, namespace: &str, at: &Path<'_>, problems: &mut Problems) -> Vec<Attachment> {
    // A pod without attachments may carry an empty annotation.
    if text.trim().is_empty() {
        return Vec::new();
    }
    let entries: Vec<Field<Entry>> = match serde_json::from_str(text) {
        Ok(entries) => entries,
        Err(error) => {
            // The error quotes the value that is no list, all of it.
            let reason = error.to_string();
            problems.add(at, format!("not a JSON list of interfaces: {}", shortened(&reason)));
            return Vec::new();
        }
    };
    let mut attachments = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let at = at.index(index);
        match entry {
            Field::Given(entry) => attachments.extend(attachment(entry, namespace, &at, problems)),
            Field::Absent => problems.add(&at, "null is not an interface"),
            Field::Wrong(reason) => problems.add(&at, reason.as_str()),
        }
    }
    attachments
}

/// The attachment of one entry; `None` for the default network and for what is not usable.
fn attachment(entry: &Entry, namespace: &str, at: &Path<'_>, problems: &mut Problems) -> Option<Attachment> {
    let name = text(&entry.name, &at.field("name"), problems)?;
    // The default network's name is free-form; only `namespace/name` there says that it is an attachment definition.
    if entry.default.given() == Some(&true) && !name.contains('/') {
        return None;
    }
    let network = NamespacedName::parse(name, namespace)
        .filter(|name| is_dns_label(&name.namespace) && is_dns_name(&name.name))?;
    let interface = interface(&entry.interface, &at.field("interface"), problems);
    let at_mac = at.field("mac");
    let mac = text(&entry.mac, &at_mac, problems).filter(|text| !text.is_empty()).and_then(|text| {
        text.parse::<Mac>().map_err(|error| problems.add(&at_mac, format!("{}: {error}", quoted(text)))).ok()
    });
    let addresses = addresses(&entry.ips, &at.field("ips"), problems);
    Some(Attachment { network, interface: Arc::from(interface), mac, addresses })
}

/// The interface's name; empty when it is absent, or is one that no interface can have.
fn interface<'a>(field: &'a Field<String>, at: &Path<'_>, problems: &mut Problems) -> &'a str {
    match text(field, at, problems) {
        None | Some("") => "",
        Some(name) if is_interface_name(name) => name,
        Some(name) => {
            problems.add(at, format!("{}: not an interface name", quoted(name)));
            ""
        }
    }
}

/// The text of a field; a missing one is none, one of another type is none and a problem.
fn text<'a>(field: &'a Field<String>, at: &Path<'_>, problems: &mut Problems) -> Option<&'a str> {
    match field {
        Field::Given(text) => Some(text),
        Field::Absent => None,
        Field::Wrong(reason) => {
            problems.add(at, reason.as_str());
            None
        }
    }
}

/// The readable addresses of an entry, in the order given.
fn addresses(list: &List<String>, at: &Path<'_>, problems: &mut Problems) -> Vec<IpAddr> {
    let list = match list {
        Field::Given(list) => list,
        Field::Absent => return Vec::new(),
        Field::Wrong(reason) => {
            problems.add(at, reason.as_str());
            return Vec::new();
        }
    };
    let mut addresses = Vec::with_capacity(list.len());
    for (index, entry) in list.iter().enumerate() {
        let at = at.index(index);
        let Some(text) = text(entry, &at, problems) else {
            continue;
        };
        match text.parse::<IpAddr>() {
            Ok(address) => addresses.push(address.to_canonical()),
            Err(_) => problems.add(&at, format!("{}: not an address", quoted(text))),
        }
    }
    addresses
}
