//! How long to leave a store alone that has just failed.

use std::time::Duration;

use crate::random::Random;

/// The longest delay.
pub(crate) const LONGEST: Duration = Duration::from_millis(7500);

/// After the n-th failure in a row: 100 ms, 200 ms, … up to 5 s, and up to half as much again, so
/// that many processes do not return at once.
pub(crate) fn delay(failures: u32, random: &Random) -> Duration {
    let plain = Duration::from_millis(100)
        .saturating_mul(1 << failures.saturating_sub(1).min(10))
        .min(Duration::from_secs(5));
    (plain + plain.mul_f64(random.fraction() / 2.0)).min(LONGEST)
}
