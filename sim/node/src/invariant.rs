//! What must be after every step: the kernel holds what the agent's knowledge demands, and nothing that nobody wanted.

use driver_nft::NftError;
use policy_core::model::{Kind, Object};
use policy_core::ruleset::{Ruleset, diff};
use policy_core::{Scope, Transaction, compile};

use crate::agent::Agent;
use crate::nft::Nft;

/// Of so many commits, one is compared with compilation from scratch.
const FROM_SCRATCH_EVERY: u64 = 8;

/// A difference is told in so many lines at most.
const LINES_MAX: usize = 40;

/// Nothing, or what is wrong.
pub(crate) type Found = Result<(), String>;

/// A commit leads to what the agent's knowledge demands, and nowhere else.
pub(crate) fn committed(agent: &Agent, nft: &mut Nft, transaction: &Transaction) -> Found {
    nft.coverage.commits += 1;
    if !Kind::ALL.into_iter().all(|kind| agent.listed.contains(&kind)) {
        return Err(format!("a commit before everything has been listed once:\n{transaction}"));
    }
    let wanted = &*agent.wanted();
    let Some((_, behind)) = &nft.commit else {
        return Err(format!("transaction {} is said to be committed, and was not", transaction.generation));
    };
    if *behind != *wanted && !nft.hidden {
        return Err(format!(
            "a commit led to something that nobody wanted; to what was wanted:\n{}\nafter transaction {}",
            difference(behind, wanted),
            transaction.generation
        ));
    }
    if nft.table == *wanted {
        (nft.foreign, nft.hidden, nft.silent) = (false, false, false);
    }
    knows(agent)?;
    if transaction.scope == Scope::Replace || nft.coverage.commits.is_multiple_of(FROM_SCRATCH_EVERY) {
        from_scratch(agent, nft)?;
    }
    Ok(())
}

/// A refused commit changes nothing, unless its answer was lost.
pub(crate) fn refused(
    agent: &Agent,
    nft: &Nft,
    transaction: &Transaction,
    error: &NftError,
    interfered: bool,
) -> Found {
    let Some((before, _)) = &nft.commit else { return Ok(()) };
    if nft.table == *before || interfered || does(&nft.table, &agent.wanted()) {
        return Ok(());
    }
    Err(format!(
        "transaction {} was refused ({error}), and has changed something; back again:\n{}",
        transaction.generation,
        difference(&nft.table, before)
    ))
}

/// When nothing is under way and nobody has interfered in secret, the kernel holds what is wanted.
pub(crate) fn settled(agent: &Agent, nft: &Nft) -> Found {
    let wanted = &*agent.wanted();
    let at_rest = agent.is_idle() && !nft.hidden && !nft.monitor.foreign && !nft.monitor.lost;
    if !at_rest || nft.table == *wanted {
        return Ok(());
    }
    Err(format!(
        "the agent has nothing left to do, but the kernel does not hold what is wanted:\n{}",
        difference(&nft.table, wanted)
    ))
}

/// Whether `table` does what `wanted` does: it may hold chains and sets besides to which nothing leads, or in which there is
/// nothing.
pub(crate) fn does(table: &Ruleset, wanted: &Ruleset) -> bool {
    let is_called = |name: &_| {
        table.chains.get(name).is_some_and(|chain| {
            chain.spec.base.is_some_and(|base| base.drop_by_default || !chain.rules.is_empty())
        })
    };
    let more = table.chains.keys().filter(|name| !wanted.chains.contains_key(*name));
    wanted.chains.iter().all(|(name, chain)| table.chains.get(name) == Some(chain))
        && wanted.sets.iter().all(|(name, set)| table.sets.get(name) == Some(set))
        && !more.into_iter().any(is_called)
}

/// The agent knows what it has been told.
pub(crate) fn knows(agent: &Agent) -> Found {
    let world = agent.core().world();
    let same = |object: &Object| match object {
        Object::Namespace(namespace) => world.namespace(&namespace.name) == Some(&namespace.labels),
        Object::Network(network) => world.network(&network.id) == Some(&network.config),
        Object::Pod(pod) => world.pod(&pod.id) == Some(pod),
        Object::Policy(policy) => world.policy(&policy.id) == Some(policy),
        Object::Port(port) => world.port(port.index) == Some(port),
    };
    if let Some(object) = agent.told.values().find(|object| !same(object)) {
        return Err(format!("the agent was told of {}, and knows something else", object.id()));
    }
    let known =
        world.namespaces().count() + world.pods().count() + world.policies().count() + world.ports().count();
    let told = agent.told.keys().filter(|id| id.kind() != Kind::Network).count();
    if known == told {
        return Ok(());
    }
    Err(format!("the agent knows {known} objects, and was told of {told}"))
}

/// Step by step leads where compilation from scratch leads.
pub(crate) fn from_scratch(agent: &Agent, nft: &mut Nft) -> Found {
    nft.coverage.from_scratch += 1;
    let wanted = compile(agent.core().world(), &agent.config);
    if wanted == *agent.core().desired() {
        return Ok(());
    }
    let desired = agent.core().desired();
    Err(format!("step by step is not from scratch:\n{}", difference(desired, &wanted)))
}

/// What leads from one ruleset to another, as text.
pub(crate) fn difference(from: &Ruleset, to: &Ruleset) -> String {
    let (scope, ops) = diff(from, to);
    let text = Transaction { generation: policy_core::Generation(0), scope, ops }.to_string();
    let mut lines: Vec<&str> = text.lines().take(LINES_MAX + 1).collect();
    if lines.len() > LINES_MAX {
        lines.pop();
        lines.push("... and more");
    }
    lines.join("\n")
}
