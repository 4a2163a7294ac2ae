//! `run`: the agent of a node.

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::{panic, process};

use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use driver_kube::Options;
use driver_nft::{Capabilities, Capability, NftKernel, StateWish};
use nix::sys::signal::{SigSet, Signal};
use policy_core::{BridgeNames, Config};
use tracing::{info, warn};

use crate::Answer;
use crate::cli::Settings;
use crate::run::cluster::Cluster;
use crate::run::directory::Directory;
use crate::run::dry_run::DryRun;
use crate::run::enforcer::Enforcer;
use crate::run::feedback::Feedback;
use crate::run::journal::Journal;
use crate::run::log::{self, LogForm};
use crate::run::metrics::Metrics;
use crate::run::{Content, Inbox, frame_log, http, node_events, spawn};

/// How many objects' problems wait for being told as Events.
const NEWS_MAX: usize = 1_024;

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(
    after_help = "SIGTERM and SIGINT end the agent and leave enforcement as it is; `cleanup` removes it. Needs CAP_NET_ADMIN in
the node's network namespace. The environment variable RUST_LOG sets the level of the log.

Examples:
  mnp-nft-bridge run --node worker-1 --kubeconfig ~/.kube/config
  mnp-nft-bridge run --node edge-1 --manifests /etc/mnp-nft-bridge
  mnp-nft-bridge run --node edge-1 --manifests ./manifests --dry-run"
)]
pub(crate) struct Arguments {
    /// The node whose pods are enforced, as in the pods' spec.nodeName.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node: String,
    /// A kubeconfig file that says where the API server is; without it, the environment does: KUBECONFIG, or the service
    /// account of the pod.
    #[arg(long, value_name = "FILE", conflicts_with = "manifests")]
    kubeconfig: Option<PathBuf>,
    /// Instead of an API server: a directory of manifests, read with its subdirectories and watched for changes.
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// The API server is first asked at a random moment within so many seconds, so that not all agents ask at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    start_within: u64,
    #[command(flatten)]
    settings: Settings,
    /// CNI plugins whose networks are Linux bridges.
    #[arg(long, value_name = "TYPE", value_delimiter = ',', default_value = "bridge,cnv-bridge")]
    bridge_plugins: Vec<Arc<str>>,
    /// Where configurations lie that a NetworkAttachmentDefinition leaves to the node's disk.
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/multus/net.d")]
    cni_config_dir: PathBuf,
    /// What follows connections: the kernel's conntrack on bridges, dynamic sets, or whichever the kernel has.
    #[arg(long, value_name = "auto|conntrack|sets", default_value_t)]
    state: StateWish,
    /// Change nothing; log what would be committed.
    #[arg(long)]
    dry_run: bool,
    /// Where /metrics, /healthz and /readyz are served, such as `[::]:9642`; nowhere, when absent.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MNP_NFT_BRIDGE_METRICS_ADDRESS")]
    metrics_address: Option<SocketAddr>,
    /// Write everything that the agent hears and does to this file, for `replay`. What is there is kept as long as it fits.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// How long the journal may become, in MiB, with the second file beside it.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    journal_mib: u64,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogForm::Text)]
    log: LogForm,
}

