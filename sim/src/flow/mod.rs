//! Flows that go on while policies change: those that stay allowed lose nothing, those that are cut stop at once.
//!
//! Between a client and a server that are isolated both ways run TCP in both directions, UDP datagrams that are echoed,
//! and `ping`, over both families. Every byte and datagram says which one it is. The agent is that of the netns arm.

mod agent;
mod crowd;
mod datagram;
mod deed;
mod denied;
pub mod endurance;
mod line;
mod ping;
mod script;
mod stream;

use core::time::Duration;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use driver_nft::StateWish;

use crate::arm::NetnsArm;
use crate::inside::ability;
use crate::isolate;
use crate::probe::Family;
use crate::scenario::Scenario;
use crate::stage::{Stage, stages};
use denied::Denied;
use line::{Ends, Lines};
use ping::Ping;

/// How long anything may still arrive after the commit that cuts it.
pub const CUT_WITHIN: Duration = Duration::from_secs(1);
/// How long the absence of arrivals is watched after that.
const WATCHED: Duration = Duration::from_millis(700);
/// How long a flow may take to begin, and the last of it to arrive, on an ordinary machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Plays everything in namespaces of its own, with an agent that follows connections by `state`, and tells what was
/// measured. `host` is the mount namespace of the host.
pub fn endure(host: &str, state: StateWish, slowness: u32, out: &mut dyn Write) -> Result<bool> {
    // Held until the end: the parent's end of the input ties this process's life to its.
    let _parent = isolate::settle_in(host)?;
    let file = Path::new("flows");
    let scenario = Scenario::parse(file, &script::scenario())?;
    let stages = stages(file, &scenario)?;
    let ability = ability(state)?;
    let engine = ability.state;
    let arm = NetnsArm::new(scenario.configs(ability), slowness)?;
    let mut course = Course { arm, patience: PATIENCE * slowness };
    let mut complaints = Vec::new();
    let mut unrelated = Vec::new();
    for stage in &stages {
        let deed = script::deed(&stage.name);
        if matches!(deed, script::Deed::Unrelated | script::Deed::Restart | script::Deed::Upgrade) {
            unrelated.push(stage);
            continue;
        }
        // The flows run while everything unrelated that came before happens.
        if !unrelated.is_empty() {
            complaints.extend(course.bystand(&unrelated, out)?);
            unrelated.clear();
        }
        if deed == script::Deed::Cut {
            complaints.extend(course.cut(stage, out)?);
        } else {
            course.arm.change(stage)?;
        }
    }
    // The last of all: the sets stay full for minutes.
    complaints.extend(course.crowd(engine, out)?);
    for complaint in &complaints {
        writeln!(out, "{complaint}")?;
    }
    Ok(complaints.is_empty())
}

/// The world in which flows run.
struct Course {
    arm: NetnsArm,
    patience: Duration,
}

/// Everything that runs between the client and the server.
struct Flows {
    lines: Lines,
    pings: Vec<Ping>,
}

impl Flows {
    /// Ends them, after at most `patience` for what is under way, and says what was lost.
    fn finish(&mut self, patience: Duration) -> Result<Vec<String>> {
        self.lines.stop();
        let mut complaints = self.lines.losses(patience);
        for ping in self.pings.drain(..) {
            complaints.extend(ping.end()?.losses());
        }
        Ok(complaints)
    }
}

impl Course {
    /// Runs flows that stay allowed, beside what never is, through changes that do not concern them.
    fn bystand(&mut self, stages: &[&Stage], out: &mut dyn Write) -> Result<Vec<String>> {
        let started = Instant::now();
        let mut flows = self.begin()?;
        let denied = self.deny(&flows)?;
        let (mut changes, mut restarts, mut upgrades) = (0_u32, 0_u32, 0_u32);
        for stage in stages {
            let played = self.arm.change(stage).with_context(|| format!("in {:?}", stage.name))?;
            flows.lines.wait_for_more(self.patience).with_context(|| format!("after {:?}", stage.name))?;
            match script::deed(&stage.name) {
                script::Deed::Restart => {
                    restarts += 1;
                    continue;
                }
                script::Deed::Upgrade => upgrades += 1,
                script::Deed::Cut | script::Deed::Set | script::Deed::Unrelated => changes += 1,
            }
            ensure!(!played.commits.is_empty(), "{:?} changes nothing in the kernel", stage.name);
        }
        let mut complaints = flows.finish(self.patience)?;
        complaints.extend(denied.complaint());
        let took = started.elapsed().as_secs_f64();
        writeln!(
            out,
            "{changes} unrelated changes, {restarts} restarts and {upgrades} upgrades in {took:.1} s: {}; {denied}",
            flows.lines
        )?;
        Ok(complaints)
    }

