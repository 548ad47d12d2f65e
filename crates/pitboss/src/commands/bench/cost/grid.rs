//! A table of texts and figures, for the terminal and for a page in Markdown.

use comfy_table::CellAlignment;

use crate::output::borderless_table;

/// Rows under a header. Figures are on the right of their columns.
#[derive(Debug)]
pub(in crate::commands::bench) struct Grid {
    /// Names of the columns, in capitals.
    pub(in crate::commands::bench) header: &'static [&'static str],
    /// Number of columns with text. The columns after them have figures.
    pub(in crate::commands::bench) text_columns: usize,
    /// The cells. Each row is as long as the header.
    pub(in crate::commands::bench) rows: Vec<Vec<String>>,
}

impl Grid {
    /// The table for a terminal of this width.
    pub(in crate::commands::bench) fn to_text(&self, columns: usize) -> String {
        let mut table = borderless_table(columns, self.header);
        for row in &self.rows {
            table.add_row(row);
        }
        for figure in self.text_columns..self.header.len() {
            if let Some(column) = table.column_mut(figure) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }

    /// The table in Markdown.
    pub(in crate::commands::bench) fn to_markdown(&self) -> String {
        let names: Vec<String> = self.header.iter().map(|name| name.to_lowercase()).collect();
        let rules =
            (0..self.header.len()).map(|column| if column < self.text_columns { "---" } else { "--:" });
        let rules: Vec<String> = rules.map(str::to_owned).collect();
        [&names, &rules].into_iter().chain(&self.rows).map(|row| line(row)).collect()
    }
}

/// One line of Markdown. A bar in a cell would begin another cell.
fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "/")).collect();
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_all_cells() {
        let rows = vec![vec!["game|a".to_owned(), "1.25".to_owned()]];
        let grid = Grid { header: &["PART", "MS/BET"], text_columns: 1, rows };
        assert_eq!(grid.to_markdown(), "| part | ms/bet |\n| --- | --: |\n| game/a | 1.25 |\n");
        let text = grid.to_text(80);
        assert!(["PART", "MS/BET", "game|a", "1.25"].iter().all(|cell| text.contains(cell)), "{text}");
    }
}
