//! Tables for people: who reaches whom.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::plan::StationId;

/// How a cell is shown on a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Style {
    /// As it must not be.
    Bad,
    /// Has changed.
    Changed,
    /// Of little interest.
    Dim,
    /// As it should be.
    #[default]
    Plain,
}

/// One cell.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// How it is shown.
    pub style: Style,
}

/// A table with a row for each sender and a column for each receiver.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Matrix {
    cells: BTreeMap<(StationId, StationId), Cell>,
}

impl Matrix {
    /// Sets the cell for `from` and `to`.
    pub fn set(&mut self, from: &StationId, to: &StationId, cell: Cell) {
        self.cells.insert((from.clone(), to.clone()), cell);
    }

    /// The table as text; with the escape sequences of ECMA-48 (SGR) when `colour`.
    pub fn render(&self, colour: bool) -> String {
        let stations: BTreeSet<&StationId> = self.cells.keys().flat_map(|(from, to)| [from, to]).collect();
        let labels = labels(&stations);
        let width_of = |text: &str| text.chars().count();
        let mut widths: BTreeMap<&StationId, usize> = BTreeMap::new();
        for to in &stations {
            let column = self.cells.iter().filter(|((_, column), _)| column == *to);
            let widest = column.map(|(_, cell)| width_of(&cell.text)).max().unwrap_or(0);
            let label = labels.get(to).map_or(0, |label| width_of(label));
            widths.insert(to, widest.max(label));
        }
        let corner = "from \\ to";
        let first = labels.values().map(|label| width_of(label)).chain([width_of(corner)]).max().unwrap_or(0);
        let mut text = format!("  {corner:first$}");
        for to in &stations {
            pad(&mut text, labels.get(to).map_or("", String::as_str), widths.get(to), None);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        for from in &stations {
            let mut row = format!("  {:first$}", labels.get(from).map_or("", String::as_str));
            for to in &stations {
                let none = Cell { text: "-".to_owned(), style: Style::Dim };
                let cell = self.cells.get(&((*from).clone(), (*to).clone())).unwrap_or(&none);
                pad(&mut row, &cell.text, widths.get(to), colour.then_some(cell.style));
            }
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Appends two blanks and `text`, filled up to `width`.
fn pad(row: &mut String, text: &str, width: Option<&usize>, style: Option<Style>) {
    let fill = width.copied().unwrap_or(0).saturating_sub(text.chars().count());
    let (on, off) = match style {
        None | Some(Style::Plain) => ("", ""),
        Some(Style::Bad) => ("\x1b[1;31m", "\x1b[0m"),
        Some(Style::Changed) => ("\x1b[1;33m", "\x1b[0m"),
        Some(Style::Dim) => ("\x1b[2m", "\x1b[0m"),
    };
    let cell = format!("  {on}{text}{off}{:fill$}", "");
    row.push_str(&cell);
}

/// The shortest names that tell the stations apart: without namespace where the pod's name is unique, and without
/// interface where the pod has one.
fn labels<'a>(stations: &BTreeSet<&'a StationId>) -> BTreeMap<&'a StationId, String> {
    let short =
        |id: &StationId| id.owner.rsplit_once('/').map_or(id.owner.clone(), |(_, name)| name.to_owned());
    let owners: BTreeSet<&str> = stations.iter().map(|id| id.owner.as_str()).collect();
    let label = |id: &&'a StationId| {
        let alike =
            owners.iter().filter(|owner| owner.rsplit('/').next() == id.owner.rsplit('/').next()).count();
        let mut label = if alike > 1 { id.owner.clone() } else { short(id) };
        if stations.iter().filter(|other| other.owner == id.owner).count() > 1 {
            label = format!("{label}@{}", id.interface);
        }
        (*id, label)
    };
    stations.iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn station(owner: &str, interface: &str) -> StationId {
        StationId { owner: owner.to_owned(), interface: interface.to_owned() }
    }

    #[test]
    fn names_are_as_short_as_they_can_be() {
        let (web, db, other) = (station("a/web", "net1"), station("a/db", "net1"), station("b/db", "net1"));
        let second = station("a/db", "net2");
        let all = BTreeSet::from([&web, &db, &second, &other]);
        let labels: Vec<String> = labels(&all).into_values().collect();
        assert_eq!(labels, ["a/db@net1", "a/db@net2", "web", "b/db"]);
    }

    #[test]
    fn columns_line_up_and_colour_is_left_out_when_not_asked_for() {
        let (web, db) = (station("a/web", "net1"), station("a/db", "net1"));
        let mut matrix = Matrix::default();
        matrix.set(&web, &db, Cell { text: "closed/open".to_owned(), style: Style::Bad });
        matrix.set(&db, &web, Cell { text: "open".to_owned(), style: Style::Plain });
        let text =
            "  from \\ to  db           web\n  db         -            open\n  web        closed/open  -\n";
        assert_eq!(matrix.render(false), text);
        assert!(matrix.render(true).contains("\x1b[1;31mclosed/open\x1b[0m"));
    }
}
