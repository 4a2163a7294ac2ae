//! From an input of the core to the kernel's acknowledgement, on a real kernel in a network namespace of its own.
#![allow(
    clippy::print_stderr,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a benchmark may panic and talks to a terminal"
)]

#[path = "../../core/benches/cluster/mod.rs"]
mod cluster;

use cluster::{Size, informed, pod};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use driver_nft::NftKernel;
use nix::sched::{CloneFlags, unshare};
use policy_core::model::Object;
use policy_core::{Compiler, Input, Outcome, Time, pump};

const SIZES: [Size; 3] = [
    Size { local_pods: 20, pods: 520, namespaces: 20, policies: 40 },
    Size { local_pods: 200, pods: 5_200, namespaces: 20, policies: 400 },
    Size { local_pods: 1_000, pods: 21_000, namespaces: 20, policies: 400 },
];

/// Serves the compiler and returns how many operations the kernel took.
fn serve(compiler: &mut Compiler, kernel: &mut NftKernel) -> usize {
    let outcomes = pump(compiler, kernel, Time::default());
    let committed = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Committed(transaction) => transaction.ops.len(),
        // The first, large commit may overrun the buffer of the change notifications: it is then asked for again.
        Outcome::Observed | Outcome::Refused(..) | Outcome::Reported(_) => 0,
        Outcome::Unobservable(error) => panic!("{error}"),
        _ => panic!("an outcome that this benchmark does not know"),
    });
    committed.sum()
}

fn one_label(criterion: &mut Criterion) {
    unshare(CloneFlags::CLONE_NEWNET)
        .expect("a network namespace of its own: run as root, or under `unshare --user --map-root-user`");
    let mut group = criterion.benchmark_group("one label, input to commit");
    for size in SIZES {
        let mut kernel = NftKernel::open().unwrap();
        kernel.remove_table().unwrap();
        let mut compiler = informed(size);
        serve(&mut compiler, &mut kernel);
        assert!(compiler.is_settled(), "the kernel did not take the first ruleset");
        let ruleset = compiler.desired();
        let rules: usize = ruleset.chains.values().map(|chain| chain.rules.len()).sum();
        let elements: usize = ruleset.sets.values().map(|set| set.elements.len()).sum();
        eprintln!(
            "{} local pods, {} pods, {} policies: {} chains, {rules} rules, {} sets, {elements} elements",
            size.local_pods,
            size.pods,
            size.policies,
            ruleset.chains.len(),
            ruleset.sets.len()
        );
        // A remote peer in the namespace of local pods, moved between two groups that are in use.
        let number = size.namespaces * (size.local_pods / size.namespaces).max(20);
        let mut app = 0;
        group.bench_function(BenchmarkId::from_parameter(size.local_pods), |bencher| {
            bencher.iter_batched(
                || {
                    app = usize::from(app == 0);
                    Input::Upsert(Object::Pod(pod(size, number, app)))
                },
                |input| {
                    compiler.handle_input(input, Time::default());
                    assert!(serve(&mut compiler, &mut kernel) > 0);
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, one_label);
criterion_main!(benches);
