//! The command line: what every verb shares. The verbs' own arguments are in their files.

use alloc::sync::Arc;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use driver_kube::Options;
use policy_core::model::{Guard, NamespacedName};
use policy_core::{Config, LogSettings};

use crate::verbs::{check, cleanup, completions, explain, matrix, probe, render, replay, run};

/// `MultiNetworkPolicy` on Linux bridges: what a policy means, for people and scripts.
///
/// `run` is the agent of a node. `probe` and `cleanup` speak with this machine's kernel. All other verbs work offline, from
/// files; nothing is asked of a cluster or a kernel.
#[derive(Debug, Parser)]
#[command(name = "mnp-nft-bridge", version, after_help = EXIT_STATUS, max_term_width = 110)]
pub(crate) struct Cli {
    /// The form of the answer.
    #[arg(long, global = true, value_enum, default_value_t = Form::Text)]
    pub(crate) output: Form,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_STATUS: &str = "Exit status:
  0  the question is answered
  1  `check` found problems, or `replay` something else than was recorded
  2  there is no answer: wrong arguments, files that cannot be read, pods or networks that are not there";

/// The form of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Form {
    /// JSON, for programs.
    Json,
    /// Text, for people.
    Text,
}

/// A verb and its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List every problem of the policies and networks.
    Check(check::Arguments),
    /// Remove the table from this machine's kernel: enforcement ends.
    Cleanup(cleanup::Arguments),
    /// Print the completions of a shell.
    Completions(completions::Arguments),
    /// Say whether one end reaches another, and why.
    Explain(explain::Arguments),
    /// Show who reaches whom on a network.
    Matrix(matrix::Arguments),
    /// Say what this machine's kernel can do, found out by trying.
    Probe(probe::Arguments),
    /// Print the ruleset that a node gets, as nft text.
    Render(render::Arguments),
    /// Do again what an agent's journal tells, and print every transaction.
    Replay(replay::Arguments),
    /// Enforce the policies on this node, until a signal ends it.
    Run(run::Arguments),
}

/// Where the manifests are, and how they are read.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// A file of manifests (YAML or JSON, also `kind: List`), a directory whose .yaml, .yml and .json files are read with
    /// those of its subdirectories, or - for standard input. Repeatable; a later object replaces an earlier one of its name.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// CNI plugins whose networks are Linux bridges.
    #[arg(long, value_name = "TYPE", value_delimiter = ',', default_value = "bridge,cnv-bridge")]
    bridge_plugins: Vec<Arc<str>>,
    /// Where the configurations lie that a NetworkAttachmentDefinition leaves to the nodes' disks, such as a copy of
    /// /etc/cni/multus/net.d.
    #[arg(long, value_name = "DIR")]
    cni_config_dir: Option<PathBuf>,
}

impl Source {
    /// How manifests are converted.
    pub(crate) fn options(&self) -> Options {
        Options {
            plugins: self.bridge_plugins.iter().cloned().collect(),
            config_directory: self.cni_config_dir.clone(),
        }
    }
}

/// The agent's settings that change what policies become.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Settings {
    /// Let ICMP pass whatever the rules say, as the agent does with this flag.
    #[arg(long)]
    accept_icmp: bool,
    /// Let ICMPv6 pass whatever the rules say, as the agent does with this flag.
    #[arg(long)]
    accept_icmpv6: bool,
    /// The guard of networks whose definition has no annotation mnp-nft-bridge.io/guard: a port of a pod then sends only
    /// with the pod's own MAC (mac), or also only with its own addresses (mac-ip).
    #[arg(long, value_name = "GUARD")]
    guard: Option<GuardChoice>,
    /// What passes a port that nobody is known to own, on bridges of networks that some policy names. With drop, nothing
    /// does until its owner is known; uplinks always pass.
    #[arg(long, value_enum, default_value_t)]
    unknown_ports: UnknownPorts,
    /// Bridge ports that lead to a network although they look like a pod's, such as a veth to another namespace: they are
    /// never treated as unknown.
    #[arg(long = "uplink", value_name = "PORT", value_delimiter = ',')]
    uplinks: Vec<Arc<str>>,
    #[command(flatten)]
    log: LogArguments,
}

/// How frames are logged that policies want logged.
#[derive(Clone, Copy, Debug, Args)]
struct LogArguments {
    /// The netfilter log group by which the agent hears of frames that policies want logged (annotation
    /// mnp-nft-bridge.io/log); no other program may listen to it.
    #[arg(long, value_name = "GROUP", default_value_t = LogSettings::default().group)]
    log_group: u16,
    /// How many frames per second each place that logs may log: an attachment's denied frames of one direction, or what a
    /// policy allows of one protocol. Twice as many may be logged at once.
    #[arg(long, value_name = "FRAMES", default_value_t = LogSettings::default().rate,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    log_rate: u32,
}

impl Default for LogArguments {
    fn default() -> Self {
        let LogSettings { group, rate } = LogSettings::default();
        Self { log_group: group, log_rate: rate }
    }
}

/// What passes a port that nobody is known to own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum UnknownPorts {
    /// Everything.
    #[default]
    Accept,
    /// Nothing.
    Drop,
}

/// What a guard looks at.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum GuardChoice {
    /// MACs.
    Mac,
    /// MACs and addresses, inside ARP and neighbour discovery too.
    MacIp,
}

impl From<GuardChoice> for Guard {
    fn from(choice: GuardChoice) -> Self {
        match choice {
            GuardChoice::Mac => Self::Mac,
            GuardChoice::MacIp => Self::MacIp,
        }
    }
}

impl Settings {
    /// The configuration of the agent of `node`.
    pub(crate) fn config(&self, node: &str) -> Config {
        Config {
            accept_icmp: self.accept_icmp,
            accept_icmp6: self.accept_icmpv6,
            guard: self.guard.map(Guard::from),
            quarantine: self.unknown_ports == UnknownPorts::Drop,
            uplinks: self.uplinks.iter().cloned().collect(),
            log: Some(LogSettings { group: self.log.log_group, rate: self.log.log_rate }),
            ..Config::new(node)
        }
    }
}

/// Reads `namespace/name`.
pub(crate) fn namespaced_name(text: &str) -> Result<NamespacedName, String> {
    NamespacedName::parse(text, "").ok_or_else(|| "not a name, written namespace/name".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::Parser as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_examples_that_it_takes() {
        for verb in Cli::command().get_subcommands().filter(|verb| verb.get_name() != "help") {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let (_, examples) = help.split_once("Examples:\n").expect("the help ends with examples");
            let mut count = 0;
            for line in examples.lines() {
                let Some((_, command)) = line.split_once("mnp-nft-bridge ") else { continue };
                let command = command.split(['|', '>']).next().unwrap_or_default();
                let words = ["mnp-nft-bridge"].into_iter().chain(command.split_whitespace());
                let taken = Cli::try_parse_from(words);
                assert!(taken.is_ok(), "{command}: {taken:?}");
                count += 1;
            }
            assert!(count >= 2, "{} shows {count} examples", verb.get_name());
        }
    }
}
