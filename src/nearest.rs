//! The valid name that somebody may have meant.

/// The candidate most like `seen`, if any is like it at all: at most a third of its letters away,
/// by insertions, deletions, substitutions and swaps of neighbours.
pub(crate) fn nearest<'a>(
    seen: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let far = (seen.chars().count() / 3).max(1);
    let folded = fold(seen);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&folded, &fold(candidate)), candidate))
        .filter(|&(distance, _)| distance <= far)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `; did you mean "welcome_email"?`, or nothing.
pub(crate) fn did_you_mean<'a>(
    seen: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    nearest(seen, candidates).map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// Case and the choice of separator are no difference.
fn fold(name: &str) -> String {
    name.to_lowercase().replace(['-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_understood() {
        let names = ["welcome_email", "data-retention", "report"];
        assert_eq!(nearest("welcome_emial", names), Some("welcome_email"));
        assert_eq!(nearest("data_retention", names), Some("data-retention"));
        assert_eq!(nearest("Report", names), Some("report"));
    }

    #[test]
    fn another_word_is_not() {
        assert_eq!(nearest("invoice", ["report", "welcome_email"]), None);
        assert_eq!(did_you_mean("invoice", []), "");
    }
}
