//! How long the core takes: from scratch, and per event, at growing sizes of the cluster.
#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test may panic, and is no part of the core"
)]

mod cluster;
#[path = "cluster/obey.rs"]
mod obey;

use cluster::{NODE, Size, informed, pod};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use obey::obey;
use policy_core::model::Object;
use policy_core::{Config, Input, Time, compile};

const SIZES: [Size; 3] = [
    Size { local_pods: 250, pods: 1_000, namespaces: 20, policies: 50 },
    Size { local_pods: 250, pods: 10_000, namespaces: 200, policies: 500 },
    Size { local_pods: 250, pods: 100_000, namespaces: 2_000, policies: 5_000 },
];

/// The resident memory of this process in MiB, as the kernel counts it (`VmRSS` of `/proc/self/status`, proc(5)).
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// What a compiler that knows the cluster keeps in memory. The largest size first: memory that is given back stays with
/// the process, and would hide what a later one needs.
fn memory(_: &mut Criterion) {
    for size in SIZES.into_iter().rev().take(1) {
        let before = resident_mib();
        let mut compiler = informed(size);
        obey(&mut compiler);
        let after = resident_mib();
        let scratch = compile(compiler.world(), &Config::new(NODE));
        assert_eq!(&scratch, compiler.desired());
        println!(
            "memory: {} pods, {} namespaces, {} policies, {} local: {} MiB with the compiler, its index and both rulesets; \
             {} MiB while compiling from scratch besides",
            size.pods,
            size.namespaces,
            size.policies,
            size.local_pods,
            after.saturating_sub(before),
            resident_mib().saturating_sub(before)
        );
    }
}

fn from_scratch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("from scratch");
    group.sample_size(10);
    for size in SIZES {
        let compiler = informed(size);
        let config = Config::new(NODE);
        group.bench_with_input(BenchmarkId::from_parameter(size.pods), &size, |bencher, _| {
            bencher.iter(|| compile(compiler.world(), &config));
        });
    }
    group.finish();
}

fn one_event(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one pod event");
    for size in SIZES {
        let mut compiler = informed(size);
        obey(&mut compiler);
        // A peer in the namespace of a local pod, moved into the selected group and out of it again.
        let number = size.namespaces * 20;
        let mut app = 1;
        group.bench_with_input(BenchmarkId::from_parameter(size.pods), &size, |bencher, _| {
            bencher.iter_batched(
                || {
                    app = 3 - app;
                    Input::Upsert(Object::Pod(pod(size, number, app)))
                },
                |input| {
                    compiler.handle_input(input, Time::default());
                    obey(&mut compiler)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, memory, from_scratch, one_event);
criterion_main!(benches);
