//! A source of choices: bytes in, decisions out. Property tests and fuzzers drive the same generators with it.

/// Bytes that are used up choice by choice; when they run out, every choice is the first one.
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether there is nothing left to choose from.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    /// A number below `limit`, which is at most 256.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    /// True `parts` times in `whole`.
    pub(crate) fn chance(&mut self, parts: usize, whole: usize) -> bool {
        self.below(whole) < parts
    }

    pub(crate) fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }

    /// Between `min` and `max` things.
    pub(crate) fn several<T>(
        &mut self,
        min: usize,
        max: usize,
        mut one: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let count = min + self.below(max - min + 1);
        (0..count).map(|_| one(self)).collect()
    }

    pub(crate) fn maybe<T>(
        &mut self,
        parts: usize,
        whole: usize,
        one: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        self.chance(parts, whole).then(|| one(self))
    }
}

/// Random bytes from a seed (`SplitMix64`: the same everywhere).
pub(crate) fn random_bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    std::iter::repeat_with(|| next().to_le_bytes()).flatten().take(count).collect()
}
