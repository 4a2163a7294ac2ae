//! JUnit XML, as far as continuous integration reads it.

use core::fmt;
use core::time::Duration;

/// One scenario on one arm.
#[derive(Clone, Debug)]
pub struct Case {
    /// The scenario's file.
    pub file: String,
    /// The arm.
    pub arm: &'static str,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub end: End,
}

/// How a scenario ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It failed and printed this.
    Failed(String),
    /// It was not run, for this reason.
    NotRun(String),
    /// Everything was as it should be.
    Passed,
}

/// A document with one test suite.
pub struct Document<'a>(pub &'a [Case]);

impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests = self.0.len();
        let failures = self.0.iter().filter(|case| matches!(case.end, End::Failed(_))).count();
        let skipped = self.0.iter().filter(|case| matches!(case.end, End::NotRun(_))).count();
        let took: Duration = self.0.iter().map(|case| case.took).sum();
        let took = took.as_secs_f64();
        writeln!(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>")?;
        writeln!(
            f,
            "  <testsuite name=\"scenarios\" tests=\"{tests}\" failures=\"{failures}\" skipped=\"{skipped}\" \
             time=\"{took:.3}\">"
        )?;
        self.0.iter().try_for_each(|case| write!(f, "{case}"))?;
        writeln!(f, "  </testsuite>\n</testsuites>")
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, arm, took, end } = self;
        let (file, took) = (escaped(file), took.as_secs_f64());
        write!(f, "    <testcase classname=\"{arm}\" name=\"{file}\" time=\"{took:.3}\"")?;
        match end {
            End::Failed(text) => {
                let first = escaped(text.lines().next().unwrap_or_default());
                let text = escaped(text);
                writeln!(f, ">\n      <failure message=\"{first}\">{text}</failure>\n    </testcase>")
            }
            End::NotRun(reason) => {
                let reason = escaped(reason);
                writeln!(f, ">\n      <skipped message=\"{reason}\"/>\n    </testcase>")
            }
            End::Passed => writeln!(f, "/>"),
        }
    }
}

/// Text as XML 1.0 takes it: without the characters it has no place for, and with references for its own.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => {
                escaped.push(character);
            }
            _ => escaped.push('?'),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_run_is_counted_with_its_reason() {
        let end = End::NotRun("needs vlan".to_owned());
        let case = Case { file: "a.yaml".to_owned(), arm: "netns", took: Duration::ZERO, end };
        let text = Document(&[case]).to_string();
        assert!(text.contains(r#"tests="1" failures="0" skipped="1""#), "{text}");
        assert!(text.contains(r#"<skipped message="needs vlan"/>"#), "{text}");
    }

    #[test]
    fn a_failure_is_told_with_its_text_escaped() {
        let took = Duration::from_millis(1500);
        let good = Case { file: "a.yaml".to_owned(), arm: "model", took, end: End::Passed };
        let bad = Case {
            file: "b.yaml".to_owned(),
            arm: "netns",
            took,
            end: End::Failed("a < b\n\x1b[1m".to_owned()),
        };
        let text = Document(&[good, bad]).to_string();
        assert!(
            text.contains(r#"<testsuite name="scenarios" tests="2" failures="1" skipped="0" time="3.000">"#),
            "{text}"
        );
        assert!(text.contains(r#"<testcase classname="model" name="a.yaml" time="1.500"/>"#), "{text}");
        assert!(text.contains("<failure message=\"a &lt; b\">a &lt; b\n?[1m</failure>"), "{text}");
    }
}
