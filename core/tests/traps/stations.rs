//! Virtual machines that send with each other's MACs: who was there first stays there.

use policy_core::eval::{Decision, Flows, Passage, evaluate};
use policy_core::model::{BridgePort, Mac, Object, ObjectId, PortKind};
use policy_core::ruleset::{Hook, Ruleset};
use policy_core::{Compiler, Input, Time, compile};

use crate::world::{TCP_80, cluster, frame, ip, ip4, mac, name, pod, policy, settled};

/// A virtual machine that nobody may reach, and that may reach nobody.
const LOCKED: u8 = 31;
/// A virtual machine without policies.
const FREE: u8 = 32;
/// A pod of the cluster.
const OTHER: u8 = crate::world::STRANGER;

/// A virtual machine's port, with what the bridge has learned behind it.
fn port(index: u8, stations: &[u8]) -> Object {
    let port = BridgePort {
        far_mac: Some(Mac([2, 0, 0, 0, 9, index])),
        stations: stations.iter().copied().map(mac).collect(),
        ..crate::world::port(index, "br0", mac(0))
    };
    Object::Port(port)
}

/// Two virtual machines whose ports are not known yet.
fn machines() -> Compiler {
    let pods = [("locked", LOCKED), ("free", FREE)];
    let pods = pods.map(|(app, number)| Object::Pod(pod(app, "here", "data", number)));
    let locked = policy(
        "locked",
        r#"{"podSelector": {"matchLabels": {"app": "locked"}}, "policyTypes": ["Ingress", "Egress"]}"#,
    );
    settled(&cluster().into_iter().chain(pods).chain([locked]).collect::<Vec<_>>())
}

/// Takes in the objects, and holds the compiler to what follows from the world alone.
fn hear(compiler: &mut Compiler, objects: impl IntoIterator<Item = Object>) {
    for object in objects {
        compiler.handle_input(Input::Upsert(object), Time::default());
        assert_eq!(compiler.desired(), &compile(compiler.world(), &policy_core::Config::new("here")));
    }
}

fn forget(compiler: &mut Compiler, id: ObjectId) {
    compiler.handle_input(Input::Remove(id), Time::default());
    assert_eq!(compiler.desired(), &compile(compiler.world(), &policy_core::Config::new("here")));
}

/// Whether a port may send with this MAC.
fn sends(table: &Ruleset, index: u8, source: u8) -> bool {
    let bytes = frame(mac(source), mac(OTHER), ip(ip4(source), ip4(OTHER), TCP_80));
    let passage = Passage {
        hook: Hook::Prerouting,
        input: Some(index.into()),
        output: None,
        bridge: None,
        frame: &bytes,
    };
    evaluate(table, &mut Flows::default(), &passage) == Decision::Accept
}

/// Which of the two ports are locked, whatever MAC a frame has.
fn locked(compiler: &Compiler) -> [bool; 2] {
    let stranger = 77;
    [1, 2].map(|index| !sends(compiler.desired(), index, stranger))
}

#[test]
fn a_machine_that_sends_with_the_mac_of_another_changes_neither_ones_policy() {
    let mut compiler = machines();
    hear(&mut compiler, [port(1, &[LOCKED]), port(2, &[FREE])]);
    assert_eq!(locked(&compiler), [true, false]);
    hear(&mut compiler, [port(1, &[]), port(2, &[LOCKED, FREE])]);
    assert_eq!(locked(&compiler), [true, false], "the free one has taken the locked one's entry");
    hear(&mut compiler, [port(2, &[FREE]), port(1, &[LOCKED])]);
    hear(&mut compiler, [port(2, &[]), port(1, &[LOCKED, FREE])]);
    assert_eq!(locked(&compiler), [true, false], "the locked one has taken the free one's entry");
    hear(&mut compiler, [port(1, &[FREE])]);
    assert_eq!(locked(&compiler), [true, false], "and has been silent under its own MAC");
}

#[test]
fn an_entry_that_ages_takes_nothing_away() {
    let mut compiler = machines();
    hear(&mut compiler, [port(1, &[LOCKED]), port(1, &[])]);
    assert_eq!(locked(&compiler), [true, false]);
}

#[test]
fn a_mac_is_free_again_when_its_port_goes() {
    let mut compiler = machines();
    hear(&mut compiler, [port(1, &[LOCKED])]);
    forget(&mut compiler, ObjectId::Port(1));
    hear(&mut compiler, [port(2, &[LOCKED])]);
    assert_eq!(locked(&compiler), [false, true], "port 1 is nobody's, and port 2 the locked one's");
}

#[test]
fn a_mac_is_free_again_when_its_port_moves_to_another_bridge() {
    let mut compiler = machines();
    hear(&mut compiler, [port(1, &[LOCKED])]);
    let Object::Port(moved) = port(1, &[]) else { panic!("a port is a port") };
    hear(&mut compiler, [Object::Port(BridgePort { bridge: "br1".into(), ..moved }), port(1, &[])]);
    assert_eq!(locked(&compiler), [false, false]);
}

#[test]
fn a_claim_from_long_ago_does_not_inherit() {
    let mut compiler = machines();
    hear(&mut compiler, [port(1, &[LOCKED]), port(2, &[LOCKED]), port(2, &[])]);
    forget(&mut compiler, ObjectId::Port(1));
    assert_eq!(locked(&compiler), [false, false]);
    hear(&mut compiler, [port(1, &[LOCKED])]);
    assert_eq!(locked(&compiler), [true, false]);
}

#[test]
fn a_mac_that_the_bridge_still_knows_elsewhere_is_inherited() {
    let mut compiler = machines();
    hear(&mut compiler, [port(1, &[LOCKED]), port(2, &[LOCKED])]);
    forget(&mut compiler, ObjectId::Port(1));
    assert_eq!(locked(&compiler), [false, true]);
}

#[test]
fn the_memory_goes_with_the_pod() {
    let mut compiler = machines();
    hear(&mut compiler, [port(1, &[LOCKED]), port(1, &[])]);
    forget(&mut compiler, ObjectId::Pod(name("locked")));
    hear(&mut compiler, [Object::Pod(pod("locked", "here", "data", LOCKED)), port(2, &[LOCKED])]);
    assert_eq!(locked(&compiler), [false, true]);
}

#[test]
fn a_machine_that_moves_here_is_not_taken_for_the_uplink() {
    let mut compiler = machines();
    let Object::Port(uplink) = port(2, &[LOCKED]) else { panic!("a port is a port") };
    hear(&mut compiler, [Object::Port(BridgePort { kind: PortKind::Uplink, far_mac: None, ..uplink })]);
    assert_eq!(locked(&compiler), [false, false], "the uplink is nobody's");
    hear(&mut compiler, [port(1, &[LOCKED])]);
    assert_eq!(locked(&compiler), [true, false]);
}

#[test]
fn a_pod_that_sends_with_the_mac_of_a_machine_takes_nothing_from_it() {
    let mut compiler = machines();
    let Object::Port(of_pod) = port(OTHER, &[LOCKED]) else { panic!("a port is a port") };
    hear(
        &mut compiler,
        [Object::Port(BridgePort { far_mac: Some(mac(OTHER)), ..of_pod }), port(1, &[LOCKED])],
    );
    assert_eq!(locked(&compiler), [true, false]);
    assert!(sends(compiler.desired(), OTHER, OTHER));
}
