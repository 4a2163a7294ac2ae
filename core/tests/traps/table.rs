//! Each trap, and what holds it.

use std::fs;
use std::path::{Path, PathBuf};

use Proof::{Scenario, Test};

/// What shows that a trap is avoided.
#[derive(Clone, Copy, Debug)]
enum Proof {
    /// A scenario, played with packets; its path below `scenarios`, without extension.
    Scenario(&'static str),
    /// A test: its file, and its name.
    Test(&'static str, &'static str),
}

const CONVERSATION: &str = "core/tests/it/conversation.rs";
const COST: &str = "core/tests/traps/cost.rs";
const HOSTILE: &str = "ci/fuzz/tests/hostile.rs";
const LAWS: &str = "core/tests/laws/main.rs";
const INSTALLED: &str = "deploy/agent/tests/offline/installed.rs";
const PACKETS: &str = "core/tests/traps/packets.rs";

/// What goes wrong elsewhere, and the proofs that it does not here.
const TRAPS: &[(&str, &[Proof])] = &[
    (
        "a port entry without a port stops the program",
        &[
            Scenario("60-port/entry-without-a-port"),
            Test(HOSTILE, "ten_thousand_rules_ports_and_requirements"),
            Test("core/src/spec/law.rs", "a_mistake_never_opens_anything"),
        ],
    ),
    (
        "a selected pod is isolated both ways whatever policyTypes say",
        &[Scenario("30-policy/ingress-type-with-an-egress-block"), Scenario("30-policy/types-by-default")],
    ),
    (
        "ARP and replies are dropped, so that allowing something allows nothing",
        &[
            Scenario("70-connection/replies-pass"),
            Scenario("70-connection/bystanders"),
            Test(PACKETS, "neighbours_find_each_other_when_they_may_talk"),
        ],
    ),
    (
        "neighbour discovery is dropped by default",
        &[Scenario("50-peer/of-ipv6-alone"), Test(PACKETS, "neighbours_find_each_other_when_they_may_talk")],
    ),
    ("peers without ports allow nothing", &[Scenario("60-port/peers-without-ports")]),
    (
        "a selector that matches nothing allows everything",
        &[Scenario("50-peer/selector-that-matches-nothing")],
    ),
    (
        "the second policy of a pod never works, and a deny-all overrules the others",
        &[Scenario("30-policy/union-of-two"), Scenario("30-policy/complex")],
    ),
    ("except is passed over", &[Scenario("50-peer/except")]),
    (
        "matchExpressions of peers are passed over",
        &[
            Scenario("50-peer/expressions"),
            Test(
                "core/tests/laws/selectors.rs",
                "every_small_selector_isolates_and_admits_what_its_text_says",
            ),
        ],
    ),
    ("IPv6 is passed over", &[Scenario("50-peer/of-ipv6-alone")]),
    ("SCTP is passed over", &[Test(PACKETS, "sctp_has_ports_of_its_own")]),
    ("endPort is passed over", &[Scenario("60-port/ranges")]),
    ("configurations that are lists are passed over", &[Scenario("40-network/list-of-plugins")]),
    (
        "lists of networks are passed over",
        &[Scenario("40-network/of-two-kinds"), Scenario("50-peer/on-another-network-of-the-policy")],
    ),
    (
        "what is passed over is passed over in silence",
        &[
            Scenario("50-peer/unusable-peers"),
            Scenario("60-port/unusable-entries"),
            Scenario("30-policy/misspelt-fields"),
            Test("core/tests/it/reports.rs", "each_change_is_reported_once"),
        ],
    ),
    ("named ports of egress are resolved on the wrong pod", &[Scenario("60-port/names-on-egress")]),
    ("a prefix with host bits matches nothing", &[Scenario("50-peer/block-with-host-bits")]),
    (
        "traffic of the node or routed through it bypasses a policy",
        &[Test(PACKETS, "traffic_of_the_node_and_routed_traffic_is_judged")],
    ),
    ("broadcast bypasses ingress", &[Test(PACKETS, "broadcast_is_judged_by_its_source")]),
    ("a changed source MAC escapes egress", &[Test(PACKETS, "a_changed_mac_or_address_escapes_nothing")]),
    (
        "rules are flushed and filled again, operation by operation",
        &[
            Test(LAWS, "no_operation_is_without_effect"),
            Test(LAWS, "a_transaction_touches_only_what_differs_afterwards"),
            Test(COST, "one_event_is_at_most_one_transaction"),
            Test("driver-nft/tests/it/faults.rs", "refused_operation_is_named_and_nothing_is_committed"),
        ],
    ),
    (
        "rules are written again every minute",
        &[
            Test(CONVERSATION, "the_table_is_audited_after_a_while"),
            Test(LAWS, "the_same_input_twice_changes_nothing_the_second_time"),
        ],
    ),
    (
        "cleaning up one policy removes what another one drops",
        &[Scenario("30-policy/union-of-two"), Scenario("30-policy/alike-twice")],
    ),
    ("rules stay when ingress is emptied", &[Scenario("70-connection/revoked-when-rules-are-emptied")]),
    ("rules stay when a pod comes back with another MAC", &[Scenario("10-pod/recreated-with-a-new-mac")]),
    (
        "a deleted table is never built again",
        &[
            Scenario("80-agent/table-changed-by-hand"),
            Scenario("80-agent/table-deleted-while-it-is-away"),
            Test(LAWS, "a_foreign_change_is_undone"),
        ],
    ),
    (
        "what was deleted while the program was away stays",
        &[
            Scenario("80-agent/things-change-while-it-is-away"),
            Test(LAWS, "a_restart_on_any_table_ends_with_what_is_wanted"),
        ],
    ),
    ("each event puts the others off", &[Test(COST, "events_never_put_each_other_off")]),
    (
        "every node programs every pod of the cluster",
        &[
            Test(COST, "pods_elsewhere_are_elements_of_sets_and_nothing_else"),
            Test(
                "core/tests/cost.rs",
                "one_label_of_one_peer_among_five_thousand_moves_only_its_own_elements",
            ),
        ],
    ),
    ("rules are linear lists", &[Test(COST, "base_chains_do_not_grow_with_pods_and_policies")]),
    (
        "one MAC on two bridges is taken for one pod",
        &[
            Scenario("40-network/same-addresses-on-two-bridges"),
            Test(PACKETS, "one_mac_on_two_bridges_is_two_attachments"),
        ],
    ),
    ("completed pods are enforced", &[Scenario("10-pod/completed")]),
    (
        "a kernel with built-in modules is refused",
        &[Test(
            "sim/tests/it/results.rs",
            "what_the_kernel_is_not_capable_of_is_asked_of_the_kernel_and_counted",
        )],
    ),
    (
        "a table is shared with others",
        &[
            Test("driver-nft/tests/it/faults.rs", "removal_takes_only_our_table_and_may_be_repeated"),
            Test(
                "sim/tests/it/reader.rs",
                "one_table_with_its_base_chains_is_there_during_a_run_and_nowhere_else",
            ),
        ],
    ),
    (
        "frames of a VM bridged inside its pod are never seen",
        &[Scenario("40-network/kubevirt-bridge"), Test(PACKETS, "a_vm_bridged_inside_its_pod_is_judged")],
    ),
    (
        "between cleaning up and writing again nothing is enforced",
        &[
            Test("core/tests/it/apply.rs", "refused_replacement_leaves_the_old_table"),
            Test(LAWS, "a_restart_on_any_table_ends_with_what_is_wanted"),
            Scenario("80-agent/restarted"),
        ],
    ),
    ("the agent is privileged", &[Test(INSTALLED, "agent_is_not_privileged_and_keeps_two_capabilities")]),
    (
        "the agent's account may do everything",
        &[
            Test(INSTALLED, "account_may_read_what_policies_depend_on_and_write_events"),
            Test(
                "deploy/agent/tests/cluster/following.rs",
                "agent_waits_for_the_crds_and_follows_what_is_written",
            ),
        ],
    ),
    (
        "what is installed is for one architecture only, under a tag that moves",
        &[Test(INSTALLED, "image_is_of_one_version_and_of_no_one_architecture")],
    ),
];

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_trap_has_a_proof_that_exists() {
    for (trap, proofs) in TRAPS {
        assert!(!proofs.is_empty(), "nothing shows that this is avoided: {trap}");
        for proof in *proofs {
            match proof {
                Scenario(name) => {
                    let file = root().join(format!("scenarios/{name}.yaml"));
                    assert!(file.is_file(), "{trap}: there is no scenario {name}");
                }
                Test(file, name) => {
                    let text = fs::read_to_string(root().join(file));
                    let text = text.unwrap_or_else(|error| panic!("{trap}: {file}: {error}"));
                    assert!(
                        text.contains(&format!("fn {name}(")),
                        "{trap}: there is no test {name} in {file}"
                    );
                }
            }
        }
    }
}
