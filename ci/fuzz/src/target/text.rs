//! Scenario files, and frames on their way through a ruleset.

use std::path::Path;
use std::sync::LazyLock;

use policy_core::eval::{Flows, Passage, evaluate};
use policy_core::model::Mac;
use policy_core::ruleset::{
    BaseChain, Chain, ChainName, ChainSpec, Datum, Expr, Field, Hook, InterfaceName, KeyType, Rule, Ruleset,
    Set, SetName, SetSpec,
};
use sim::scenario::Scenario;
use sim::stage::stages;

use super::utf8;
use crate::features::Features;
use crate::world::COMPLAINT_BYTES_MAX;

/// The largest scenario that is also planned: every pair of stations is probed in every step, so the plan of a large one
/// is legitimately out of proportion to its text.
const STATIONS_MAX: usize = 12;

/// A scenario, as far as it can be known without sending a packet.
pub(super) fn scenario(bytes: &[u8]) -> Features {
    let mut features = Features::default();
    let file = Path::new("scenario.yaml");
    let scenario = match Scenario::parse(file, utf8(bytes)) {
        Ok(scenario) => scenario,
        Err(error) => {
            let complaint = error.to_string();
            assert!(complaint.starts_with("scenario.yaml"), "{complaint}");
            assert!(complaint.len() <= COMPLAINT_BYTES_MAX, "a complaint of {} bytes", complaint.len());
            features.saw(&error.reason);
            return features;
        }
    };
    features.counted("objects", scenario.objects.len());
    features.counted("steps", scenario.steps.len());
    let changes = scenario.steps.iter().map(|step| step.apply.len()).sum::<usize>();
    let small = scenario.hosts.len() + scenario.objects.len() + changes <= STATIONS_MAX
        && scenario.probes.len() <= STATIONS_MAX
        && scenario.steps.len() <= STATIONS_MAX
        && bytes.len() <= 16 << 10;
    if small {
        match stages(file, &scenario) {
            Ok(stages) => {
                assert_eq!(stages.len(), 1 + scenario.steps.len());
                for stage in stages {
                    features.counted("events", stage.events.len());
                    features.counted("probes", stage.wanted.len());
                    stage.reports_read.iter().for_each(|report| features.saw(report));
                }
            }
            Err(error) => features.saw(&error.reason),
        }
    }
    features
}

/// [`every_field`], made once.
static EVERY_FIELD: LazyLock<Ruleset> = LazyLock::new(every_field);

/// A ruleset that reads every field of a frame, in comparisons, lookups and updates.
fn every_field() -> Ruleset {
    let set = |name: &str| SetName::new(name.to_owned());
    let mut rules = Vec::new();
    let mut sets = alloc::collections::BTreeMap::new();
    for field in Field::ALL {
        let name = field.name().replace(' ', "-");
        let value = match field.key_type() {
            KeyType::Index => Datum::Index(3),
            KeyType::Port => Datum::Port(80),
            KeyType::Protocol => Datum::TCP,
            KeyType::EtherType => Datum::IP4,
            KeyType::ArpOperation => Datum::ArpOperation(1),
            KeyType::IcmpId | KeyType::Icmp6Id => Datum::IcmpId(7),
            KeyType::Ip4 => Datum::Ip4([10, 0, 0, 1].into()),
            KeyType::Ip6 => Datum::Ip6([0; 16].into()),
            KeyType::Mac => Datum::Mac(Mac([2, 0, 0, 0, 0, 1])),
            KeyType::FragmentId => Datum::FragmentId(7),
            KeyType::RawIp4 => Datum::RawIp4([10, 0, 0, 1].into()),
            KeyType::RawIp6 => Datum::RawIp6([0; 16].into()),
            KeyType::InterfaceName => Datum::InterfaceName(InterfaceName::new("br0")),
            KeyType::Vlan => Datum::Vlan(7),
            KeyType::RawShort => Datum::RawShort(7),
            KeyType::RawMac => Datum::RawMac(Mac([2, 0, 0, 0, 0, 1])),
            KeyType::Byte | KeyType::Unknown(_) => Datum::Byte(0),
        };
        let spec = SetSpec { key: vec![field.key_type()], ..SetSpec::default() };
        sets.insert(set(&name), Set { spec, elements: [].into() });
        let timeout = core::time::Duration::from_secs(1);
        for exprs in [
            vec![Expr::Update { fields: vec![field], set: set(&name), timeout }],
            vec![Expr::is(field, value), Expr::Counter],
            vec![Expr::within([field], set(&name)), Expr::Counter],
        ] {
            rules.push(Rule { exprs, comment: String::new() });
        }
    }
    let base = BaseChain { hook: Hook::Forward, priority: 0, drop_by_default: false };
    let spec = ChainSpec { base: Some(base), comment: String::new() };
    Ruleset { chains: [(ChainName::new("forward"), Chain { spec, rules })].into(), sets }
}

/// A frame: which of its fields can be read is what it shows.
pub(super) fn frame(bytes: &[u8]) -> Features {
    let mut features = Features::default();
    let mut flows = Flows::default();
    let passage = Passage { hook: Hook::Forward, input: Some(3), output: None, bridge: None, frame: bytes };
    let decision = evaluate(&EVERY_FIELD, &mut flows, &passage);
    features.saw(format_args!("{decision:?}"));
    // The sets that now hold something are those of the fields that are there.
    let held = format!("{flows:?}");
    for field in Field::ALL {
        if held.contains(&format!("{:?}", SetName::new(field.name().replace(' ', "-")))) {
            features.saw(field.name());
        }
    }
    features
}
