//! `check`: every problem, with its place.

use anyhow::Result;
use clap::Args;
use driver_kube::node::Place;
use serde::Serialize;

use super::json;
use crate::Answer;
use crate::cli::{Form, Settings, Source};
use crate::manifests::{Counts, Manifests};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(
    after_help = "What is wrong in a policy never opens anything: it matches nothing, and is listed here as
file:line:column, object, field path and reason. The exit status is 1 when there is a problem.

Examples:
  mnp-nft-bridge check -f manifests/
  mnp-nft-bridge check -f base/ -f overlay/policy.yaml --output json
  helm template ./chart | mnp-nft-bridge check -f -"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
}

/// One problem.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Found {
    file: String,
    line: u64,
    column: u64,
    /// The object, when there is one.
    object: Option<String>,
    /// The field's path, when it is about a field.
    path: Option<String>,
    reason: String,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Checked {
    problems: Vec<Found>,
    objects: usize,
    of_other_kinds: usize,
}

/// Answers.
pub(crate) fn run(arguments: &Arguments, form: Form) -> Result<Answer> {
    let manifests = Manifests::load(&arguments.source)?;
    let problems = problems(&manifests);
    let found_problems = !problems.is_empty();
    let text = match form {
        Form::Json => json(&Checked {
            problems,
            objects: manifests.written.len(),
            of_other_kinds: manifests.of_other_kinds,
        })?,
        Form::Text => text(&problems, &manifests),
    };
    Ok(Answer { text, found_problems, ..Answer::default() })
}

/// All problems, by place.
fn problems(manifests: &Manifests) -> Vec<Found> {
    let found =
        |file: &str, place: Place, object: Option<String>, path: Option<&str>, reason: String| Found {
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            object,
            path: path.map(ToOwned::to_owned),
            reason,
        };
    let mut problems = Vec::new();
    for mistake in &manifests.mistakes {
        problems.push(found(&mistake.file, mistake.place, None, None, mistake.error.to_string()));
    }
    let (_, reports) = manifests.tell(&Settings::default().config(""));
    let latest = manifests.latest();
    for written in &manifests.written {
        let object = Some(written.id.to_string());
        let file = &*written.located.file;
        let counts = latest.get(&written.id).copied().filter(|latest| core::ptr::eq(*latest, written));
        if counts.is_none()
            && let Some(later) = latest.get(&written.id)
        {
            let reason = format!("is written again at {}, which counts", later.place(""));
            problems.push(found(file, written.located.node.place, object.clone(), None, reason));
        }
        // What the core reports about an object includes what was wrong in its text.
        let reported = reports.get(&written.id).filter(|_| counts.is_some());
        for problem in reported.unwrap_or(&written.problems) {
            let place = written.located.place_of(&problem.path);
            problems.push(found(file, place, object.clone(), Some(&problem.path), problem.reason.clone()));
        }
    }
    problems.sort();
    problems
}

fn text(problems: &[Found], manifests: &Manifests) -> String {
    let mut lines = Vec::new();
    for Found { file, line, column, object, path, reason } in problems {
        let object = object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default();
        let path = path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default();
        lines.push(format!("{file}:{line}:{column}: {object}{path}{reason}\n"));
    }
    let count = match problems.len() {
        0 => "no problem".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    lines.push(format!("{count} in {}\n", Counts(manifests)));
    lines.concat()
}
