//! From a change of a pod's label, as a client of a real API server sends it, to the kernel's announcement of the changed set
//! element; and how much memory the agent takes meanwhile, and with many pods: `cargo ci bench cluster`.
//!
//! ```text
//!  client --PATCH--> API server --watch--> agent --netlink--> kernel --announcement--> benchmark
//!    ^ the clock starts    |                                                 it stops ^
//!                          +--watch--> benchmark: what does not depend on the agent
//! ```
//!
//! Everything shares one machine: API server, etcd, the agent and the benchmark. `-- --pods 0` leaves the second part out.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a benchmark may panic and talks to a terminal"
)]

mod listen;
mod report;
mod world;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use control_plane::ControlPlane;
use control_plane::api::Administrator;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sched::{CloneFlags, unshare};

use listen::Heard;
use report::Latencies;
use world::{LOCAL, NODE, POLICIES};

/// All pods while latency is measured.
const PODS: usize = 2_000;
/// All pods when memory is measured; `--pods` names another number.
const MANY_PODS: usize = 50_000;
/// How many pods change in a second, and how many do in all.
const PER_SECOND: u32 = 50;
const EVENTS: u32 = 3_000;
/// What is left out at the beginning, while connections are made.
const WARM_UP: usize = 100;

/// What must hold.
const MEDIAN_MAX: Duration = Duration::from_millis(10);
const P99_MAX: Duration = Duration::from_millis(50);
const RSS_MAX_KIB: u64 = 64 << 10;
const MANY_PODS_RSS_MAX_KIB: u64 = 256 << 10;

/// What the agent says when it has heard of everything and the kernel has taken it.
const SETTLED: &str = "everything is known, and the kernel enforces it";

fn main() -> Result<()> {
    // `cargo bench` adds words of its own.
    let arguments: Vec<String> = env::args().collect();
    let many = arguments.iter().position(|word| word == "--pods").and_then(|at| arguments.get(at + 1));
    let many = many.map_or(Ok(MANY_PODS), |pods| pods.parse()).context("--pods is no number")?;
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace of its own: run as root")?;
    world::wire()?;
    let programs =
        env::var_os("KUBEBUILDER_ASSETS").context("no control plane: run `cargo ci bench cluster`")?;
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-cluster");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    let plane = ControlPlane::start(Path::new(&programs), &directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = runtime.block_on(measure(&plane, many));
    drop(plane);
    fs::remove_dir_all(&directory)?;
    measured
}

async fn measure(plane: &ControlPlane, many: usize) -> Result<()> {
    let administrator = Administrator::connect(&plane.admin()).await?;
    world::write_base(plane, &administrator).await?;
    world::write_pods(&administrator, 0..PODS).await?;
    let kubeconfig = plane.kubeconfig("agent", &plane.agents_token(&["--duration=24h"])?)?;
    let mut missed = measure_events(plane, &administrator, &kubeconfig).await?;
    if many > PODS {
        world::write_pods(&administrator, PODS..many).await?;
        let begun = Instant::now();
        let agent = Agent::start(&kubeconfig)?;
        let took = begun.elapsed();
        let (rss, peak) = agent.memory()?;
        println!("with {many} pods: settled after {took:.1?}; memory: {rss} KiB, at most {peak} KiB");
        if peak > MANY_PODS_RSS_MAX_KIB {
            missed.push(format!("the memory was {peak} KiB, more than {MANY_PODS_RSS_MAX_KIB} KiB"));
        }
    }
    ensure!(missed.is_empty(), "{}", missed.join("; "));
    Ok(())
}

