//! Tables in markdown, columns padded, so that they read well in a terminal too.

use std::fmt;

/// Rows under one head.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column names.
    pub fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned).into()] }
    }

    /// Adds a row. Columns of numbers are set right.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let is_text = |column: usize| {
            let mut cells = self.rows.iter().skip(1).filter_map(|row| row.get(column));
            cells.any(|cell| cell.starts_with(char::is_alphabetic))
        };
        let shape: Vec<(usize, bool)> = (0..columns).map(|column| (width(column), is_text(column))).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (cell, &(width, is_text)) in row.iter().zip(&shape) {
                match is_text {
                    true => write!(f, "| {cell:<width$} ")?,
                    false => write!(f, "| {cell:>width$} ")?,
                }
            }
            writeln!(f, "|")?;
            if number == 0 {
                for &(width, is_text) in &shape {
                    write!(f, "| {}{} ", "-".repeat(width - 1), if is_text { '-' } else { ':' })?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["who", "req/s"]);
        table.row(["h2o".to_owned(), "1".to_owned()]);
        assert_eq!(table.to_string(), "| who | req/s |\n| --- | ----: |\n| h2o |     1 |\n");
    }
}
