//! Tables of text: columns as wide as their widest cell.
//!
//! Apart because three verbs print them and the tests compare them as a whole.

use super::output::one_line;

/// A column's heading and whether its cells stand on the right.
pub(super) type Column = (&'static str, bool);

/// The table with its heading, one line a row, without blanks at the ends of lines.
pub(super) fn table(columns: &[(&str, bool)], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(one_line).collect()).collect();
    let wide = |at: usize| {
        let cells =
            rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([columns[at].0.chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len()).map(wide).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for ((cell, (_, right)), width) in cells.zip(columns).zip(&widths) {
            let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) = if *right { (&*blanks, "") } else { ("", &*blanks) };
            text.extend([before, cell, after, "  "]);
        }
        format!("{}\n", text.trim_end())
    };
    let mut text = line(&mut columns.iter().map(|(heading, _)| *heading));
    for row in &rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["längere".to_owned(), "12345".to_owned()],
        ];
        let text = table(&[("NAME", false), ("N", true)], &rows);
        assert_eq!(text, "NAME         N\na            1\nlängere  12345\n");
    }
}
