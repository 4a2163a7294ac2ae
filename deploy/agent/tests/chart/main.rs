//! The Helm chart, rendered by the real Helm: `cargo ci chart`.

mod chart;
mod defaults;
mod values;
