//! What is printed and written: tables in Markdown.

use crate::rounds::Results;

/// The table of one workload.
pub(crate) fn of(results: &Results) -> String {
    let columns = results.workload.columns();
    let headings = columns.iter().map(|(_, heading, _)| *heading);
    let mut text = format!("### {}\n\n", results.workload.title());
    text += &format!(
        "{}; median of {} {}, and from the least to the most.\n\n",
        sentence(results.workload.server(results.persistence)),
        results.rounds,
        if results.rounds == 1 { "run" } else { "interleaved runs" },
    );
    text += &row(["contender"].into_iter().chain(headings).chain(["deliveries"]));
    text += &row(columns.iter().map(|_| "---").chain(["---", "---"]));
    for line in &results.lines {
        let values = columns.iter().map(|(name, _, write)| match line.values.get(name) {
            Some(rounds) => rounds.show(*write),
            None => "–".into(),
        });
        let complaints = line.complaints.iter();
        let complaints: Vec<String> = complaints
            .map(|(complaint, count)| format!("{count} of {}: {complaint}", results.rounds))
            .collect();
        let verdict =
            if complaints.is_empty() { "as they should".into() } else { complaints.join("; ") };
        let name = line.entry.name.to_owned();
        text += &row([name].into_iter().chain(values).chain([verdict]));
    }
    text.push('\n');
    text
}

/// A row of cells.
pub(crate) fn row<T: Into<String>>(cells: impl Iterator<Item = T>) -> String {
    let cells: Vec<String> = cells.map(|cell| cell.into().replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
