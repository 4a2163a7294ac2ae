//! VLANs: which tags the frames of a station carry, and which the bridge puts on them. Pure.
//!
//! The keys are those of the bridge plugin: `vlan` makes a port an access port, `vlanTrunk` lets tagged frames through,
//! `preserveDefaultVlan: false` takes VLAN 1 away.

use alloc::collections::BTreeSet;

use serde_json::Value;

/// The VLAN of a port that nobody has configured: `default_pvid` of a bridge.
pub const DEFAULT_VLAN: u16 = 1;

/// The VLANs of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tagging {
    /// Untagged frames belong to this VLAN, if not to the default one.
    pub access: Option<u16>,
    /// Frames with these tags pass, too.
    pub trunk: BTreeSet<u16>,
    /// Whether the port stays a member of the default VLAN.
    pub keeps_default: bool,
}

impl Default for Tagging {
    fn default() -> Self {
        Self { access: None, trunk: BTreeSet::new(), keeps_default: true }
    }
}

impl Tagging {
    /// An access port.
    pub fn access(vlan: u16) -> Self {
        Self { access: Some(vlan), ..Self::default() }
    }

    /// That of a network, `vlan` being its access VLAN and `config` its plugin's configuration.
    pub fn of(vlan: Option<u16>, config: &Value) -> Result<Self, String> {
        let keeps_default = config.get("preserveDefaultVlan").and_then(Value::as_bool).unwrap_or(true);
        let mut trunk = BTreeSet::new();
        for (at, entry) in config.get("vlanTrunk").and_then(Value::as_array).into_iter().flatten().enumerate()
        {
            let vlans = trunk_entry(entry).ok_or_else(|| {
                format!("vlanTrunk[{at}]: {entry}: neither `id` nor `minID` and `maxID` from 1 to 4094")
            })?;
            trunk.extend(vlans);
        }
        Ok(Self { access: vlan, trunk, keeps_default })
    }

    /// Whether the bridge needs to know nothing about VLANs for it.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The tag of the frames that the station itself sends: on a trunk without an access VLAN it takes the first.
    pub fn tag(&self) -> Option<u16> {
        if self.access.is_some() { None } else { self.trunk.first().copied() }
    }

    /// The VLAN that its addresses belong to.
    pub fn vlan(&self) -> u16 {
        self.access.or(self.tag()).unwrap_or(DEFAULT_VLAN)
    }
}

/// The VLANs that one entry of a trunk names.
fn trunk_entry(entry: &Value) -> Option<impl Iterator<Item = u16>> {
    let number = |key: &str| {
        let number = entry.get(key)?.as_u64().and_then(|number| u16::try_from(number).ok());
        number.filter(|vlan| (1..=4094).contains(vlan))
    };
    let range = match (number("minID"), number("maxID")) {
        (Some(first), Some(last)) if first <= last => Some(first..=last),
        _ => None,
    };
    let id = number("id");
    let any = id.is_some() || range.is_some();
    any.then(|| id.into_iter().chain(range.into_iter().flatten()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::Tagging;

    #[test]
    fn a_trunk_is_made_of_numbers_and_ranges() {
        let config =
            json!({"vlanTrunk": [{"id": 42}, {"minID": 20, "maxID": 22}], "preserveDefaultVlan": false});
        let tagging = Tagging::of(None, &config).expect("a good trunk");
        assert_eq!(tagging.trunk.iter().copied().collect::<Vec<_>>(), [20, 21, 22, 42]);
        assert!(!tagging.keeps_default);
        assert_eq!((tagging.tag(), tagging.vlan()), (Some(20), 20));
    }

    #[test]
    fn an_access_vlan_is_where_the_addresses_are() {
        let tagging = Tagging::of(Some(7), &json!({"vlanTrunk": [{"id": 5}]})).expect("a good trunk");
        assert_eq!((tagging.tag(), tagging.vlan()), (None, 7));
        assert_eq!(Tagging::default().vlan(), 1);
    }

    #[test_case(&json!({"id": 4095}); "out of range")]
    #[test_case(&json!({"minID": 9, "maxID": 8}); "an empty range")]
    #[test_case(&json!({"minID": 9}); "half a range")]
    #[test_case(&json!({}); "nothing")]
    fn a_bad_trunk_is_refused(entry: &serde_json::Value) {
        let error = Tagging::of(None, &json!({"vlanTrunk": [entry]})).expect_err("a bad trunk");
        assert!(error.starts_with("vlanTrunk[0]: ") && error.contains("from 1 to 4094"), "{error}");
    }
}
