//! Reading port entries.

use alloc::format;
use alloc::string::String;

use crate::model::{PortMatch, PortNumbers, Protocol};

use super::path::quoted;
use super::syntax::is_port_name;
use super::{Field, IntOrString, Path, PortSpec, Problems};

/// Reads a port entry; `None` when it is not usable and therefore matches nothing.
pub(super) fn port(spec: &PortSpec, at: &Path<'_>, problems: &mut Problems) -> Option<PortMatch> {
    let known = spec.unknown.none(at, problems);
    let protocol =
        protocol(&spec.protocol).map_err(|reason| problems.add(&at.field("protocol"), reason)).ok();
    let numbers = numbers(spec, at, problems);
    known.then_some(PortMatch { protocol: protocol?, numbers: numbers? })
}

fn protocol(field: &Field<String>) -> Result<Protocol, String> {
    match field {
        Field::Absent => Ok(Protocol::Tcp),
        Field::Wrong(reason) => Err(reason.clone()),
        Field::Given(name) => match name.as_str() {
            "SCTP" => Ok(Protocol::Sctp),
            "TCP" => Ok(Protocol::Tcp),
            "UDP" => Ok(Protocol::Udp),
            other => Err(format!("{}: not one of TCP, UDP, SCTP", quoted(other))),
        },
    }
}

fn numbers(spec: &PortSpec, at: &Path<'_>, problems: &mut Problems) -> Option<PortNumbers> {
    let end = match &spec.end_port {
        Field::Absent => None,
        Field::Given(end) => Some(*end),
        Field::Wrong(reason) => {
            problems.add(&at.field("endPort"), reason.as_str());
            return None;
        }
    };
    let read = match &spec.port {
        Field::Absent if end.is_some() => {
            Err(("endPort", String::from("needs a numeric port to start from")))
        }
        Field::Absent => Ok(PortNumbers::All),
        Field::Wrong(reason) => Err(("port", reason.clone())),
        Field::Given(IntOrString::String(_)) if end.is_some() => {
            Err(("endPort", String::from("cannot follow a named port")))
        }
        Field::Given(IntOrString::String(name)) => named(name, &at.field("port"), problems),
        Field::Given(IntOrString::Int(first)) => range(*first, end),
    };
    read.map_err(|(field, reason)| problems.add(&at.field(field), reason)).ok()
}

/// A named port. A name that no container port can have is kept when it is only digits (it stays a name and
/// matches nobody), and is named as a problem all the same: a number in quotes is the usual slip.
fn named(name: &str, at: &Path<'_>, problems: &mut Problems) -> Result<PortNumbers, (&'static str, String)> {
    if is_port_name(name) {
        return Ok(PortNumbers::Named(name.into()));
    }
    if !name.is_empty() && name.len() <= 15 && name.bytes().all(|c| c.is_ascii_digit()) {
        problems.add(at, format!("{}: a number in quotes is a name, which no port has", quoted(name)));
        return Ok(PortNumbers::Named(name.into()));
    }
    Err(("port", format!("{}: not a port name", quoted(name))))
}

/// A port or a range, both ends included.
fn range(first: i64, end: Option<i64>) -> Result<PortNumbers, (&'static str, String)> {
    let low = number(first).ok_or_else(|| ("port", format!("{first}: not a port from 1 to 65535")))?;
    let Some(end) = end else {
        return Ok(PortNumbers::Range(low, low));
    };
    let high = number(end).ok_or_else(|| ("endPort", format!("{end}: not a port from 1 to 65535")))?;
    if high < low {
        return Err(("endPort", format!("{high}: below port {low}")));
    }
    Ok(PortNumbers::Range(low, high))
}

fn number(value: i64) -> Option<u16> {
    u16::try_from(value).ok().filter(|port| *port > 0)
}
