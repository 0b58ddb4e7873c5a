//! How long to wait before the next attempt.

use std::time::Duration;

use crate::Backoff;

/// The delay after attempt `n` (the first is 1) has failed: min(`max`, base × 2^(n−1)) or the
/// fixed delay, and with jitter up to half as much again, by `chance` in 0..1.
///
/// With a base of 2 s, a third failed attempt and a chance of 0.5: 2 s × 2² = 8 s, plus
/// 0.5 × 0.5 × 8 s = 2 s, is 10 s. Jitter only ever adds: who reads "2s" expects no retry before.
pub(crate) fn delay(backoff: Backoff, max: Duration, n: u32, jitter: Option<f64>) -> Duration {
    let plain = match backoff {
        Backoff::Fixed(delay) => delay,
        Backoff::Exponential(base) => {
            let doublings = n.saturating_sub(1).min(31);
            base.saturating_mul(1 << doublings)
        }
    }
    .min(max);
    match jitter {
        None => plain,
        Some(chance) => plain.saturating_add(plain.mul_f64(chance.clamp(0.0, 1.0) / 2.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Duration = Duration::from_secs(2);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn each_further_attempt_waits_twice_as_long_up_to_the_longest() {
        let delays: Vec<_> =
            (1..=13).map(|n| delay(Backoff::Exponential(BASE), HOUR, n, None).as_secs()).collect();
        assert_eq!(delays, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]);
    }

    #[test]
    fn a_fixed_delay_stays() {
        assert_eq!(delay(Backoff::Fixed(BASE), HOUR, 9, None), BASE);
    }

    #[test]
    fn jitter_adds_up_to_half() {
        assert_eq!(delay(Backoff::Exponential(BASE), HOUR, 3, Some(0.5)), Duration::from_secs(10));
    }

    proptest! {
        #[test]
        fn no_arguments_overflow_or_fall_short(
            base in any::<u64>(), max in any::<u64>(), n in any::<u32>(), chance in 0.0..1.0f64,
        ) {
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(max));
            let plain = delay(Backoff::Exponential(base), max, n, None);
            let jittered = delay(Backoff::Exponential(base), max, n, Some(chance));
            prop_assert!(plain <= max);
            prop_assert!(plain <= jittered);
            prop_assert!(jittered.as_secs_f64() <= plain.as_secs_f64() * 1.5 + 0.001);
        }
    }
}
