//! What the kernel refuses, and what other programs do meanwhile.

use core::time::Duration;

use driver_nft::{Monitor, NftError, NftKernel, Notice};
use nix::errno::Errno;
use policy_core::ruleset::{
    ChainName, ChainSpec, Datum, Elements, Expr, Hook, Key, KeyType, Op, Ruleset, TABLE, Touched, Verdict,
};
use policy_core::{Kernel as _, Observation, SinkFault};
use test_case::test_case;

use crate::netns::{change, in_new_namespace, nft, replacement};
use crate::sample::{self, chain, goto, map, plain, rule, set};

fn add_chain(name: &str) -> Op {
    Op::AddChain(chain(name), ChainSpec::default())
}

fn index(value: u32, verdict: Option<Verdict>) -> Elements {
    [(Key::One(Datum::Index(value)), verdict)].into()
}

/// A table that leads every frame into a chain `user`, with a chain `used` that a rule of `user` jumps to, and a map `ports` with one element.
fn small() -> Vec<Op> {
    vec![
        add_chain("used"),
        add_chain("user"),
        Op::AddChain(chain("prerouting"), sample::base(Hook::Prerouting, false)),
        Op::SetRules(chain("prerouting"), vec![rule([Expr::Verdict(Verdict::Jump(chain("user")))])]),
        Op::SetRules(chain("user"), vec![rule([Expr::Verdict(Verdict::Jump(chain("used")))])]),
        Op::AddSet(set("ports"), map([KeyType::Index])),
        Op::AddElements(set("ports"), index(5, Some(goto("used")))),
    ]
}

#[test_case(add_chain("used"), Errno::EEXIST, SinkFault::Exists; "chain that exists")]
#[test_case(Op::DelChain(chain("none")), Errno::ENOENT, SinkFault::Missing; "chain that does not exist")]
#[test_case(Op::DelChain(chain("used")), Errno::EBUSY, SinkFault::Busy; "chain that is jumped to")]
#[test_case(Op::DelChain(chain("user")), Errno::EBUSY, SinkFault::Busy; "chain with rules")]
#[test_case(Op::AddSet(set("ports"), map([KeyType::Index])), Errno::EEXIST, SinkFault::Exists; "set that exists")]
#[test_case(Op::DelSet(set("none")), Errno::ENOENT, SinkFault::Missing; "set that does not exist")]
#[test_case(
    Op::AddElements(set("ports"), index(5, Some(goto("used")))), Errno::EEXIST, SinkFault::Exists;
    "element that exists"
)]
#[test_case(
    Op::AddElements(set("ports"), index(6, Some(goto("none")))), Errno::ENOENT, SinkFault::Missing;
    "element that leads nowhere"
)]
#[test_case(Op::DelElements(set("ports"), index(6, None)), Errno::ENOENT, SinkFault::Missing; "element that is not there")]
fn refused_operation_is_named_and_nothing_is_committed(op: Op, errno: Errno, fault: SinkFault) {
    let wanted_text = op.to_string();
    let (error, before, after) = in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&change(small())).unwrap();
        let before = kernel.observe().unwrap();
        let ops = [add_chain("first"), op, add_chain("last")];
        let error = kernel.apply(&change(ops)).unwrap_err();
        (error, before, kernel.observe().unwrap())
    });
    let NftError::Refused { op_index, errno: got, op: text, .. } = &error else {
        panic!("unexpected: {error}")
    };
    assert_eq!((*op_index, *got), (1, errno), "{error}");
    assert!(wanted_text.starts_with(text.as_str()), "{text} does not start {wanted_text}");
    assert_eq!(SinkFault::from(error), fault);
    assert_eq!(after, before);
}

#[test]
fn rules_that_lead_in_a_circle_are_refused_by_name() {
    let error = in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&change(small())).unwrap();
        let back = rule([Expr::Verdict(Verdict::Jump(chain("user")))]);
        kernel.apply(&change([add_chain("first"), Op::SetRules(chain("used"), vec![back])])).unwrap_err()
    });
    // Older kernels look for circles as such, newer ones for too many jumps in a row.
    let NftError::Refused { op_index: 1, errno: Errno::ELOOP | Errno::EMLINK, .. } = error else {
        panic!("unexpected: {error}")
    };
}

