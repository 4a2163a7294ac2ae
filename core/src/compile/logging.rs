//! What is logged of an attachment's frames: asked for by policies and their namespaces, told by rules that decide nothing.
//!
//! An attachment without such a wish has no rule more for it. One with it tells of a frame right before it is dropped, in
//! its own chain, so that what is told names the attachment. What is allowed passes in a chain of its policy, which all pods
//! share that are logged; that names the policy, and the frame's port names the pod. Each place that tells has a limit of its
//! own: of what is denied, a pod that is flooded silences no other.

use alloc::string::String;

use super::enforcement::way;
use crate::config::{Config, LogSettings};
use crate::model::{Direction, LogWish, Pod, Policy};
use crate::ruleset::{Expr, LOG_PREFIX_BYTES_MAX};
use crate::sighting::Action;
use crate::world::World;

/// How many bytes of a frame are told, from its network header on: enough for the ports behind IPv6 and a few options.
const SNAPLEN: u32 = 128;

/// How what is told of a frame begins that is denied.
pub(crate) const DENIED: &str = "drop ";
/// How what is told of a frame begins that is allowed.
pub(crate) const ALLOWED: &str = "allow ";

/// What an attachment's namespace wishes, and what the node can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logging {
    of_namespace: Option<LogWish>,
    settings: Option<LogSettings>,
}

impl Logging {
    /// That of the attachments of `pod`.
    pub(crate) fn of(world: &World, config: &Config, pod: &Pod) -> Self {
        Self { of_namespace: world.log_wish(&pod.id.namespace), settings: config.log }
    }

    /// What is logged of a direction that these policies isolate: the strongest of what they and their namespace wish.
    pub(crate) fn wished(self, isolating: &[&Policy]) -> Option<(LogWish, LogSettings)> {
        // A namespace's wish is one about its policies: without any there is nothing to tell.
        let wishes = isolating.iter().map(|policy| policy.log.max(self.of_namespace));
        Some((wishes.max().flatten()?, self.settings?))
    }
}

/// The expressions that tell of a frame; `words` say where.
pub(crate) fn told(settings: LogSettings, beginning: &str, words: &str) -> [Expr; 2] {
    let limit = Expr::Limit { rate: settings.rate, burst: settings.burst() };
    // The words are ASCII, being names of chains or of their kind: `readable`.
    let prefix: String = beginning.chars().chain(words.chars()).take(LOG_PREFIX_BYTES_MAX).collect();
    [limit, Expr::Log { group: settings.group, prefix, snaplen: SNAPLEN }]
}

/// Where a frame was told of, as the words say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place<'a> {
    action: Action,
    direction: Direction,
    stem: &'a str,
}

impl<'a> Place<'a> {
    /// Reads what [`told`] has written; `None` for what it has not.
    pub(crate) fn read(prefix: &'a str) -> Option<Self> {
        let (action, words) = match (prefix.strip_prefix(DENIED), prefix.strip_prefix(ALLOWED)) {
            (Some(words), _) => (Action::Drop, words),
            (None, words) => (Action::Allow, words?),
        };
        let (beginning, rest) = words.split_once('/')?;
        let direction = Direction::ALL.into_iter().find(|direction| way(*direction) == beginning)?;
        let (hash, _) = rest.split_once('-')?;
        let stem = words.get(..beginning.len() + 1 + hash.len() + 1)?;
        Some(Self { action, direction, stem })
    }

    /// What became of the frame.
    pub(crate) const fn action(self) -> Action {
        self.action
    }

    /// Which direction was judged.
    pub(crate) const fn direction(self) -> Direction {
        self.direction
    }

    /// How the words begin, as no others do: of a frame that is denied the attachment's chain, of another the policy's.
    pub(crate) const fn stem(self) -> &'a str {
        self.stem
    }
}
