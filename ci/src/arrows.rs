//! Who may know whom: the arrows between the rooms of the house.
//!
//! The core knows nobody, the drivers know the core and not each other, the harness joins them, the agent wires and
//! decides nothing. An arrow that nobody drew here is refused, of whatever kind it is: a test that reaches into another
//! room ties the rooms just as well.

use alloc::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::metadata::{Kind, Metadata, Package};

/// What one package may depend on.
#[derive(Clone, Copy, Debug)]
struct Room {
    package: &'static str,
    /// Members of the workspace it may know.
    may_know: &'static [&'static str],
    /// Packages from outside that its library may use, if they are few enough to be listed.
    outside: Option<&'static [&'static str]>,
    /// Features of members that it must not switch on.
    without: &'static [(&'static str, &'static str)],
}

/// Every member of the workspace. A new member is a new row.
const ROOMS: [Room; 9] = [
    Room { package: "ci", may_know: &[], outside: None, without: &[] },
    Room { package: "control-plane", may_know: &[], outside: None, without: &[] },
    Room { package: "driver-kube", may_know: &["policy-core"], outside: None, without: &[] },
    Room { package: "driver-nft", may_know: &["policy-core"], outside: None, without: &[] },
    Room {
        package: "fuzz",
        may_know: &["driver-kube", "driver-nft", "policy-core", "sim"],
        outside: None,
        without: &[("driver-kube", "client")],
    },
    Room {
        package: "mnp-nft-bridge",
        // The control plane is for its tests.
        may_know: &["control-plane", "driver-kube", "driver-nft", "policy-core"],
        outside: None,
        without: &[],
    },
    Room { package: "node-sim", may_know: &["driver-nft", "policy-core"], outside: None, without: &[] },
    Room {
        package: "policy-core",
        may_know: &[],
        outside: Some(&["ipnet", "serde", "sha2", "thiserror", "tracing"]),
        without: &[],
    },
    Room {
        package: "sim",
        // The control plane is for the cluster arm.
        may_know: &["control-plane", "driver-kube", "driver-nft", "policy-core"],
        outside: None,
        // What the agent makes of an API server is the agent's own affair.
        without: &[("driver-kube", "client")],
    },
];

/// Compares the manifests with the arrows.
///
/// # Errors
/// Every arrow that is not allowed, and every member without a row.
pub(crate) fn check(metadata: &Metadata) -> Result<()> {
    let members: BTreeSet<&str> = metadata.members().map(|member| member.name.as_str()).collect();
    let faults: Vec<String> = metadata.members().flat_map(|member| faults_of(member, &members)).collect();
    if !faults.is_empty() {
        bail!("arrows that must not be:\n  {}", faults.join("\n  "));
    }
    crate::say(format_args!("{} packages know only whom they may know", members.len()))
}

fn faults_of(member: &Package, members: &BTreeSet<&str>) -> Vec<String> {
    let name = &member.name;
    let Some(room) = ROOMS.iter().find(|room| room.package == name) else {
        return vec![format!("`{name}` has no row in ci/src/arrows.rs: say there whom it may know")];
    };
    let mut faults = Vec::new();
    for dependency in &member.dependencies {
        let target = dependency.name.as_str();
        if members.contains(target) {
            if !room.may_know.contains(&target) {
                faults.push(format!("`{name}` must not know `{target}`"));
            }
        } else if dependency.kind != Kind::Dev
            && room.outside.is_some_and(|outside| !outside.contains(&target))
        {
            faults.push(format!("`{name}` must not use `{target}` from outside the workspace"));
        }
        for feature in &dependency.features {
            if room.without.contains(&(target, feature.as_str())) {
                faults.push(format!("`{name}` must use `{target}` without its feature `{feature}`"));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use serde_json::{Value, json};
    use test_case::test_case;

    use super::{ROOMS, faults_of};
    use crate::metadata::Package;

    fn faults(name: &str, dependencies: &Value) -> Vec<String> {
        let package: Package = serde_json::from_value(json!({
            "id": name, "name": name, "version": "1.0.0", "license": null, "targets": [],
            "dependencies": dependencies,
        }))
        .expect("this is what cargo prints");
        faults_of(&package, &ROOMS.iter().map(|room| room.package).collect::<BTreeSet<_>>())
    }

    #[test_case("driver-nft", "policy-core", "null"; "driver knows the core")]
    #[test_case("sim", "driver-kube", "null"; "harness knows a driver")]
    #[test_case("policy-core", "ipnet", "null"; "core uses a listed package")]
    #[test_case("policy-core", "proptest", "\"dev\""; "core tests use what they like")]
    #[test_case("ci", "clap", "null"; "outside packages are free elsewhere")]
    fn allowed_arrow(from: &str, to: &str, kind: &str) {
        let kind: Value = serde_json::from_str(kind).expect("a kind");
        assert_eq!(faults(from, &json!([{"name": to, "kind": kind}])), Vec::<String>::new());
    }

    #[test_case("driver-kube", "driver-nft", "null", "`driver-kube` must not know `driver-nft`")]
    #[test_case("driver-kube", "driver-nft", "\"dev\"", "`driver-kube` must not know `driver-nft`"; "in tests too")]
    #[test_case("policy-core", "sim", "\"dev\"", "`policy-core` must not know `sim`")]
    #[test_case("ci", "policy-core", "\"build\"", "`ci` must not know `policy-core`")]
    #[test_case("mnp-nft-bridge", "sim", "null", "`mnp-nft-bridge` must not know `sim`")]
    #[test_case(
        "policy-core",
        "tokio",
        "null",
        "`policy-core` must not use `tokio` from outside the workspace"
    )]
    #[test_case(
        "policy-core",
        "cc",
        "\"build\"",
        "`policy-core` must not use `cc` from outside the workspace"
    )]
    fn refused_arrow(from: &str, to: &str, kind: &str, fault: &str) {
        let kind: Value = serde_json::from_str(kind).expect("a kind");
        assert_eq!(faults(from, &json!([{"name": to, "kind": kind}])), [fault]);
    }

    #[test]
    fn harness_without_the_api_client() {
        let dependencies = json!([{"name": "driver-kube", "kind": null, "features": ["client"]}]);
        assert_eq!(
            faults("sim", &dependencies),
            ["`sim` must use `driver-kube` without its feature `client`"]
        );
    }

    #[test]
    fn new_member_needs_a_row() {
        let fault = faults("newcomer", &json!([]));
        assert_eq!(fault, ["`newcomer` has no row in ci/src/arrows.rs: say there whom it may know"]);
    }

    #[test]
    fn every_row_points_at_members_only() {
        for room in ROOMS {
            for known in room.may_know {
                assert!(ROOMS.iter().any(|other| other.package == *known), "`{known}` is no member");
            }
        }
    }
}
