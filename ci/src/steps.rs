//! A run of named steps: stop at the first failure, then say how long each took.

use core::fmt;
use core::time::Duration;
use std::io::Write;
use std::time::Instant;

use anyhow::{Context as _, Result};

/// One thing to check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// What is checked, in a few words.
    pub(crate) name: &'static str,
    /// Checks it.
    pub(crate) run: fn() -> Result<()>,
}

/// Runs the steps in order until one fails, and writes the table of all of them to `output`.
///
/// # Errors
/// The first failure, with the step's name, or `output` cannot be written.
pub(crate) fn run(steps: &[Step], output: &mut dyn Write) -> Result<()> {
    let started = Instant::now();
    let mut rows = Vec::with_capacity(steps.len());
    let mut outcome = Ok(());
    for step in steps {
        if outcome.is_err() {
            rows.push(Row { name: step.name, end: End::NotReached });
            continue;
        }
        writeln!(output, "\n== {}", step.name)?;
        let begun = Instant::now();
        outcome = (step.run)().with_context(|| format!("step `{}`", step.name));
        let took = begun.elapsed();
        rows.push(Row {
            name: step.name,
            end: if outcome.is_ok() { End::Passed(took) } else { End::Failed(took) },
        });
    }
    writeln!(output, "\n{}", Table { rows, total: started.elapsed() })?;
    outcome
}

#[derive(Clone, Copy, Debug)]
enum End {
    Failed(Duration),
    NotReached,
    Passed(Duration),
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    end: End,
}

/// The steps with their outcomes and durations, as plain text.
#[derive(Debug)]
struct Table {
    rows: Vec<Row>,
    total: Duration,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max("total".len());
        for Row { name, end } in &self.rows {
            let (end, took) = match end {
                End::Failed(took) => ("FAILED", took),
                End::NotReached => ("not reached", &Duration::ZERO),
                End::Passed(took) => ("ok", took),
            };
            writeln!(f, "{name:width$}  {end:11}  {:>8.1} s", took.as_secs_f64())?;
        }
        write!(f, "{:width$}               {:>8.1} s", "total", self.total.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicBool, Ordering};
    use core::time::Duration;

    use super::{End, Row, Step, Table, run};

    #[test]
    fn nothing_runs_after_the_first_failure() {
        static REACHED: AtomicBool = AtomicBool::new(false);
        let steps = [
            Step { name: "first", run: || Ok(()) },
            Step { name: "second", run: || anyhow::bail!("it broke") },
            Step {
                name: "third",
                run: || {
                    REACHED.store(true, Ordering::Relaxed);
                    Ok(())
                },
            },
        ];
        let mut output = Vec::new();
        let error = run(&steps, &mut output).expect_err("the second step fails");
        assert_eq!(format!("{error:#}"), "step `second`: it broke");
        assert!(!REACHED.load(Ordering::Relaxed));
        let output = String::from_utf8(output).expect("names are text");
        assert!(output.starts_with("\n== first\n\n== second\n\nfirst   ok "), "{output}");
    }

    #[test]
    fn table_names_every_step_even_those_not_reached() {
        let rows = vec![
            Row { name: "form", end: End::Passed(Duration::from_millis(1250)) },
            Row { name: "lints", end: End::Failed(Duration::from_secs(70)) },
            Row { name: "tests", end: End::NotReached },
        ];
        let table = Table { rows, total: Duration::from_millis(71_250) }.to_string();
        assert_eq!(
            table,
            "form   ok                1.2 s\n\
             lints  FAILED           70.0 s\n\
             tests  not reached       0.0 s\n\
             total                   71.2 s"
        );
    }
}
