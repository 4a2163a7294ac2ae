//! `explain`: whether one end reaches another, and why.

use anyhow::Result;
use clap::Args;
use core::net::IpAddr;
use policy_core::explain::{Bench, EndSpec, Question, Service, conversations};
use policy_core::model::NamespacedName;

use super::json;
use crate::Answer;
use crate::cli::{Form, Settings, Source, namespaced_name};
use crate::explanation::{Explainer, Explanation};
use crate::manifests::Manifests;

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "The verdict is that of the compiled rulesets of both ends' nodes. It is about the first packet of
a connection; replies to an allowed one pass. A packet needs the sender's egress and the receiver's ingress.

Examples:
  mnp-nft-bridge explain -f manifests/ --from shop/web --to shop/db --port tcp/5432
  mnp-nft-bridge explain -f manifests/ --from shop/web@net2 --to 192.0.2.7 --port icmp
  mnp-nft-bridge explain -f manifests/ --from shop/a --to shop/b --port udp/53 --network shop/data --output json"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    settings: Settings,
    /// Who sends: namespace/pod, namespace/pod@interface, or an address.
    #[arg(long, value_name = "END")]
    from: EndSpec,
    /// Who receives: the same forms. One of both must be a pod.
    #[arg(long, value_name = "END")]
    to: EndSpec,
    /// What is asked for: tcp/PORT, udp/PORT, sctp/PORT, icmp or arp.
    #[arg(long, value_name = "SERVICE")]
    port: Service,
    /// The network, where the pods share several.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced_name)]
    network: Option<NamespacedName>,
    /// The address that the sender uses, when it is not the first one of its status.
    #[arg(long, value_name = "ADDRESS")]
    from_address: Option<IpAddr>,
    /// The address under which the receiver is asked.
    #[arg(long, value_name = "ADDRESS")]
    to_address: Option<IpAddr>,
}

/// Answers.
pub(crate) fn run(arguments: &Arguments, form: Form) -> Result<Answer> {
    let manifests = Manifests::load_all(&arguments.source)?;
    let config = arguments.settings.config("");
    let (compiler, reports) = manifests.tell(&config);
    let world = compiler.world();
    let question = Question {
        from: arguments.from.clone(),
        to: arguments.to.clone(),
        service: arguments.port,
        network: arguments.network.clone(),
        from_address: arguments.from_address,
        to_address: arguments.to_address,
    };
    let mut bench = Bench::new(world, &config);
    let explainer = Explainer { manifests: &manifests, world, config: &config };
    let mut flows = Vec::new();
    for conversation in conversations(world, &question)? {
        bench.distinct(&conversation)?;
        flows.push(explainer.flow(&mut bench, &conversation)?);
    }
    let explanation = Explanation { service: question.service.to_string(), flows };
    let text = match form {
        Form::Json => json(&explanation)?,
        Form::Text => explanation.to_string(),
    };
    Ok(Answer { text, remarks: manifests.remarks(&reports), ..Answer::default() })
}
