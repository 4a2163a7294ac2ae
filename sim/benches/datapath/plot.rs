//! The report as a picture: a bar for each table and quantity, 1 being the bare bridge.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::{
    BLUE, ChartBuilder, Color as _, IntoDrawingArea as _, IntoSegmentedCoord as _, Rectangle, SVGBackend,
    SegmentValue, Text, WHITE,
};

use crate::report::{Quantity, Report, Row};

/// Pixels.
const SIZE: (u32, u32) = (1_500, 320);
/// Where the picture ends; a longer bar is cut off, its number is not.
const WIDEST: f64 = 1.2;

/// Writes the picture to `file`.
pub(crate) fn draw(report: &Report, file: &Path) -> Result<()> {
    // The drawing library's errors borrow what is drawn on.
    drawn(report, file).map_err(|error| anyhow!("{error}"))
}

fn drawn(report: &Report, file: &Path) -> Result<(), Box<dyn core::error::Error>> {
    // Bars are laid from below; the bare bridge belongs at the top.
    let mut rows: Vec<Row<'_>> = report.rows().collect();
    rows.reverse();
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let panels = area.split_evenly((1, Quantity::ALL.len()));
    for (at, (quantity, panel)) in Quantity::ALL.into_iter().zip(&panels).enumerate() {
        let mut chart = ChartBuilder::on(panel)
            .caption(format!("{}: share of the bare bridge", quantity.name()), ("sans-serif", 15))
            .margin(10)
            .x_label_area_size(24)
            .y_label_area_size(170)
            .build_cartesian_2d(0.0..WIDEST, (0..rows.len() - 1).into_segmented())?;
        let name = |segment: &SegmentValue<usize>| match segment {
            SegmentValue::CenterOf(row) => {
                rows.get(*row).map(|row| row.table.to_string()).unwrap_or_default()
            }
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        };
        chart.configure_mesh().disable_y_mesh().y_labels(rows.len()).y_label_formatter(&name).draw()?;
        for (row, of_row) in rows.iter().enumerate() {
            let Some((value, share)) = of_row.values.get(at) else { continue };
            let ends = [(0.0, SegmentValue::Exact(row)), (share.min(WIDEST), SegmentValue::Exact(row + 1))];
            let mut bar = Rectangle::new(ends, BLUE.mix(0.5).filled());
            bar.set_margin(5, 5, 0, 0);
            let written = format!("{value:.1} ({share:.2})");
            let text = Text::new(written, (0.02, SegmentValue::CenterOf(row)), ("sans-serif", 13));
            chart.draw_series([bar])?;
            chart.draw_series([text])?;
        }
    }
    area.present()?;
    Ok(())
}