#[test]
fn of_thousands_of_elements_the_refused_one_is_named() {
    let range = |at: u16| (Key::Range(Datum::Port(at), Datum::Port(at + 1)), None);
    let many: Elements = (0..10_000).map(|at| range(4 * at)).chain([range(65534)]).collect();
    let error = in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        let there: Elements = [range(4 * 9000)].into();
        let spec = sample::interval(KeyType::Port);
        kernel.apply(&change([Op::AddSet(set("many"), spec), Op::AddElements(set("many"), there)])).unwrap();
        kernel.apply(&change([Op::AddElements(set("many"), many)])).unwrap_err()
    });
    let NftError::Refused { element, errno: Errno::EEXIST, .. } = &error else {
        panic!("unexpected: {error}")
    };
    assert_eq!(element.as_deref(), Some("36000-36001"), "{error}");
}

#[test]
fn of_thousands_of_refused_operations_the_first_is_named() {
    let error = in_new_namespace(|| {
        let ops: Vec<_> = (0..5000).map(|at| Op::DelChain(chain(&format!("none/{at}")))).collect();
        NftKernel::open().unwrap().apply(&change(ops)).unwrap_err()
    });
    let NftError::Refused { op_index: 0, errno: Errno::ENOENT, .. } = error else {
        panic!("unexpected: {error}")
    };
}

#[test]
fn batch_for_a_generation_that_has_passed_is_refused_as_busy() {
    let error = in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        let generation = kernel.generation().unwrap();
        nft(&["add", "table", "inet", "other"], "");
        kernel.apply_at(&change([add_chain("a")]), generation).unwrap_err()
    });
    assert_eq!(error.errno(), Some(Errno::ERESTART));
    assert_eq!(SinkFault::from(error), SinkFault::Busy);
}

#[test]
fn own_commits_and_those_to_other_tables_do_not_stand_in_the_way() {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&change([add_chain("a")])).unwrap();
        nft(&["-f", "-"], "table bridge other { chain a { }; }\n table inet mnp-nft-bridge { chain a { }; }");
        kernel.apply(&change([add_chain("b")])).unwrap();
        kernel.apply(&change([])).unwrap();
        kernel.apply(&change([add_chain("c")])).unwrap();
        assert_eq!(kernel.observe().unwrap().chains.len(), 3);
    });
}

#[test]
fn commit_after_somebody_elses_change_to_the_table_is_overtaken_until_observed() {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&change([add_chain("a")])).unwrap();
        nft(&["add", "rule", "bridge", TABLE, "a", "accept"], "");
        assert_eq!(kernel.apply(&change([add_chain("b")])), Err(NftError::Overtaken));
        assert_eq!(SinkFault::from(NftError::Overtaken), SinkFault::Busy);
        let observed = kernel.observe().unwrap();
        assert_eq!(observed.chains[&chain("a")].rules, [rule([Expr::Verdict(Verdict::Accept)])]);
        kernel.apply(&change([add_chain("b")])).unwrap();
    });
}

#[test]
fn without_the_privilege_the_answer_says_what_to_do() {
    let (unopened, unwritten) = in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        // Capabilities belong to the thread.
        caps::clear(None, caps::CapSet::Effective).unwrap();
        (NftKernel::open().err().unwrap(), kernel.apply(&change([add_chain("a")])).unwrap_err())
    });
    for error in [unopened, unwritten] {
        assert!(error.to_string().contains("run as root, or give the process CAP_NET_ADMIN"), "{error}");
        assert_eq!(SinkFault::from(error), SinkFault::Denied);
    }
}

#[test]
fn removal_takes_only_our_table_and_may_be_repeated() {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        nft(&["add", "table", "bridge", "other"], "");
        kernel.apply(&replacement(&sample::ruleset())).unwrap();
        kernel.remove_table().unwrap();
        kernel.remove_table().unwrap();
        assert_eq!(kernel.observe().unwrap(), Ruleset::default());
        assert_eq!(nft(&["list", "tables"], ""), "table bridge other\n");
    });
}

/// Reads announcements until one is a commit.
fn next_commit(monitor: &mut Monitor) -> Notice {
    let notice = monitor.next(Some(Duration::from_secs(20))).expect("announcements can be read");
    notice.expect("a commit is announced at once")
}

