//! Medians, spreads and quantiles, and how they are written.

/// Of one measure over the rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        if value.is_finite() {
            self.0.push(value);
        }
    }

    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => None,
            count if count % 2 == 1 => Some(sorted[middle]),
            _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn latest(&self) -> Option<f64> {
        self.0.last().copied()
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn most(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The median, and from the least to the most: `1,234 (1,200–1,300)`.
    pub(crate) fn show(&self, write: fn(f64) -> String) -> String {
        let Some(median) = self.median() else { return "–".into() };
        let (least, most) = (self.least(), self.most());
        match self.0.len() {
            1 => write(median),
            _ => format!("{} ({}–{})", write(median), write(least), write(most)),
        }
    }
}

/// Of the delays of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quantiles(Vec<f64>);

impl Quantiles {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The value below which this share of all is; NaN where there is none.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let place = (self.0.len() as f64 * share) as usize;
        self.0.get(place.min(last)).copied().unwrap_or(f64::NAN)
    }
}

/// `123,456`
pub(crate) fn whole(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// `1.23`
pub(crate) fn two(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_an_even_count_is_between_the_middle_two() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.median(), None);
        for value in [4.0, 1.0, 3.0, 2.0] {
            rounds.push(value);
        }
        assert_eq!(rounds.median(), Some(2.5));
        assert_eq!(rounds.show(two), "2.50 (1.00–4.00)");
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let quantiles = Quantiles::of((1..=1000).rev().map(f64::from).collect());
        assert_eq!(quantiles.at(0.5), 501.0);
        assert_eq!(quantiles.at(0.999), 1000.0);
        assert!(Quantiles::default().at(0.5).is_nan());
    }

    #[test]
    fn whole_numbers_have_commas() {
        assert_eq!(whole(1_234_567.4), "1,234,567");
        assert_eq!(whole(12.0), "12");
        assert_eq!(whole(-1234.0), "-1,234");
    }
}
