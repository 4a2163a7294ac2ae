//! Medians of all rounds, absolute and against the bare bridge.

use alloc::collections::BTreeMap;
use core::fmt;

use crate::load::Sample;
use crate::tables::Table;

/// All samples so far.
#[derive(Default)]
pub(crate) struct Report {
    /// By table; the n-th sample is of the n-th round.
    samples: BTreeMap<Table, Vec<Sample>>,
    /// The tables in the order of their first sample.
    order: Vec<Table>,
}

/// One of the three measured values.
#[derive(Clone, Copy)]
pub(crate) enum Quantity {
    /// Throughput of a connection.
    Tcp,
    /// Datagrams per second.
    Udp,
    /// Round trips per second of a ping that waits for its answer: more is better, as with the others.
    Ping,
}

impl Quantity {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Ping];

    /// Its name and unit.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP, Gbit/s",
            Self::Udp => "UDP 64 B, kpps",
            Self::Ping => "ping, us",
        }
    }

    const fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Tcp => sample.tcp_gbit,
            Self::Udp => sample.udp_kpps,
            Self::Ping => sample.ping_us,
        }
    }

    /// How good `sample` is as a share of `bare`: 1 is as good, more is better.
    fn share(self, sample: &Sample, bare: &Sample) -> f64 {
        match self {
            Self::Tcp | Self::Udp => self.of(sample) / self.of(bare),
            Self::Ping => self.of(bare) / self.of(sample),
        }
    }
}

/// One table's medians.
pub(crate) struct Row<'a> {
    /// The table.
    pub(crate) table: &'a Table,
    /// Each quantity: its value, and its share of the bare bridge's.
    pub(crate) values: [(f64, f64); 3],
}

impl Report {
    /// Adds the sample of another round.
    pub(crate) fn add(&mut self, table: &Table, sample: Sample) {
        if !self.order.contains(table) {
            self.order.push(table.clone());
        }
        self.samples.entry(table.clone()).or_default().push(sample);
    }

    /// The medians, one row per table.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let bare = self.samples.get(&Table::Bare).map_or(&[][..], Vec::as_slice);
        self.order.iter().filter_map(move |table| {
            let samples = self.samples.get(table)?;
            let values = Quantity::ALL.map(|quantity| {
                let shares = samples.iter().zip(bare).map(|(sample, bare)| quantity.share(sample, bare));
                (median(samples.iter().map(|sample| quantity.of(sample))), median(shares))
            });
            Some(Row { table, values })
        })
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:34}", "median (share of the bare bridge)")?;
        for quantity in Quantity::ALL {
            write!(f, "{:>22}", quantity.name())?;
        }
        for row in self.rows() {
            write!(f, "\n{:34}", row.table.to_string())?;
            for (value, share) in row.values {
                write!(f, "{value:>15.1} ({share:4.2})")?;
            }
        }
        writeln!(f)
    }
}
