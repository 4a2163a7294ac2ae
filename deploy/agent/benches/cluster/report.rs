//! Latencies as people read them.

use std::time::Duration;

/// The upper ends of the histogram's rows, in microseconds.
const ROWS_US: [u64; 13] =
    [1_000, 2_000, 3_000, 4_000, 5_000, 7_500, 10_000, 15_000, 20_000, 35_000, 50_000, 100_000, u64::MAX];
/// The longest bar.
const BAR: usize = 60;

/// Sorted latencies.
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn new(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self(latencies)
    }

    /// The latency that this share of events, in thousandths, does not exceed.
    pub fn quantile(&self, thousandths: usize) -> Duration {
        let rank = (self.0.len() * thousandths).div_ceil(1_000).saturating_sub(1);
        self.0.get(rank).copied().unwrap_or_default()
    }

    pub fn line(&self, name: &str) -> String {
        format!(
            "{name:34} {:>6} events  median {:>9.2?}  p90 {:>9.2?}  p99 {:>9.2?}  max {:>9.2?}",
            self.0.len(),
            self.quantile(500),
            self.quantile(900),
            self.quantile(990),
            self.quantile(1_000)
        )
    }

    pub fn histogram(&self) -> String {
        let mut rows = Vec::new();
        let mut left = self.0.as_slice();
        let counts: Vec<usize> = ROWS_US
            .iter()
            .map(|end| {
                let (row, rest) =
                    left.split_at(left.partition_point(|latency| latency.as_micros() <= u128::from(*end)));
                left = rest;
                row.len()
            })
            .collect();
        let most = counts.iter().copied().max().unwrap_or_default().max(1);
        for (end, count) in ROWS_US.iter().zip(counts) {
            let name = if *end == u64::MAX {
                "more".to_owned()
            } else {
                format!("{:?}", Duration::from_micros(*end))
            };
            rows.push(format!("{name:>8} {count:>6} {}", "#".repeat((count * BAR).div_ceil(most))));
        }
        rows.join("\n")
    }
}
