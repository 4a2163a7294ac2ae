//! Sets, maps and their elements, as the kernel lists them.

use core::time::Duration;

use policy_core::ruleset::{
    ChainName, Datum, Dynamic, Elements, Key, KeyType, Set, SetName, SetSpec, Verdict,
};

use super::{At, DecodeError};
use crate::layout;
use crate::uapi::{
    NF_ACCEPT, NF_DROP, NFT_DATA_VERDICT, NFT_GOTO, NFT_JUMP, NFT_RETURN, NFT_SET_ANONYMOUS,
    NFT_SET_ELEM_INTERVAL_END, NFT_SET_EVAL, NFT_SET_INTERVAL, NFT_SET_MAP, NFT_SET_TIMEOUT, NFTA_DATA_VALUE,
    NFTA_DATA_VERDICT, NFTA_SET_DATA_TYPE, NFTA_SET_DESC, NFTA_SET_DESC_SIZE, NFTA_SET_ELEM_DATA,
    NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_USERDATA,
    NFTA_SET_FLAGS, NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE, NFTA_SET_NAME, NFTA_SET_TIMEOUT, NFTA_SET_USERDATA,
    NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE,
};
use crate::userdata;
use crate::wire::{Attributes, WireError, attributes};

/// A set while its elements come in.
pub(super) struct Draft {
    spec: SetSpec,
    /// The number of the key's type, in case the set turns out to be foreign.
    key_type: u32,
    elements: Elements,
    /// Ends of ranges, in the kernel's bytes: each range's first value, or the first value behind one.
    bounds: Vec<Bound>,
}

/// One end of a range. Ordered by value, and an end before the start that has the same value.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Bound {
    value: Vec<u8>,
    start: bool,
    verdict: Option<Verdict>,
}

impl Draft {
    /// A set's description; `None` for a set that belongs to one rule.
    pub(super) fn read(at: At, set: &Attributes<'_>) -> Result<Option<(SetName, Self)>, DecodeError> {
        let name = at.require(set.text(NFTA_SET_NAME), "name")?;
        let flags = set.number(NFTA_SET_FLAGS).unwrap_or(0);
        if flags & NFT_SET_ANONYMOUS != 0 {
            return Ok(None);
        }
        let key_type = at.require(set.number(NFTA_SET_KEY_TYPE), "key type")?;
        let size = set.nested(NFTA_SET_DESC).map_err(|source| at.damaged(source))?.number(NFTA_SET_DESC_SIZE);
        let userdata = set.bytes(NFTA_SET_USERDATA).unwrap_or_default();
        let timeout = set.long(NFTA_SET_TIMEOUT);
        let mut draft = Self {
            spec: SetSpec {
                key: read_key(key_type, userdata),
                verdict_map: flags & NFT_SET_MAP != 0,
                interval: flags & NFT_SET_INTERVAL != 0,
                dynamic: match (size, timeout) {
                    (Some(size), Some(ms)) => Some(Dynamic { size, timeout: Duration::from_millis(ms) }),
                    _ => None,
                },
                comment: userdata::read_set_comment(userdata),
            },
            key_type,
            elements: Elements::new(),
            bounds: Vec::new(),
        };
        if !draft.is_ours(set, flags, size.is_some(), timeout.is_some()) {
            draft.disown();
        }
        Ok(Some((SetName::new(name), draft)))
    }

    /// Whether this is one of the shapes that this program writes.
    fn is_ours(&self, set: &Attributes<'_>, flags: u32, sized: bool, timed: bool) -> bool {
        const KNOWN: u32 = NFT_SET_INTERVAL | NFT_SET_MAP | NFT_SET_TIMEOUT | NFT_SET_EVAL;
        let spec = &self.spec;
        let dynamic = flags & (NFT_SET_TIMEOUT | NFT_SET_EVAL);
        let known = !spec.key.iter().any(|kind| matches!(kind, KeyType::Unknown(_)));
        let length = u32::try_from(layout::key_length(&spec.key)).ok();
        let data = set.number(NFTA_SET_DATA_TYPE);
        flags & !KNOWN == 0
            && known
            && set.number(NFTA_SET_KEY_LEN) == length
            && !(spec.interval && spec.key.len() > 1)
            && spec.verdict_map == (data == Some(NFT_DATA_VERDICT))
            && match dynamic {
                0 => !sized && !timed,
                _ => dynamic == NFT_SET_TIMEOUT | NFT_SET_EVAL && sized && timed,
            }
    }

    /// Makes the set differ from every wanted one.
    fn disown(&mut self) {
        self.spec.key = vec![KeyType::Unknown(self.key_type)];
        self.elements.clear();
        self.bounds.clear();
    }

    fn is_foreign(&self) -> bool {
        matches!(*self.spec.key, [KeyType::Unknown(_)])
    }

    /// Whether the elements matter: those of a dynamic set belong to the packet path.
    pub(super) fn has_elements(&self) -> bool {
        self.spec.dynamic.is_none() && !self.is_foreign()
    }

