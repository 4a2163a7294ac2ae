//! `matrix`: who reaches whom on a network.

use alloc::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use policy_core::World;
use policy_core::explain::{Bench, End, Service, between, ends_on};
use policy_core::model::NamespacedName;
use serde::Serialize;

use super::json;
use crate::Answer;
use crate::cli::{Form, Settings, Source, namespaced_name};
use crate::manifests::Manifests;

/// Arguments of `matrix`.
#[derive(Debug, Args)]
#[command(
    after_help = "Rows send, columns receive. A cell is open or closed; ipv4 or ipv6 where only that family is open;
? where the two have no address of one family.

Examples:
  mnp-nft-bridge matrix -f manifests/ --network shop/data --port tcp/80
  mnp-nft-bridge matrix -f manifests/ --network shop/data --port icmp --output json"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    settings: Settings,
    /// The network.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced_name)]
    network: NamespacedName,
    /// What is asked for: tcp/PORT, udp/PORT, sctp/PORT, icmp or arp.
    #[arg(long, value_name = "SERVICE")]
    port: Service,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Matrix {
    network: String,
    service: String,
    /// Every ordered pair of attachments.
    pairs: Vec<Pair>,
}

/// One ordered pair.
#[derive(Serialize)]
struct Pair {
    from: String,
    to: String,
    /// One for each family of addresses that both have.
    flows: Vec<Flow>,
}

/// One pair of addresses.
#[derive(Serialize)]
struct Flow {
    from: String,
    to: String,
    allowed: bool,
}

/// Answers.
pub(crate) fn run(arguments: &Arguments, form: Form) -> Result<Answer> {
    let manifests = Manifests::load_all(&arguments.source)?;
    let config = arguments.settings.config("");
    let (compiler, reports) = manifests.tell(&config);
    let world = compiler.world();
    let ends = ends_on(world, &arguments.network)?;
    let mut bench = Bench::new(world, &config);
    let names = names(world, &ends);
    let pairs = pairs(world, &mut bench, &names, arguments.port)?;
    let text = match form {
        Form::Json => json(&Matrix {
            network: arguments.network.to_string(),
            service: arguments.port.to_string(),
            pairs,
        })?,
        Form::Text => {
            let title = format!("{} on {}: rows send, columns receive\n", arguments.port, arguments.network);
            title + &table(&names, &pairs)
        }
    };
    let mut remarks = manifests.remarks(&reports);
    if world.bridge(&arguments.network).is_none() {
        remarks.push(format!("network {} is not managed, so nothing is enforced there", arguments.network));
    }
    Ok(Answer { text, remarks, ..Answer::default() })
}

/// The ends by name: the pod's, with the interface where the pod is on the network more than once.
fn names<'a>(world: &World, ends: &'a [End]) -> Vec<(String, &'a End)> {
    let mut count: BTreeMap<&NamespacedName, usize> = BTreeMap::new();
    for end in ends {
        *count.entry(&end.pod).or_default() += 1;
    }
    let name = |end: &End| match count.get(&end.pod) {
        Some(1) | None => end.pod.to_string(),
        Some(_) => end.label(world),
    };
    ends.iter().map(|end| (name(end), end)).collect()
}

fn pairs(world: &World, bench: &mut Bench, names: &[(String, &End)], service: Service) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for (from_name, from) in names {
        for (to_name, to) in names.iter().filter(|(_, to)| from != to) {
            let mut flows = Vec::new();
            for conversation in between(world, from, to, service) {
                bench.distinct(&conversation)?;
                flows.push(Flow {
                    from: conversation.from.address.to_string(),
                    to: conversation.to.address.to_string(),
                    allowed: bench.allows(&conversation),
                });
            }
            pairs.push(Pair { from: from_name.clone(), to: to_name.clone(), flows });
        }
    }
    Ok(pairs)
}

/// What a cell says.
fn cell(flows: &[Flow]) -> &'static str {
    let open: Vec<&Flow> = flows.iter().filter(|flow| flow.allowed).collect();
    match (flows.is_empty(), open.as_slice()) {
        (true, _) => "?",
        (false, []) => "closed",
        (false, open) if open.len() == flows.len() => "open",
        (false, [open, ..]) if open.from.contains(':') => "ipv6",
        (false, _) => "ipv4",
    }
}

/// The table; columns are numbered as the rows are, because names are long.
fn table(names: &[(String, &End)], pairs: &[Pair]) -> String {
    let number_width = names.len().to_string().len();
    let name_width = names.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut cells: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for pair in pairs {
        cells.insert((&pair.from, &pair.to), cell(&pair.flows));
    }
    let mut lines = vec![format!("{:number_width$} {:name_width$}", "", "")];
    for (number, _) in (1..).zip(names) {
        lines.push(format!("  {number:>6}"));
    }
    lines.push("\n".to_owned());
    for (number, (from, _)) in (1..).zip(names) {
        lines.push(format!("{number:number_width$} {from:name_width$}"));
        for (to, _) in names {
            let text = cells.get(&(from.as_str(), to.as_str())).copied().unwrap_or("-");
            lines.push(format!("  {text:>6}"));
        }
        lines.push("\n".to_owned());
    }
    lines.concat()
}
