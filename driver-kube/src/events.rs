//! Which problems are told as Events, and when. Pure: time comes from outside, nothing is sent.
//!
//! Every node's agent finds the same problems, a tenant may write objects that are full of them, and Events are kept by the
//! API server's database. So an Event has a name that follows from what it says, which all agents share; an agent writes a
//! few at once and then one every ten seconds; and one object is not told of more than once a minute.

use alloc::collections::BTreeMap;
use core::time::Duration;

use policy_core::model::{ObjectId, Problem};
use policy_core::ruleset::fingerprint;

/// How many Events may be written at once.
const BURST: u32 = 20;
/// The time after which one more may be written.
const REFILL: Duration = Duration::from_secs(10);
/// How often an object may be told of when its problems change.
const CHANGE: Duration = Duration::from_mins(1);
/// How often a problem that persists is told of: API servers forget Events after an hour.
const RENEWAL: Duration = Duration::from_mins(45);
/// How many objects are remembered; further ones are passed over until there is room.
const OBJECTS_MAX: usize = 1_000;
/// The longest message of an Event, in bytes: `NoteLengthLimit` of the API's validation.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// How much of an object's name an Event's name begins with; together with the fingerprint it stays below 253 bytes.
const NAME_BYTES_MAX: usize = 200;

/// All problems of an object; none means that earlier ones are solved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// The object.
    pub object: ObjectId,
    /// What cannot be used of it, or not enforced.
    pub problems: Vec<Problem>,
}

/// An Event to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// The object that it is about.
    pub object: ObjectId,
    /// Its name: the same for every agent that has the same to say.
    pub name: String,
    /// What it says.
    pub message: String,
}

/// What is to be done next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing, until there is news.
    Nothing,
    /// Nothing before this time.
    Wait(Duration),
    /// Write this, now; it counts as written.
    Write(Note),
}

/// Decides which Events are written, and when.
#[derive(Debug)]
pub struct Pace {
    objects: BTreeMap<ObjectId, Memory>,
    tokens: u32,
    /// Since when the tokens are as they are.
    refilled: Duration,
}

/// What is known about an object.
#[derive(Debug)]
struct Memory {
    problems: Vec<Problem>,
    /// When it was told of last.
    written: Option<Duration>,
    /// Whether something is new since then.
    is_news: bool,
}

impl Memory {
    /// When it is to be told of.
    fn due(&self) -> Option<Duration> {
        if self.problems.is_empty() {
            return None;
        }
        let after = if self.is_news { CHANGE } else { RENEWAL };
        Some(self.written.map_or(Duration::ZERO, |written| written + after))
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), tokens: BURST, refilled: Duration::ZERO }
    }
}

impl Pace {
    /// Takes in the problems of an object; whether they can be remembered.
    pub fn tell(&mut self, told: Told, now: Duration) -> bool {
        let Told { object, problems } = told;
        if let Some(memory) = self.objects.get_mut(&object) {
            if memory.problems != problems {
                memory.is_news = true;
                memory.problems = problems;
            }
            return true;
        }
        if problems.is_empty() {
            return true;
        }
        if self.objects.len() >= OBJECTS_MAX {
            self.forget_solved(now);
        }
        let has_room = self.objects.len() < OBJECTS_MAX;
        if has_room {
            self.objects.insert(object, Memory { problems, written: None, is_news: true });
        }
        has_room
    }

    /// What is to be done at the time `now`.
    pub fn next(&mut self, now: Duration) -> Next {
        self.refill(now);
        let due = self.objects.iter().filter_map(|(object, memory)| Some((memory.due()?, object)));
        let Some((at, object)) = due.min().map(|(at, object)| (at, object.clone())) else {
            return Next::Nothing;
        };
        if at > now {
            return Next::Wait(at);
        }
        if self.tokens == 0 {
            return Next::Wait(self.refilled + REFILL);
        }
        self.tokens -= 1;
        let Some(memory) = self.objects.get_mut(&object) else { return Next::Nothing };
        memory.written = Some(now);
        memory.is_news = false;
        Next::Write(note(object, &memory.problems))
    }

    fn refill(&mut self, now: Duration) {
        while self.refilled + REFILL <= now {
            if self.tokens >= BURST {
                self.refilled = now;
                return;
            }
            self.tokens += 1;
            self.refilled += REFILL;
        }
    }

    /// Forgets objects whose problems are solved and that may be told of again at once.
    fn forget_solved(&mut self, now: Duration) {
        self.objects.retain(|_, memory| {
            let recent = memory.written.is_some_and(|written| written + CHANGE > now);
            recent || !memory.problems.is_empty()
        });
    }
}

