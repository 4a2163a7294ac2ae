//! Which engine follows connections on this kernel: what somebody asks for, and what can be had.

use core::fmt;
use core::str::FromStr;

use policy_core::StateEngine;

use crate::capability::{Capabilities, Capability, Support};

/// What follows connections, as somebody asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StateWish {
    /// The kernel's conntrack where it is to be had, else dynamic sets.
    #[default]
    Auto,
    /// The kernel's conntrack.
    Conntrack,
    /// Dynamic sets.
    Sets,
}

impl StateWish {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Conntrack, Self::Sets];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Conntrack => "conntrack",
            Self::Sets => "sets",
        }
    }

    /// What is taken where there is no kernel to ask: `auto` means the sets, which every kernel has.
    pub const fn offline(self) -> StateEngine {
        match self {
            Self::Conntrack => StateEngine::Conntrack,
            Self::Auto | Self::Sets => StateEngine::Sets,
        }
    }
}

impl fmt::Display for StateWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that asks for no engine.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("neither auto, conntrack nor sets")]
pub struct UnknownState;

impl FromStr for StateWish {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|wish| wish.name() == text).ok_or(UnknownState)
    }
}

/// What follows connections, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateChoice {
    /// The engine.
    pub engine: StateEngine,
    wish: StateWish,
    /// What conntrack needs and the kernel does not have.
    lacks: Option<(Capability, Support)>,
}

impl fmt::Display for StateChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match self.engine {
            StateEngine::Conntrack => "conntrack",
            StateEngine::Sets => "sets",
        };
        match (self.wish, self.lacks) {
            (StateWish::Auto, None) => write!(f, "{engine}, because the kernel has what it takes"),
            (StateWish::Auto, Some((capability, support))) => {
                write!(f, "{engine}, because {} is {support}", capability.describe())
            }
            (StateWish::Conntrack | StateWish::Sets, _) => write!(f, "{engine}, because it is asked for"),
        }
    }
}

/// The kernel cannot do what an engine needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this kernel cannot follow connections by {wish}: {} is {support}{}", .lacks.describe(), advice(*.lacks))]
pub struct StateUnavailable {
    /// What was asked for.
    pub wish: StateWish,
    /// What it needs and the kernel does not have.
    pub lacks: Capability,
    /// What the kernel says.
    pub support: Support,
}

fn advice(lacks: Capability) -> &'static str {
    match lacks {
        Capability::BridgeConntrack => "; load nf_conntrack_bridge, or ask for auto or sets",
        Capability::Ibrname => "; load nft_meta_bridge, or ask for auto or sets",
        Capability::ChainDeletion | Capability::DynamicSets | Capability::FrameLog | Capability::Reject => "",
    }
}

impl Capabilities {
    /// The engine for what is asked for.
    ///
    /// # Errors
    /// The kernel has no dynamic sets, which every engine uses for the node's own conversations, or not what conntrack
    /// takes and that is asked for.
    pub fn state(&self, wish: StateWish) -> Result<StateChoice, StateUnavailable> {
        // A packet's zone follows from its bridge.
        let needed = [Capability::BridgeConntrack, Capability::Ibrname];
        let mut found = needed.map(|capability| (capability, self.of(capability))).into_iter();
        let lacks = found.find(|(_, support)| !support.is_present());
        let engine = match (wish, lacks) {
            (StateWish::Sets, _) | (StateWish::Auto, Some(_)) => StateEngine::Sets,
            (StateWish::Auto | StateWish::Conntrack, None) => StateEngine::Conntrack,
            (StateWish::Conntrack, Some((lacks, support))) => {
                return Err(StateUnavailable { wish, lacks, support });
            }
        };
        match self.of(Capability::DynamicSets) {
            Support::Present => Ok(StateChoice { engine, wish, lacks }),
            support @ Support::Missing(_) => {
                Err(StateUnavailable { wish, lacks: Capability::DynamicSets, support })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use test_case::test_case;

    use super::*;

    const NO: Support = Support::Missing(Errno::EPROTO);
    const YES: Support = Support::Present;

    fn chosen([conntrack, ibrname]: [Support; 2], sets: Support, wish: &str) -> String {
        let support = |capability| match capability {
            Capability::BridgeConntrack => conntrack,
            Capability::DynamicSets => sets,
            Capability::Ibrname => ibrname,
            Capability::ChainDeletion | Capability::FrameLog | Capability::Reject => YES,
        };
        let found = Capabilities::found(support);
        let wish: StateWish = wish.parse().expect("a wish");
        found.state(wish).map_or_else(|error| error.to_string(), |choice| choice.to_string())
    }

    #[test_case(YES, "auto", "conntrack, because the kernel has what it takes"; "the kernel decides")]
    #[test_case(NO, "auto", "sets, because connection tracking in the bridge family is missing: protocol error"; "the kernel decides otherwise")]
    #[test_case(YES, "sets", "sets, because it is asked for"; "somebody decides")]
    #[test_case(NO, "sets", "sets, because it is asked for"; "somebody decides what the kernel would")]
    #[test_case(YES, "conntrack", "conntrack, because it is asked for"; "conntrack is asked for")]
    fn the_choice_says_why(conntrack: Support, wish: &str, text: &str) {
        assert_eq!(chosen([conntrack, YES], YES, wish), text);
    }

    #[test]
    fn what_cannot_be_had_is_an_error_that_says_what_to_do() {
        let text = "this kernel cannot follow connections by conntrack: connection tracking in the bridge family is \
                    missing: protocol error; load nf_conntrack_bridge, or ask for auto or sets";
        assert_eq!(chosen([NO, YES], YES, "conntrack"), text);
        assert!(chosen([YES, YES], NO, "auto").contains("sets that rules add elements to is missing"));
    }

    #[test]
    fn a_kernel_that_cannot_tell_bridges_apart_has_no_zones() {
        let text = "sets, because the bridge's name as a match is missing: protocol error";
        assert_eq!(chosen([YES, NO], YES, "auto"), text);
        assert!(
            chosen([YES, NO], YES, "conntrack").ends_with("load nft_meta_bridge, or ask for auto or sets")
        );
    }

    #[test]
    fn only_names_of_wishes_are_wishes() {
        for wish in StateWish::ALL {
            assert_eq!(wish.to_string().parse(), Ok(wish));
        }
        assert_eq!("Sets".parse::<StateWish>(), Err(UnknownState));
    }
}