#[test]
fn monitor_tells_our_commits_from_others_and_our_table_from_others() {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        let mut monitor = kernel.monitor().unwrap();
        kernel.apply(&change([add_chain("a")])).unwrap();
        let ours = next_commit(&mut monitor);
        assert!(!ours.is_tampering(), "{ours:?}");
        nft(&["add", "table", "bridge", "other"], "");
        let elsewhere = next_commit(&mut monitor);
        assert!(!elsewhere.is_tampering(), "{elsewhere:?}");
        nft(&["add", "rule", "bridge", TABLE, "a", "accept"], "");
        let theirs = next_commit(&mut monitor);
        let Notice::Commit(commit) = &theirs else { panic!("unexpected: {theirs:?}") };
        assert_eq!((commit.program.as_str(), commit.ours), ("nft", false));
        let chains: Vec<&str> = commit.touch.chains.iter().map(ChainName::as_str).collect();
        assert_eq!((chains, commit.touch.all), (vec!["a"], false));
        assert!(commit.pid > 0 && theirs.is_tampering(), "{theirs:?}");
        assert_eq!(monitor.next(Some(Duration::ZERO)), Ok(None));
    });
}

#[test]
fn flushed_ruleset_is_announced_as_tampering_and_observed_as_empty() {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&change(small())).unwrap();
        let mut monitor = kernel.monitor().unwrap();
        nft(&["flush", "ruleset"], "");
        assert!(next_commit(&mut monitor).is_tampering());
        assert_eq!(kernel.observe().unwrap(), Ruleset::default());
    });
}

#[test]
fn announcements_lost_to_an_own_large_commit_do_not_stand_in_the_way() {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        let many: Vec<_> = (0..60_000).map(|at| add_chain(&format!("chain/{at}/{:0>200}", ""))).collect();
        let mut monitor = kernel.monitor().unwrap();
        kernel.apply(&change(many)).unwrap_or_else(|error| panic!("{error}"));
        let first = monitor.next(Some(Duration::ZERO)).unwrap();
        assert_eq!(first, Some(Notice::Overrun), "the commit was too small to lose any");
        kernel.apply(&change([add_chain("next")])).unwrap();
    });
}

#[test]
fn lost_announcements_count_as_tampering() {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        let mut monitor = kernel.monitor().unwrap();
        // More than the receive buffer holds.
        for round in 0..40 {
            let ops: Vec<_> =
                (0..5000).map(|at| add_chain(&format!("chain/{round}/{at}/{:0>100}", ""))).collect();
            kernel.apply(&change(ops)).unwrap();
        }
        let mut notices = core::iter::from_fn(|| monitor.next(Some(Duration::ZERO)).expect("readable"));
        assert!(notices.any(|notice| notice == Notice::Overrun && notice.is_tampering()));
    });
}

