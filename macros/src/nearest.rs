//! The valid word that somebody may have meant.

/// `; did you mean "attempts"?`, or nothing: the candidate at most a third of its letters away.
pub(crate) fn did_you_mean<'a>(
    seen: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    let seen = seen.to_lowercase();
    let far = (seen.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&seen, candidate), candidate))
        .filter(|&(distance, _)| distance <= far)
        .min()
        .map_or_else(String::new, |(_, word)| format!("; did you mean {word:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let words = ["attempts", "timeout", "queue"];
        assert_eq!(did_you_mean("attemps", words), "; did you mean \"attempts\"?");
        assert_eq!(did_you_mean("Queue", words), "; did you mean \"queue\"?");
        assert_eq!(did_you_mean("color", words), "");
    }
}
