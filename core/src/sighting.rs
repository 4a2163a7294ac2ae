//! Frames that the kernel tells of: whose they are, and who is at their other end.
//!
//! The kernel knows numbers and the words of a rule. What they stand for is known here, and only as long as the world stays
//! as it was: a frame of a pod that has just gone is nobody's.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::compile::{AttachmentId, Judged, Place};
use crate::compiler::Compiler;
use crate::index::Enforced;
use crate::model::{Attachment, Direction, Mac, NamespacedName};

/// A frame that the kernel tells of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting<'a> {
    /// The words of the rule that told of it.
    pub prefix: &'a str,
    /// Index of the port it came in by; `None` for the node's own.
    pub input: Option<u32>,
    /// Index of the port it was about to leave by, where that was known.
    pub output: Option<u32>,
    /// Its Ethernet source and destination, where the kernel told them.
    pub macs: Option<(Mac, Mac)>,
    /// Who sends, by address.
    pub source: Option<IpAddr>,
    /// Who is meant, by address.
    pub destination: Option<IpAddr>,
}

/// What a policy made of a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action {
    /// It was allowed, and began a flow.
    Allow,
    /// No policy allows it.
    Drop,
}

impl Action {
    /// As the annotation that asks for it says.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Drop => "drop",
        }
    }
}

/// Whose a frame is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighted {
    /// What became of it.
    pub action: Action,
    /// Whose frames were judged, and in which direction.
    pub judged: Judged,
    /// The policies that decided: of a frame that is allowed the one that allows it, of another all that isolate the pod.
    pub policies: Vec<NamespacedName>,
    /// The pod at the other end, if the address there is one's, on the same bridge.
    pub peer: Option<NamespacedName>,
}

/// What frames stay in: a bridge, and its VLAN. Two networks may be one.
type Segment<'a> = (&'a str, Option<u16>);

/// Who is looked for at the other end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Far {
    Address(IpAddr),
    Station(Mac),
}

impl Compiler {
    /// Whose these frames are; `None` for one that nothing is known of any more.
    ///
    /// The pods of the cluster are looked through once, however many frames there are.
    pub fn sighted(&self, sightings: &[Sighting<'_>]) -> Vec<Option<Sighted>> {
        let mut found: Vec<Option<(Sighted, Option<Segment<'_>>)>> =
            sightings.iter().map(|sighting| self.owner(sighting)).collect();
        let wanted: Vec<Vec<Far>> = sightings
            .iter()
            .zip(&found)
            .map(|(sighting, found)| found.as_ref().map_or_else(Vec::new, |(owner, _)| far(sighting, owner)))
            .collect();
        let known = self.stations_of(&wanted.iter().flatten().copied().collect());
        for (found, wanted) in found.iter_mut().zip(&wanted) {
            let Some((sighted, segment)) = found else { continue };
            let near = |candidates: &Vec<(&NamespacedName, Option<Segment<'_>>)>| {
                let same = candidates.iter().find(|(_, of)| *of == *segment && of.is_some());
                same.map(|(pod, _)| (*pod).clone())
            };
            sighted.peer = wanted.iter().find_map(|far| near(known.get(far)?));
        }
        found.into_iter().map(|found| found.map(|(sighted, _)| sighted)).collect()
    }

    /// What the frames of a network stay in.
    fn segment(&self, network: &NamespacedName) -> Option<Segment<'_>> {
        self.world().bridge(network).map(|bridge| (&*bridge.bridge, bridge.vlan))
    }

    /// Whose a frame is, and on which bridge.
    fn owner(&self, sighting: &Sighting<'_>) -> Option<(Sighted, Option<Segment<'_>>)> {
        let place = Place::read(sighting.prefix)?;
        let (id, enforced) = self.attachment(sighting, place)?;
        let policies = enforced.enforcement.deciding(place);
        let judged = id.judged_in(place.direction());
        let segment = self.segment(&judged.network);
        Some((Sighted { action: place.action(), judged, policies, peer: None }, segment))
    }

    /// The attachment that a frame belongs to: the owner of its port if the rule is one of its, else whoever's rule it is.
    fn attachment(&self, sighting: &Sighting<'_>, place: Place<'_>) -> Option<(&AttachmentId, &Enforced)> {
        let (port, mac) = match place.direction() {
            Direction::Egress => (sighting.input, sighting.macs.map(|(source, _)| source)),
            Direction::Ingress => (sighting.output, sighting.macs.map(|(_, destination)| destination)),
        };
        let owner = port.and_then(|port| self.index().owner(port));
        if let Some(owner) = owner.filter(|(_, enforced)| enforced.enforcement.tells(place)) {
            return Some(owner);
        }
        let attachments = &self.index().attachments;
        let mut telling = attachments.iter().filter(|(_, enforced)| enforced.enforcement.tells(place));
        if place.action() == Action::Allow {
            // Several pods tell with these words; without a port, the MAC says which.
            return telling.find(|(_, enforced)| mac.is_some() && enforced.mac() == mac);
        }
        telling.next()
    }

    /// The pods that have one of these addresses, and the bridges that they have it on.
    fn stations_of(
        &self,
        wanted: &BTreeSet<Far>,
    ) -> BTreeMap<Far, Vec<(&NamespacedName, Option<Segment<'_>>)>> {
        let mut known: BTreeMap<Far, Vec<_>> = BTreeMap::new();
        if wanted.is_empty() {
            return known;
        }
        for pod in self.world().pods() {
            for attachment in &pod.attachments {
                for far in names(attachment).filter(|far| wanted.contains(far)) {
                    let segment = self.segment(&attachment.network);
                    known.entry(far).or_default().push((&pod.id, segment));
                }
            }
        }
        known
    }
}

/// What the pod at the other end may be known by, the surest first.
fn far(sighting: &Sighting<'_>, owner: &Sighted) -> Vec<Far> {
    let (address, mac) = match owner.judged.direction {
        Direction::Egress => (sighting.destination, sighting.macs.map(|(_, destination)| destination)),
        Direction::Ingress => (sighting.source, sighting.macs.map(|(source, _)| source)),
    };
    address.map(Far::Address).into_iter().chain(mac.map(Far::Station)).collect()
}

/// What an attachment may be known by.
fn names(attachment: &Attachment) -> impl Iterator<Item = Far> {
    let link_local = attachment.mac.map(|mac| Far::Address(IpAddr::V6(mac.link_local())));
    let addresses = attachment.addresses.iter().copied().map(Far::Address);
    addresses.chain(link_local).chain(attachment.mac.map(Far::Station))
}
