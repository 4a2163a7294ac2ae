//! From the notification of somebody else's change to the kernel's acknowledgement of the repair, on a real kernel in a network
//! namespace of its own.
//!
//! The change is made by another handle; the clock starts when the listening thread, which is the agent's, has the notification,
//! and stops when the core has nothing left to do. Each repaired table is read back and compared, outside the measurement.
#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a benchmark may panic and talks to a terminal"
)]

#[path = "../../core/benches/cluster/mod.rs"]
mod cluster;

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Size, informed};
use driver_nft::{NftKernel, Notice};
use nix::sched::{CloneFlags, unshare};
use policy_core::ruleset::{Elements, Op, Ruleset};
use policy_core::{Compiler, Generation, Input, Kernel as _, Scope, Time, Transaction, pump};

const SIZES: [Size; 3] = [
    Size { local_pods: 20, pods: 520, namespaces: 20, policies: 40 },
    Size { local_pods: 60, pods: 1_560, namespaces: 20, policies: 120 },
    Size { local_pods: 200, pods: 5_200, namespaces: 20, policies: 400 },
];

/// How often each change is made and repaired.
const ROUNDS: usize = 40;

/// What the median must not exceed.
const MEDIAN_MAX: Duration = Duration::from_millis(50);

/// With more pods than these, a table that was deleted takes longer: all of it is written again, and the kernel works longest.
const DELETED_WITHIN_FOR: usize = 60;

/// What somebody else does, and how.
type Change = (&'static str, fn(&mut NftKernel, &Ruleset));

const DELETED: &str = "the table is deleted";

const CHANGES: [Change; 4] = [
    ("an element is deleted", |kernel, held| {
        let (name, set) = held.sets.iter().max_by_key(|(_, set)| set.elements.len()).unwrap();
        let first: Elements =
            set.elements.iter().take(1).map(|(key, verdict)| (key.clone(), verdict.clone())).collect();
        commit(kernel, Op::DelElements(name.clone(), first));
    }),
    ("a chain is emptied", |kernel, held| {
        let (name, _) = held.chains.iter().find(|(_, chain)| !chain.rules.is_empty()).unwrap();
        commit(kernel, Op::SetRules(name.clone(), Vec::new()));
    }),
    ("a rule is changed", |kernel, held| {
        let (name, chain) = held.chains.iter().find(|(_, chain)| chain.rules.len() > 1).unwrap();
        commit(kernel, Op::SetRules(name.clone(), chain.rules.iter().skip(1).cloned().collect()));
    }),
    (DELETED, |kernel, _| kernel.remove_table().unwrap()),
];

fn commit(kernel: &mut NftKernel, op: Op) {
    let generation = kernel.generation().unwrap();
    let transaction = Transaction { generation: Generation(0), scope: Scope::Change, ops: vec![op] };
    kernel.apply_at(&transaction, generation).unwrap();
}

fn main() {
    unshare(CloneFlags::CLONE_NEWNET)
        .expect("a network namespace of its own: run as root, or under `unshare --user --map-root-user`");
    println!("{:>10} {:>8}  {:24} {:>10} {:>10}", "local pods", "pods", "change", "median", "longest");
    for size in SIZES {
        let mut kernel = NftKernel::open().unwrap();
        kernel.remove_table().unwrap();
        let mut compiler = informed(size);
        settle(&mut compiler, &mut kernel);
        let tampered = listen(&kernel);
        let mut other = NftKernel::open().unwrap();
        for (what, change) in CHANGES {
            let mut took: Vec<Duration> = (0..ROUNDS)
                .map(|_| {
                    // Large commits of our own may have overrun the listener.
                    tampered.try_iter().for_each(drop);
                    change(&mut other, compiler.desired());
                    let heard = tampered.recv().unwrap();
                    compiler.handle_input(Input::Tampered, Time::default());
                    settle(&mut compiler, &mut kernel);
                    let took = heard.elapsed();
                    assert!(kernel.observe().unwrap() == *compiler.desired(), "not repaired");
                    took
                })
                .collect();
            took.sort_unstable();
            let (median, longest) = (took.get(ROUNDS / 2).unwrap(), took.last().unwrap());
            println!("{:>10} {:>8}  {what:24} {median:>10.1?} {longest:>10.1?}", size.local_pods, size.pods);
            let bound = what != DELETED || size.local_pods <= DELETED_WITHIN_FOR;
            assert!(!bound || *median <= MEDIAN_MAX, "the median is more than {MEDIAN_MAX:?}");
        }
    }
}

/// The moments at which a change of somebody else's was heard of, from a thread like the agent's.
fn listen(kernel: &NftKernel) -> Receiver<Instant> {
    let mut monitor = kernel.monitor().unwrap();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        loop {
            let notice = monitor.next(None).unwrap();
            let heard = Instant::now();
            if notice.as_ref().is_some_and(Notice::is_tampering) && sender.send(heard).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Serves the core until it wants nothing more; after a refusal it wants to try again later.
fn settle(compiler: &mut Compiler, kernel: &mut NftKernel) {
    let mut now = Time::default();
    loop {
        pump(compiler, kernel, now);
        if compiler.is_settled() {
            return;
        }
        let (at, _) = compiler.poll_timeout().unwrap();
        now = now.max(at);
        compiler.handle_input(Input::Tick, now);
    }
}
