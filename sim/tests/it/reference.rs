//! The end-to-end scenarios of the reference product: each of them exists here, with packets where that one reads rules.

use std::path::Path;

use sim::capability::Capability;
use sim::scenario::Scenario;

/// What it tries, and the scenario that shows it.
const SCENARIOS: [(&str, &str); 31] = [
    ("pod created that matches an existing policy", "10-pod/created-matching-a-policy"),
    ("pod created that matches none", "10-pod/created-matching-none"),
    ("pod deleted", "10-pod/deleted-and-its-address-reused"),
    ("pod's label starts matching", "10-pod/label-starts-matching"),
    ("pod's label stops matching", "10-pod/label-stops-matching"),
    ("pod deleted and recreated with a new MAC", "10-pod/recreated-with-a-new-mac"),
    ("pod deleted and recreated with the same MAC", "10-pod/recreated-with-the-same-mac"),
    ("namespace created that matches a selector, with its pod", "20-namespace/created-matching-a-selector"),
    ("namespace deleted", "20-namespace/deleted"),
    ("namespace's label starts matching", "20-namespace/label-starts-matching"),
    ("namespace's label stops matching", "20-namespace/label-stops-matching"),
    ("policy with ingress from blocks, TCP and UDP", "30-policy/ingress-ip-block"),
    ("policy with egress to a pod selector", "30-policy/egress-pod-selector"),
    ("policy with ingress from a namespace selector", "30-policy/ingress-namespace-selector"),
    ("empty policy isolates both ways", "30-policy/empty-isolates-both-ways"),
    ("the complex policy", "30-policy/complex"),
    ("policy gets a rule", "30-policy/rule-added"),
    ("policy's block changes", "30-policy/cidr-changed"),
    ("policy's pod selector moves to another pod", "30-policy/pod-selector-moved"),
    ("policy's egress section is removed", "30-policy/egress-removed"),
    ("policy deleted, nothing left behind", "30-policy/deleted"),
    ("empty pod selector covers its namespace only", "30-policy/empty-selector-covers-its-namespace"),
    ("ingress as the only type beside an egress section", "30-policy/ingress-type-with-an-egress-block"),
    ("invalid blocks beside valid ones", "30-policy/invalid-cidrs-beside-valid-ones"),
    ("policy deleted after its pod and namespace are gone", "30-policy/deleted-after-its-pod-and-namespace"),
    ("network created after policy and pod", "40-network/created-after-policy-and-pod"),
    ("network deleted while in use", "40-network/deleted-while-in-use"),
    ("network's configuration edited", "40-network/config-edited"),
    ("agent restarted", "80-agent/restarted"),
    ("rules flushed by hand", "80-agent/table-changed-by-hand"),
    ("pod with a bridge and another kind of interface", "40-network/of-two-kinds"),
];
/// Beside those: two policies on one pod.
const UNION: &str = "30-policy/union-of-two";

#[test]
fn every_scenario_of_the_reference_product_is_played_through_an_api_server() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    for (what, name) in SCENARIOS.into_iter().chain([("two policies on one pod", UNION)]) {
        let file = directory.join(format!("{name}.yaml"));
        let scenario = Scenario::read(&file).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(!scenario.requires.contains(&Capability::Unvalidated), "{what}: {name} needs no API server");
    }
}
