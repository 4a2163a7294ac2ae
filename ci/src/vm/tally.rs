//! What ran where: counts of scenarios, by kernel.

use core::fmt;
use core::ops::AddAssign;

/// Counts of scenarios.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    /// Scenarios that need something that is not there.
    pub(crate) not_run: u32,
}

impl Tally {
    /// Reads the last line of `sim run`: `12 passed, 1 failed, 2 not run here`.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut counts = line.split(", ");
        let mut count = |word: &str| counts.next()?.strip_suffix(word)?.parse().ok();
        let tally =
            Self { passed: count(" passed")?, failed: count(" failed")?, not_run: count(" not run here")? };
        counts.next().is_none().then_some(tally)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} not run here", self.passed, self.failed, self.not_run)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.not_run += other.not_run;
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::Tally;

    #[test]
    fn tally_is_read_as_it_is_written() {
        let tally = Tally { passed: 12, failed: 1, not_run: 2 };
        assert_eq!(tally.to_string(), "12 passed, 1 failed, 2 not run here");
        assert_eq!(Tally::read(&tally.to_string()), Some(tally));
    }

    #[test_case("pass  netns  a.yaml  0.10 s"; "a scenario")]
    #[test_case("12 passed, 1 failed"; "a count is missing")]
    #[test_case("12 passed, 1 failed, 2 not run here, 3"; "more than the counts")]
    #[test_case("x passed, 1 failed, 2 not run here"; "no number")]
    fn other_lines_are_no_tally(line: &str) {
        assert_eq!(Tally::read(line), None);
    }
}