    /// Begins what nobody allows: a bystander knocks at the server, whose MAC it knows without asking.
    fn deny(&self, flows: &Flows) -> Result<Denied> {
        let denied = Denied::default();
        let ([stranger, _], [ip4, _]) = (script::BYSTANDERS, script::addresses(script::SERVER));
        let mac = script::mac(&ip4.to_string());
        for family in [Family::Ipv4, Family::Ipv6] {
            let ends = self.ends([stranger, script::SERVER], family)?;
            let address = ends.destination.to_string();
            let neighbour = ["neighbour", "replace", &address, "lladdr", &mac, "dev", "net1"];
            let status = ends.from.run(|| Command::new("ip").args(neighbour).status())?;
            ensure!(status.context("cannot start ip")?.success(), "cannot name the neighbour {address}");
            denied.begin(&flows.lines, &ends)?;
        }
        Ok(denied)
    }

    /// Runs flows until a commit cuts them.
    fn cut(&mut self, stage: &Stage, out: &mut dyn Write) -> Result<Vec<String>> {
        let mut flows = self.begin()?;
        let control = Lines::default();
        datagram::begin(&control, "udp between bystanders", &self.ends(script::BYSTANDERS, Family::Ipv4)?)?;
        control.wait_for_more(self.patience)?;
        let played = self.arm.change(stage).with_context(|| format!("in {:?}", stage.name))?;
        let (committed, wall) = (Instant::now(), SystemTime::now());
        ensure!(!played.commits.is_empty(), "{:?} changes nothing in the kernel", stage.name);
        wait_until(committed + CUT_WITHIN);
        let server = self.arm.place(script::SERVER).context("there is no server")?;
        let (asked, controlled) = (ping::requests(&server)?, control.arrived());
        wait_until(committed + CUT_WITHIN + WATCHED);
        let mut complaints = Vec::new();
        if ping::requests(&server)? != asked {
            complaints.push(format!("{}: echo requests still arrive", stage.name));
        }
        if control.arrived() <= controlled {
            complaints.push(format!("{}: what stays allowed between bystanders stopped, too", stage.name));
        }
        let mut latest = flows.lines.latest_after(committed);
        flows.lines.abandon();
        control.abandon();
        for ping in flows.pings.drain(..) {
            latest.push(ping.end()?.latest_after(wall));
        }
        for (name, late) in latest.iter().filter(|(_, late)| *late > CUT_WITHIN) {
            complaints.push(format!("{}: {name} still arrives after {late:?}", stage.name));
        }
        let (name, late) = latest.iter().max_by_key(|(_, late)| *late).context("there are flows")?;
        writeln!(out, "{}: {} flows stopped, last of all {name} after {late:?}", stage.name, latest.len())?;
        Ok(complaints)
    }

    /// Begins flows of every kind, and waits until all are under way.
    fn begin(&self) -> Result<Flows> {
        let lines = Lines::default();
        let mut pings = Vec::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            let ends = self.ends([script::CLIENT, script::SERVER], family)?;
            stream::begin(&lines, &format!("tcp over {family}"), &ends)?;
            datagram::begin(&lines, &format!("udp over {family}"), &ends)?;
            pings.push(Ping::begin(&format!("ping over {family}"), &ends)?);
        }
        lines.wait_for_more(self.patience)?;
        for ping in &mut pings {
            ping.wait_for_first(self.patience)?;
        }
        Ok(Flows { lines, pings })
    }

    /// Two pods by their namespaces' names, with their addresses of a family.
    fn ends(&self, names: [&str; 2], family: Family) -> Result<Ends> {
        let [from, to] = names;
        let place = |name: &str| self.arm.place(name).with_context(|| format!("there is no {name}"));
        let address = |name: &str| {
            let mut addresses = script::addresses(name).into_iter();
            let found = addresses.find(|address| address.is_ipv4() == (family == Family::Ipv4));
            found.with_context(|| format!("{name} has no such address"))
        };
        Ok(Ends { from: place(from)?, to: place(to)?, source: address(from)?, destination: address(to)? })
    }
}

/// Returns at `deadline`.
fn wait_until(deadline: Instant) {
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
