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
    /// What was printed, when it failed.
    pub failure: Option<String>,
}

/// A document with one test suite.
pub struct Document<'a>(pub &'a [Case]);

impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests = self.0.len();
        let failures = self.0.iter().filter(|case| case.failure.is_some()).count();
        let took: Duration = self.0.iter().map(|case| case.took).sum();
        let took = took.as_secs_f64();
        writeln!(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>")?;
        writeln!(
            f,
            "  <testsuite name=\"scenarios\" tests=\"{tests}\" failures=\"{failures}\" time=\"{took:.3}\">"
        )?;
        self.0.iter().try_for_each(|case| write!(f, "{case}"))?;
        writeln!(f, "  </testsuite>\n</testsuites>")
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, arm, took, failure } = self;
        let (file, took) = (escaped(file), took.as_secs_f64());
        write!(f, "    <testcase classname=\"{arm}\" name=\"{file}\" time=\"{took:.3}\"")?;
        let Some(failure) = failure else { return writeln!(f, "/>") };
        let first = escaped(failure.lines().next().unwrap_or_default());
        let failure = escaped(failure);
        writeln!(f, ">\n      <failure message=\"{first}\">{failure}</failure>\n    </testcase>")
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
    fn a_failure_is_told_with_its_text_escaped() {
        let took = Duration::from_millis(1500);
        let good = Case { file: "a.yaml".to_owned(), arm: "model", took, failure: None };
        let bad = Case {
            file: "b.yaml".to_owned(),
            arm: "netns",
            took,
            failure: Some("a < b\n\x1b[1m".to_owned()),
        };
        let text = Document(&[good, bad]).to_string();
        assert!(
            text.contains(r#"<testsuite name="scenarios" tests="2" failures="1" time="3.000">"#),
            "{text}"
        );
        assert!(text.contains(r#"<testcase classname="model" name="a.yaml" time="1.500"/>"#), "{text}");
        assert!(text.contains("<failure message=\"a &lt; b\">a &lt; b\n?[1m</failure>"), "{text}");
    }
}