    /// Takes in the elements of one message.
    pub(super) fn collect(&mut self, list: &Attributes<'_>) -> Result<(), WireError> {
        if !self.has_elements() {
            return Ok(());
        }
        for element in attributes(list.bytes(NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default()) {
            let (_, element) = element?;
            let element = Attributes::read(element)?;
            if self.take(&element)?.is_none() {
                self.disown();
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes in one element; `None` when it is not of the shape that this program writes.
    fn take(&mut self, element: &Attributes<'_>) -> Result<Option<()>, WireError> {
        let verdict = match element.bytes(NFTA_SET_ELEM_DATA) {
            None => None,
            Some(data) => match read_verdict(&Attributes::read(data)?)? {
                None => return Ok(None),
                some => some,
            },
        };
        let Some(value) = element.nested(NFTA_SET_ELEM_KEY)?.bytes(NFTA_DATA_VALUE) else { return Ok(None) };
        let flags = element.number(NFTA_SET_ELEM_FLAGS).unwrap_or(0);
        let ends = flags & NFT_SET_ELEM_INTERVAL_END != 0;
        let plain_flags = flags & !NFT_SET_ELEM_INTERVAL_END == 0;
        let known_userdata =
            element.bytes(NFTA_SET_ELEM_USERDATA).is_none_or(|bytes| bytes == userdata::open_interval());
        let fits = plain_flags && known_userdata && value.len() == layout::key_length(&self.spec.key);
        // The end of a range carries no verdict.
        let shaped = (verdict.is_some() == self.spec.verdict_map && !ends) || (ends && self.spec.interval);
        if !fits || !shaped {
            return Ok(None);
        }
        if self.spec.interval {
            self.bounds.push(Bound { value: value.to_vec(), start: !ends, verdict });
            return Ok(Some(()));
        }
        Ok(self.key(value).map(|key| {
            self.elements.insert(key, verdict);
        }))
    }

    fn key(&self, value: &[u8]) -> Option<Key> {
        match *self.spec.key {
            [kind] => layout::datum(kind, value).map(Key::One),
            _ => layout::padded_datums(&self.spec.key, value).map(|parts| Key::Concat(parts.into())),
        }
    }

    /// The set with all its elements.
    pub(super) fn finish(mut self) -> Set {
        self.bounds.sort();
        if let ([kind], false) = (&*self.spec.key, self.bounds.is_empty()) {
            match ranges(*kind, &self.bounds) {
                Some(elements) => self.elements = elements,
                None => self.disown(),
            }
        }
        Set { spec: self.spec, elements: self.elements }
    }
}

/// The types of a key's parts.
fn read_key(key_type: u32, userdata: &[u8]) -> Vec<KeyType> {
    let numbers = layout::parts(key_type);
    let count = numbers.len();
    let part = |(at, number)| match number {
        layout::TYPE_INTEGER => userdata::read_integer(userdata, at, count),
        _ => layout::type_of_number(number),
    };
    numbers.into_iter().enumerate().map(part).collect()
}

/// Pairs sorted bounds: a range goes from its start to just before the next bound, whichever that is, or to the last
/// value. Ends without a start (nft writes one at zero) delimit nothing.
fn ranges(kind: KeyType, bounds: &[Bound]) -> Option<Elements> {
    let mut elements = Elements::new();
    for (at, bound) in bounds.iter().enumerate().filter(|(_, bound)| bound.start) {
        let last = match bounds.get(at + 1) {
            Some(next) => predecessor(&next.value),
            None => vec![u8::MAX; bound.value.len()],
        };
        let (low, high) = (layout::datum(kind, &bound.value)?, layout::datum(kind, &last)?);
        if bound.value > last {
            return None;
        }
        elements.insert(range(low, high), bound.verdict.clone());
    }
    Some(elements)
}

const fn range(low: Datum, high: Datum) -> Key {
    Key::Range(low, high)
}

/// The number before this one, most significant byte first; of zero, the last.
fn predecessor(number: &[u8]) -> Vec<u8> {
    let mut before = number.to_vec();
    for byte in before.iter_mut().rev() {
        let (difference, borrow) = byte.overflowing_sub(1);
        *byte = difference;
        if !borrow {
            break;
        }
    }
    before
}

/// The verdict in an element's data or in an immediate expression; `None` for one that this program never writes.
pub(super) fn read_verdict(data: &Attributes<'_>) -> Result<Option<Verdict>, WireError> {
    let verdict = data.nested(NFTA_DATA_VERDICT)?;
    let chain = || verdict.text(NFTA_VERDICT_CHAIN).map(ChainName::new);
    Ok(match verdict.number(NFTA_VERDICT_CODE) {
        Some(NF_ACCEPT) => Some(Verdict::Accept),
        Some(NF_DROP) => Some(Verdict::Drop),
        Some(NFT_GOTO) => chain().map(Verdict::Goto),
        Some(NFT_JUMP) => chain().map(Verdict::Jump),
        Some(NFT_RETURN) => Some(Verdict::Return),
        _ => None,
    })
}