/// Runs until a signal comes.
pub(crate) fn run(arguments: &Arguments) -> Result<Answer> {
    log::start(arguments.log)?;
    end_with_any_thread();
    let signals = blocked_signals()?;
    let capabilities = Capabilities::probe().context("cannot find out what the kernel can do")?;
    for (capability, support) in capabilities.iter() {
        info!(capability = capability.name(), present = support.is_present(), "kernel");
    }
    let state = capabilities.state(arguments.state)?;
    info!(%state, "chosen");
    let mut kernel = NftKernel::open().context("cannot open nftables")?;
    if !capabilities.of(Capability::ChainDeletion).is_present() {
        kernel.delete_apart();
    }
    let (sender, inbox) = channel();
    let to_enforcer = Inbox::new(sender);
    // Before the table is read for the first time, so that no change after that is missed.
    let monitor = kernel.monitor().context("cannot listen to changes of the tables")?;
    node_events::watch_table(monitor, to_enforcer.clone())?;
    node_events::watch_ports(to_enforcer.clone())?;
    let options = Options {
        plugins: arguments.bridge_plugins.iter().cloned().collect(),
        config_directory: Some(arguments.cni_config_dir.clone()),
    };
    let metrics = Metrics::default();
    if let Some(address) = arguments.metrics_address {
        http::serve(address, to_enforcer.clone(), metrics.clone())?;
    }
    let events = if let Some(directory) = &arguments.manifests {
        Directory::new(directory.clone(), options).watch(to_enforcer.clone())?;
        None
    } else {
        let start_within = Duration::from_secs(arguments.start_within);
        let kubeconfig = arguments.kubeconfig.clone();
        // A dry run changes nothing in the cluster either.
        let (events, news) = (!arguments.dry_run).then(|| tokio::sync::mpsc::channel(NEWS_MAX)).unzip();
        let (node, metrics) = (arguments.node.as_str().into(), metrics.clone());
        Cluster { kubeconfig, start_within, options, node, news, metrics }.watch(to_enforcer.clone())?;
        events
    };
    let feedback = Feedback::new(metrics.clone(), events);
    let bridge_names = BridgeNames::of(capabilities.of(Capability::Ibrname).is_present());
    let mut config =
        Config { state: state.engine, bridge_names, ..arguments.settings.config(&arguments.node) };
    config.log = config.log.filter(|_| capabilities.of(Capability::FrameLog).is_present());
    match config.log {
        // A dry run loads no rule that could tell of a frame, and must not take the group from an agent that does.
        Some(log) if !arguments.dry_run => frame_log::watch(log, to_enforcer.clone(), metrics)?,
        Some(_) => {}
        None => warn!("this kernel cannot tell of frames: nothing is logged of them"),
    }
    stop_on(signals, to_enforcer)?;
    let journal = arguments.journal.as_deref();
    let journal =
        journal.map(|path| Journal::open(path, arguments.journal_mib << 20, &config)).transpose()?;
    info!(node = arguments.node, dry_run = arguments.dry_run, "started");
    if arguments.dry_run {
        Enforcer::new(&config, DryRun::new(kernel), inbox, feedback, journal).work()?;
    } else {
        Enforcer::new(&config, kernel, inbox, feedback, journal).work()?;
    }
    info!("ended; enforcement stays as it is");
    Ok(Answer::default())
}

/// An agent without one of its threads would live on half deaf. It ends as a whole, and whoever supervises it starts another.
fn end_with_any_thread() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        told(panic);
        process::abort();
    }));
}

/// The signals that end the agent, blocked in this thread and in all that it starts.
fn blocked_signals() -> Result<SigSet> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block().context("cannot block signals")?;
    Ok(signals)
}

fn stop_on(signals: SigSet, inbox: Inbox) -> Result<()> {
    let wait = move || {
        let content = match signals.wait() {
            Ok(signal) => {
                info!(%signal, "asked to end");
                Content::Stop
            }
            Err(error) => Content::Failed(error.into()),
        };
        inbox.send(content);
    };
    spawn("signals", wait)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};
    use std::{env, thread};

    use super::end_with_any_thread;

    #[test]
    fn thread_that_panics_ends_the_whole_program() {
        const ALONE: &str = "MNP_NFT_BRIDGE_TEST_ALONE";
        if env::var_os(ALONE).is_some() {
            end_with_any_thread();
            drop(thread::spawn(|| panic!("as planned")).join());
            return;
        }
        let status = Command::new(env::current_exe().expect("a program knows where it is"))
            .args(["thread_that_panics_ends_the_whole_program", "--nocapture"])
            .env(ALONE, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("it starts again");
        assert_eq!(status.signal(), Some(6), "it is aborted, and does not return");
    }
}