/// Changes by hand that core must be able to see.
#[test_case("add rule bridge mnp-nft-bridge user ip saddr { 10.0.0.1, 10.0.0.2 } accept"; "rule with a set of its own")]
#[test_case("add rule bridge mnp-nft-bridge user jump { accept; }"; "rule with a chain of its own")]
#[test_case("add rule bridge mnp-nft-bridge user meta mark 5 accept"; "rule with a field of no use here")]
#[test_case("add rule bridge mnp-nft-bridge user limit rate 5/second accept"; "rule with a limit")]
#[test_case("add rule bridge mnp-nft-bridge user log prefix \"x\""; "rule with a log")]
#[test_case("add rule bridge mnp-nft-bridge user meta mark set 5"; "rule that sets a mark")]
#[test_case("insert rule bridge mnp-nft-bridge user ip daddr 10.0.0.0/24 ip protocol tcp accept"; "rule with a prefix")]
#[test_case("insert rule bridge mnp-nft-bridge used accept"; "rule of ours in another chain")]
#[test_case("flush chain bridge mnp-nft-bridge user"; "flushed chain")]
#[test_case("add set bridge mnp-nft-bridge odd { type mark; }"; "set of an unused type")]
#[test_case("add map bridge mnp-nft-bridge odd { type ipv4_addr : mark; }"; "map to values")]
#[test_case("add set bridge mnp-nft-bridge odd { type ipv4_addr; flags timeout; }"; "set with timeouts")]
#[test_case("add set bridge mnp-nft-bridge odd { type ipv4_addr . inet_service; flags interval; }"; "set of boxes")]
#[test_case("add set bridge mnp-nft-bridge odd { type ipv4_addr; size 5; }"; "set with a size")]
#[test_case("add element bridge mnp-nft-bridge ports { 6 : drop }"; "element")]
#[test_case("delete element bridge mnp-nft-bridge ports { 5 }"; "missing element")]
#[test_case("add element bridge mnp-nft-bridge ports { * : drop }"; "element for everything else")]
#[test_case("add element bridge mnp-nft-bridge ports { 6 comment \"mine\" : drop }"; "element with a comment")]
#[test_case("add chain bridge mnp-nft-bridge odd { type filter hook input priority 7; }"; "base chain")]
#[test_case("add table bridge mnp-nft-bridge { flags dormant; }"; "table put to sleep")]
fn change_by_hand_is_observed_and_a_replacement_undoes_it(by_hand: &str) {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        let mut wanted = Ruleset::default();
        let first = replacement(&small_and_a_set());
        wanted.apply(&first).unwrap();
        kernel.apply(&first).unwrap();
        assert_eq!(kernel.observe().unwrap(), wanted);
        nft(&["-f", "-"], by_hand);
        let seen = match kernel.observe_touched().unwrap() {
            Observation::Touched(touched) => with(wanted.clone(), touched),
            Observation::Whole(ruleset) if by_hand.contains("dormant") => ruleset,
            Observation::Whole(_) => panic!("{by_hand} made all of the table be read"),
        };
        let observed = kernel.observe().unwrap();
        assert_eq!(seen, observed, "what was touched, and the whole");
        assert_ne!(observed, wanted, "{by_hand} went unnoticed");
        let (scope, ops) = policy_core::ruleset::diff(&observed, &wanted);
        let repair = policy_core::Transaction { generation: policy_core::Generation(2), scope, ops };
        kernel.apply(&repair).unwrap_or_else(|error| panic!("{error}\n{observed}\n{repair}"));
        assert_eq!(kernel.observe().unwrap(), wanted);
    });
}

/// A ruleset with what was touched as it is now.
fn with(mut ruleset: Ruleset, touched: Touched) -> Ruleset {
    for (name, chain) in touched.chains {
        ruleset.chains.remove(&name);
        ruleset.chains.extend(chain.map(|chain| (name, chain)));
    }
    for (name, set) in touched.sets {
        ruleset.sets.remove(&name);
        ruleset.sets.extend(set.map(|set| (name, set)));
    }
    ruleset
}

#[test]
fn what_was_touched_is_not_trusted_when_announcements_were_lost() {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&change(small())).unwrap();
        kernel.observe().unwrap();
        let untouched = kernel.observe_touched().unwrap();
        assert_eq!(untouched, Observation::Touched(Touched::default()), "nobody has done anything");
        let many = (0..60_000).map(|at| add_chain(&format!("chain/{at}/{:0>200}", ""))).collect::<Vec<_>>();
        NftKernel::open().unwrap().apply_at(&change(many), kernel.generation().unwrap()).unwrap();
        let Observation::Whole(whole) = kernel.observe_touched().unwrap() else {
            panic!("only a part was read")
        };
        assert!(whole.chains.len() > 60_000);
    });
}

#[test]
fn commits_to_other_tables_touch_nothing() {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&change(small())).unwrap();
        kernel.observe().unwrap();
        nft(&["add", "table", "bridge", "other"], "");
        kernel.apply(&change([add_chain("more")])).unwrap();
        nft(&["add", "table", "bridge", "another"], "");
        assert_eq!(kernel.observe_touched().unwrap(), Observation::Touched(Touched::default()));
    });
}

fn small_and_a_set() -> Ruleset {
    let mut ruleset = Ruleset::default();
    let mut ops = small();
    ops.push(Op::AddSet(set("peers"), plain([KeyType::Ip4])));
    ruleset.apply(&change(ops)).expect("a sound table");
    ruleset
}