/// Measures what becomes of events, and says so; which goals were missed.
async fn measure_events(
    plane: &ControlPlane,
    administrator: &Administrator,
    kubeconfig: &Path,
) -> Result<Vec<String>> {
    println!(
        "{LOCAL} local pods, {PODS} pods in all, {POLICIES} policies, {PER_SECOND} pods change in a second"
    );
    let agent = Agent::start(kubeconfig)?;
    let config = Kubeconfig::read_from(plane.admin())?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let (to_api, from_api) = channel();
    let (to_kernel, from_kernel) = channel();
    listen::to_the_api(config, to_api)?;
    listen::to_the_kernel(to_kernel)?;
    let sent = send(administrator).await?;
    let (in_watch, in_kernel) = (latencies(&sent, &from_api), latencies(&sent, &from_kernel));
    // The other client may hear of an event later than the agent.
    let share = in_kernel.iter().zip(&in_watch).map(|(kernel, watch)| kernel.saturating_sub(*watch));
    let share = Latencies::new(share.collect());
    let (in_watch, in_kernel) = (Latencies::new(in_watch), Latencies::new(in_kernel));
    println!("{}", in_watch.line("to a client that only watches"));
    println!("{}", share.line("from there to the kernel"));
    println!("{}", in_kernel.line("to the kernel, in all"));
    println!("{}", in_kernel.histogram());
    let (rss, peak) = agent.memory()?;
    println!("the agent's memory: {rss} KiB, at most {peak} KiB");
    let mut missed = Vec::new();
    for (name, thousandths, most) in [("median", 500, MEDIAN_MAX), ("p99", 990, P99_MAX)] {
        let (took, without_agent) = (in_kernel.quantile(thousandths), in_watch.quantile(thousandths));
        if took > most {
            missed.push(format!(
                "the {name} is {took:.1?}, more than {most:?}; {without_agent:.1?} without the agent"
            ));
        }
    }
    if rss > RSS_MAX_KIB {
        missed.push(format!("the memory is {rss} KiB, more than {RSS_MAX_KIB} KiB"));
    }
    Ok(missed)
}

/// Changes pods, at an even pace whatever the answers take; when each was sent.
async fn send(administrator: &Administrator) -> Result<Vec<Heard>> {
    let mut apps: Vec<usize> = (0..PODS).map(world::first_app).collect();
    let mut sent = Vec::new();
    let mut running = FuturesUnordered::new();
    let begun = tokio::time::Instant::now();
    for event in 0..EVENTS {
        let due = begun + Duration::from_secs(1) * event / PER_SECOND;
        while let Ok(Some(answer)) = tokio::time::timeout_at(due, running.next()).await {
            answer?;
        }
        tokio::time::sleep_until(due).await;
        // Pods of other nodes: those of this one keep every policy in use. Each comes once before any comes again, as the step
        // shares no factor with their number.
        let number = LOCAL + usize::try_from(event).unwrap() * 1_237 % (PODS - LOCAL);
        let app = apps.get_mut(number).context("a pod")?;
        *app = world::next_app(*app);
        let patch = world::relabelled(*app);
        sent.push((Instant::now(), number));
        running.push(async move { administrator.patch(&world::pod_target(number), &patch, false).await });
    }
    while let Some(answer) = running.next().await {
        answer?;
    }
    // What is on its way arrives within a second, or counts as unheard.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(sent)
}

/// The time from each event to the first that was heard of its pod afterwards.
fn latencies(sent: &[Heard], heard: &Receiver<Heard>) -> Vec<Duration> {
    let mut by_pod: Vec<Vec<Instant>> = vec![Vec::new(); PODS];
    for (at, number) in heard.try_iter() {
        if let Some(times) = by_pod.get_mut(number) {
            times.push(at);
        }
    }
    let first = |(at, number): &Heard| {
        by_pod.get(*number)?.iter().find(|heard| *heard >= at).map(|heard| *heard - *at)
    };
    let found: Vec<Duration> = sent.iter().skip(WARM_UP).filter_map(first).collect();
    let unheard = sent.len() - WARM_UP - found.len();
    assert!(unheard == 0, "nothing was heard of {unheard} events");
    found
}

/// The agent's program, optimised as it is shipped; killed when dropped.
struct Agent(Child);

impl Agent {
    /// Starts it, and waits until it has settled.
    fn start(kubeconfig: &Path) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mnp-nft-bridge"))
            .args(["run", "--node", NODE, "--start-within", "0", "--kubeconfig"])
            .arg(kubeconfig)
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the agent")?;
        let mut log = BufReader::new(child.stderr.take().context("stderr is a pipe")?);
        let agent = Self(child);
        let mut line = String::new();
        while !line.contains(SETTLED) {
            line.clear();
            ensure!(log.read_line(&mut line)? > 0, "the agent has ended");
        }
        // What it says from now on is of no interest, but somebody must read it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(agent)
    }

    /// The memory that it has now, and the most that it had, in KiB (`proc_pid_status(5)`).
    fn memory(&self) -> Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
            line.split_whitespace().nth(1).context("no number")?.parse::<u64>().context("no number")
        };
        Ok((field("VmRSS")?, field("VmHWM")?))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
