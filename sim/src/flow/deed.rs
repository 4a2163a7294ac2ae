//! What happens to a node during endurance, drawn from a seed.

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Deed {
    /// Somebody makes and removes so many chains in a table of their own: announcements overrun the listeners.
    Burst,
    /// A pod comes, or the one that came last goes.
    Guest,
    /// The agent is killed in the middle of whatever it does, and started again a moment later.
    Kill,
    /// Somebody else adds a chain of their own to the agent's table.
    Meddle,
    /// Somebody else makes or removes another table.
    OtherTable,
    /// Hundreds of pods of other nodes come or go.
    Peers,
    /// A policy that does not mean the flows comes, changes or goes.
    Policy,
    /// The label of a pod that the flows do not meet changes.
    Relabel,
}

impl Deed {
    /// All of them, as often as they are to happen in relation to each other.
    const URN: [Self; 20] = [
        Self::Guest,
        Self::Guest,
        Self::Guest,
        Self::Guest,
        Self::Kill,
        Self::Meddle,
        Self::OtherTable,
        Self::OtherTable,
        Self::Peers,
        Self::Policy,
        Self::Policy,
        Self::Policy,
        Self::Policy,
        Self::Policy,
        Self::Relabel,
        Self::Relabel,
        Self::Relabel,
        Self::Relabel,
        Self::Relabel,
        Self::Relabel,
    ];

    /// What the report calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Burst => "announcements overrun",
            Self::Guest => "pods attached or detached",
            Self::Kill => "agents killed",
            Self::Meddle => "chains added to our table by nft",
            Self::OtherTable => "other tables made or removed by nft",
            Self::Peers => "hundreds of remote pods coming or going",
            Self::Policy => "policies added, changed or removed",
            Self::Relabel => "labels changed",
        }
    }
}

/// Choices from a seed (`SplitMix64`).
pub(super) struct Choice(pub(super) u64);

impl Choice {
    /// A number below `bound`.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// What happens next; a burst is rare, because it is slow.
    pub(super) fn deed(&mut self) -> Deed {
        if self.below(200) == 0 {
            return Deed::Burst;
        }
        let at = usize::try_from(self.below(u64::try_from(Deed::URN.len()).unwrap_or(1))).unwrap_or_default();
        Deed::URN.get(at).copied().unwrap_or(Deed::Relabel)
    }
}
