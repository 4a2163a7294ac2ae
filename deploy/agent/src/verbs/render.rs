//! `render`: the ruleset of a node.

use alloc::collections::BTreeSet;

use anyhow::Result;
use clap::Args;
use driver_nft::StateWish;
use policy_core::ruleset::Ruleset;
use policy_core::{BridgeNames, Config, StateEngine};
use serde::Serialize;

use super::json;
use crate::Answer;
use crate::cli::{Form, Settings, Source};
use crate::manifests::Manifests;

/// Arguments of `render`.
#[derive(Debug, Args)]
#[command(
    after_help = "There is no kernel here, so no port is known: attachments are found by their MAC, as the agent
does until it has seen their ports.

Examples:
  mnp-nft-bridge render -f manifests/ --node worker-1
  mnp-nft-bridge render -f manifests/ --node worker-1 | nft -c -f -
  mnp-nft-bridge render -f manifests/ --node worker-1 --state conntrack
  kubectl get pods,namespaces,net-attach-def,multi-networkpolicies -A -o yaml |
    mnp-nft-bridge render -f - --node worker-1"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    settings: Settings,
    /// What follows connections: conntrack or sets. There is no kernel to ask here, so auto means sets.
    #[arg(long, value_name = "auto|conntrack|sets", default_value_t)]
    state: StateWish,
    /// The node, as in the pods' spec.nodeName.
    #[arg(long, value_name = "NAME")]
    node: String,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Rendered<'a> {
    node: &'a str,
    ruleset: &'a Ruleset,
}

/// Answers.
pub(crate) fn run(arguments: &Arguments, form: Form) -> Result<Answer> {
    let manifests = Manifests::load_all(&arguments.source)?;
    let node = arguments.node.as_str();
    let state = arguments.state.offline();
    // A kernel that can follow connections by conntrack can also say which bridge a frame is on.
    let bridge_names = BridgeNames::of(state == StateEngine::Conntrack);
    let config = Config { state, bridge_names, ..arguments.settings.config(node) };
    let (compiler, reports) = manifests.tell(&config);
    let ruleset = compiler.desired();
    let mut remarks = manifests.remarks(&reports);
    let nodes: BTreeSet<&str> = compiler.world().pods().filter_map(|pod| pod.node.as_deref()).collect();
    if !nodes.contains(node) {
        let known = nodes.into_iter().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        remarks.push(format!("no pod is bound to node {node:?}; nodes with pods: {known}"));
    }
    let text = match form {
        Form::Json => json(&Rendered { node, ruleset })?,
        Form::Text => ruleset.to_string(),
    };
    Ok(Answer { text, remarks, ..Answer::default() })
}
