//! The isolated half of a run: process 1 of its own namespaces plays one scenario with packets.

use alloc::collections::BTreeSet;
use std::io::{IsTerminal as _, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use driver_nft::{Capabilities, StateWish};
use policy_core::BridgeNames;

use crate::arm::{Arm, ClusterArm, Equipment, NetnsArm};
use crate::capability::{self, Capability};
use crate::isolate::{self, Parent};
use crate::options::Ability;
use crate::report;
use crate::run::{Judged, run};
use crate::scenario::Scenario;
use crate::show::Story;
use crate::stage::{Stage, stages};

/// How a scenario is played and told.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// With the escape sequences of a terminal.
    pub colour: bool,
    /// The namespaces stay until somebody presses Enter.
    pub keep: bool,
    /// Everything is told, not only failures.
    pub story: bool,
    /// How many times slower than an ordinary one the machine is.
    pub slowness: u32,
    /// What follows connections.
    pub state: StateWish,
}

impl Manner {
    /// As command-line arguments of the isolated process.
    pub fn arguments(self) -> Vec<String> {
        let flags = [(self.colour, "--colour"), (self.keep, "--keep"), (self.story, "--story")];
        let flags = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| (*flag).to_owned());
        let values = [format!("--patience={}", self.slowness), format!("--state={}", self.state)];
        flags.chain(values).collect()
    }

    /// Colour when standard output is a terminal and `NO_COLOR` is not set (<https://no-color.org>).
    pub fn colour_wanted() -> bool {
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

/// Plays the scenario in `file`; whether it is good. `host` is the mount namespace of the host, which this process
/// must not be in. With `equipment` it is played in a cluster.
pub fn play(
    file: &Path,
    manner: Manner,
    equipment: Option<Equipment>,
    host: &str,
    out: &mut dyn Write,
) -> Result<bool> {
    // Before the mounts change, because the file may lie under what they cover.
    let scenario = Scenario::read(file);
    let parent = isolate::settle_in(host)?;
    let scenario = scenario?;
    let stages = stages(file, &scenario)?;
    let configs = scenario.configs(ability(manner.state)?);
    match equipment {
        None => {
            let mut arm = NetnsArm::new(configs, manner.slowness)?;
            let good = play_on(&mut arm, &scenario, &stages, manner, out);
            keep_if_asked(manner, &arm.namespaces(), &parent, &good, out)?;
            good
        }
        Some(equipment) => {
            let mut arm = ClusterArm::new(&scenario, configs, manner.slowness, equipment)?;
            let good = play_on(&mut arm, &scenario, &stages, manner, out);
            keep_if_asked(manner, &arm.namespaces(), &parent, &good, out)?;
            good
        }
    }
}

fn play_on(
    arm: &mut dyn Arm,
    scenario: &Scenario,
    stages: &[Stage],
    manner: Manner,
    out: &mut dyn Write,
) -> Result<bool> {
    if !manner.story {
        return run(arm, stages, |judged| tell_failure(out, &judged, manner.colour));
    }
    let mut story = Story::begin(out, &scenario.description, &scenario.probes, manner.colour)?;
    run(arm, stages, |judged| {
        let failed = !judged.verdict.is_good();
        if failed {
            report::failure(out, &judged, manner.colour)?;
        }
        Ok(story.tell(out, judged)?)
    })
}

/// What agents make use of here, when connections are to be followed by `wish`.
pub fn ability(wish: StateWish) -> Result<Ability> {
    let capabilities = Capabilities::probe().context("cannot find out what the kernel can do")?;
    let bridge_names = BridgeNames::of(capabilities.of(driver_nft::Capability::Ibrname).is_present());
    let frame_log = capabilities.of(driver_nft::Capability::FrameLog).is_present();
    Ok(Ability { state: capabilities.state(wish)?.engine, bridge_names, frame_log })
}

/// Finds out which of `required` the kernel is not capable of, and prints the name of each.
pub fn try_out(required: &BTreeSet<Capability>, host: &str, out: &mut dyn Write) -> Result<()> {
    // Held until the end: the parent's end of the input ties this process's life to its.
    let _parent = isolate::settle_in(host)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for capability in runtime.block_on(capability::missing(required))? {
        writeln!(out, "{capability}")?;
    }
    Ok(())
}

/// Writes about a stage when it has failed.
pub fn tell_failure(out: &mut dyn Write, judged: &Judged<'_>, colour: bool) -> Result<()> {
    if !judged.verdict.is_good() {
        report::failure(out, judged, colour)?;
    }
    Ok(())
}

/// Says how to look around, and waits for Enter. (Ctrl-C ends the parent, and this process with it.)
fn keep_if_asked(
    manner: Manner,
    namespaces: &[&str],
    parent: &Parent,
    good: &Result<bool>,
    out: &mut dyn Write,
) -> Result<()> {
    if !manner.keep {
        return Ok(());
    }
    if let Err(error) = good {
        writeln!(out, "{error:#}")?;
    }
    writeln!(out, "the namespaces stay until you press Enter: {}", namespaces.join(" "))?;
    let user = if parent.in_user_namespace { " --user --preserve-credentials" } else { "" };
    for name in namespaces {
        let id = parent.own_id;
        writeln!(out, "  nsenter --target {id}{user} --mount --net=/proc/{id}/root/run/netns/{name}")?;
    }
    out.flush()?;
    // The sender's end closes only when the parent is gone.
    drop(parent.lines.recv());
    Ok(())
}