fn note(object: ObjectId, problems: &[Problem]) -> Note {
    let mut message = String::new();
    for problem in problems {
        let separator = if message.is_empty() { "" } else { "; " };
        let more = format!("{separator}{problem}");
        if message.len() + more.len() > MESSAGE_BYTES_MAX - 4 {
            let room = MESSAGE_BYTES_MAX.saturating_sub(message.len() + 4);
            message.push_str(more.get(..more.floor_char_boundary(room)).unwrap_or_default());
            message.push_str(" ...");
            break;
        }
        message.push_str(&more);
    }
    let of_object = match &object {
        ObjectId::Namespace(name) => name.to_string(),
        ObjectId::Network(name) | ObjectId::Pod(name) | ObjectId::Policy(name) => name.name.to_string(),
        ObjectId::Port(index) => index.to_string(),
    };
    let stem = of_object.get(..of_object.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default();
    let stem = stem.trim_end_matches(['-', '.']);
    let name = format!("{stem}.{}", fingerprint(&format!("{object} {message}")));
    Note { object, name, message }
}

#[cfg(test)]
mod tests {
    use policy_core::model::NamespacedName;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy(name: &str) -> ObjectId {
        ObjectId::Policy(NamespacedName::new("shop", name))
    }

    fn told(name: &str, reasons: &[&str]) -> Told {
        let problem = |reason: &&str| Problem { path: "spec".to_owned(), reason: (*reason).to_owned() };
        Told { object: policy(name), problems: reasons.iter().map(problem).collect() }
    }

    /// How many Events are written from `from` until nothing is to be done for some time.
    fn written(pace: &mut Pace, from: Duration) -> usize {
        core::iter::repeat_with(|| pace.next(from)).take_while(|next| matches!(next, Next::Write(_))).count()
    }

    #[test]
    fn a_problem_is_told_once_and_again_before_it_is_forgotten() {
        let mut pace = Pace::default();
        pace.tell(told("web", &["bad"]), SECOND);
        let Next::Write(first) = pace.next(SECOND) else { panic!("it is new") };
        assert_eq!(first.message, "spec: bad");
        pace.tell(told("web", &["bad"]), SECOND * 2);
        assert_eq!(pace.next(SECOND * 2), Next::Wait(SECOND + RENEWAL));
        assert_eq!(pace.next(SECOND + RENEWAL), Next::Write(first), "by the same name");
    }

    #[test]
    fn a_solved_problem_is_told_no_more() {
        let mut pace = Pace::default();
        pace.tell(told("web", &["bad"]), SECOND);
        assert!(matches!(pace.next(SECOND), Next::Write(_)));
        pace.tell(told("web", &[]), SECOND * 2);
        assert_eq!(pace.next(SECOND + RENEWAL), Next::Nothing);
    }

    #[test]
    fn an_object_that_changes_all_the_time_is_told_of_once_a_minute() {
        let mut pace = Pace::default();
        let mut events = 0;
        for second in 0..600 {
            let reason = format!("bad {second}");
            pace.tell(told("web", &[&reason]), SECOND * second);
            events += written(&mut pace, SECOND * second);
        }
        assert_eq!(events, 10);
    }

    #[test]
    fn many_objects_wait_for_their_turn() {
        let mut pace = Pace::default();
        for at in 0..100 {
            assert!(pace.tell(told(&format!("p{at}"), &["bad"]), SECOND));
        }
        assert_eq!(written(&mut pace, SECOND), 20, "a few at once");
        assert_eq!(pace.next(SECOND), Next::Wait(REFILL), "then one every ten seconds");
        assert_eq!(written(&mut pace, SECOND * 41), 4);
    }

    #[test]
    fn memory_is_bounded() {
        let mut pace = Pace::default();
        let remembered =
            (0..2 * OBJECTS_MAX).filter(|at| pace.tell(told(&format!("p{at}"), &["bad"]), SECOND));
        assert_eq!(remembered.count(), OBJECTS_MAX);
        pace.tell(told("p0", &[]), SECOND);
        assert!(pace.tell(told("another", &["bad"]), SECOND), "a solved one makes room");
    }

    #[test]
    fn messages_and_names_fit_the_api() {
        let long = "x".repeat(300);
        let Note { name, message, .. } = note(policy(&long), &told("web", &[long.as_str(); 9]).problems);
        assert!(message.len() <= MESSAGE_BYTES_MAX && message.ends_with(" ..."), "{message}");
        assert!(name.len() <= 253, "{name}");
        assert_ne!(name, note(policy(&long), &told("web", &["other"]).problems).name);
    }
}
