//! Occurrences against those of `croner`, which somebody else has written: random patterns, in zones
//! of every kind, around the instants at which their clocks are set.

use croner::parser::{CronParser, Seconds, Year};
use croner_jiff::Timestamp as Instant;
use croner_jiff::tz::TimeZone;
use proptest::prelude::*;
use shiftwork_adapter::{Timestamp, Timing};

use super::Occurrences;

const ZONES: [&str; 12] = [
    "UTC",
    "America/New_York",
    "America/Santiago",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/London",
    "Africa/Casablanca",
    "Pacific/Chatham",
];

/// A field: `*`, `*/n`, a value, a range, a range with steps, or a list.
fn field(min: u8, max: u8) -> impl Strategy<Value = String> {
    let value = min..=max;
    // The whole range is another way to write `*`, of which programs think differently.
    let range = (min..max, 1..=max - min).prop_map(move |(first, length)| {
        let last = (first + length).min(max);
        if (first, last) == (min, max) { format!("{first}") } else { format!("{first}-{last}") }
    });
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => (2..=(max - min) / 2).prop_map(|step| format!("*/{step}")),
        4 => value.clone().prop_map(|value| value.to_string()),
        1 => range.clone(),
        1 => (range, 2..=9u8).prop_map(|(range, step)| match range.contains('-') {
            true => format!("{range}/{step}"),
            false => range,
        }),
        1 => (value.clone(), value).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

/// Mostly in the night, when clocks are set.
fn hour() -> impl Strategy<Value = String> {
    prop_oneof![3 => (0u8..=4).prop_map(|hour| hour.to_string()), 2 => field(0, 23)]
}

fn days() -> impl Strategy<Value = (String, String)> {
    let any = || Just("*".to_owned());
    prop_oneof![
        4 => (any(), any()),
        1 => (field(1, 28), any()),
        1 => (any(), field(0, 6)),
        // Of a stepped star beside another, programs differ.
        1 => ((1u8..=28).prop_map(|day| day.to_string()), (0u8..=6).prop_map(|day| day.to_string())),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    (field(0, 59), hour(), days(), prop_oneof![4 => Just("*".to_owned()), 1 => field(1, 12)])
        .prop_filter_map("they do not agree which kind it is", |(minute, hour, days, month)| {
            // It takes for an interval also what has no star and several times of a day.
            let times = [&minute, &hour];
            let is_interval = times.iter().any(|field| field.starts_with('*'));
            let is_one_time = times.iter().all(|field| field.bytes().all(|b| b.is_ascii_digit()));
            let (day, weekday) = days;
            (is_interval || is_one_time).then(|| format!("{minute} {hour} {day} {month} {weekday}"))
        })
}

/// An instant within two days of one at which the clocks of a zone are set, of those from 2020 to
/// 2037; or any, of a zone that has none.
fn instant(zone: &TimeZone, which: usize, off_s: i64) -> i64 {
    let from: Instant = "2020-01-01T00:00:00Z".parse().unwrap();
    let until: Instant = "2037-01-01T00:00:00Z".parse().unwrap();
    let all: Vec<_> =
        zone.following(from).map(|set| set.timestamp()).take_while(|at| *at < until).collect();
    let at = if all.is_empty() { from } else { all[which % all.len()] };
    (at.as_second() + off_s) * 1000
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_next_occurrences_are_those_of_another_implementation(
        pattern in pattern(),
        zone in 0..ZONES.len(),
        which in 0usize..64,
        off_s in -172_800i64..172_800,
    ) {
        let name = ZONES[zone];
        let zone = TimeZone::get(name).unwrap();
        let from = instant(&zone, which, off_s);
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let other = parser.parse(&pattern).unwrap();
        let timing = Timing::Cron { pattern: pattern.clone(), timezone: name.into() };
        let ours = Occurrences::parse(&timing).unwrap();
        let mut at = Timestamp::from_millis(from);
        let begin = Instant::from_millisecond(from).unwrap().to_zoned(zone);
        let mut theirs = begin.clone();
        for count in 0..5 {
            let next = ours.after(at);
            let other = other.find_next_occurrence(&theirs, false);
            let (Some(next), Ok(other)) = (next, other) else { break };
            prop_assert_eq!(
                next.to_string(),
                Timestamp::from_millis(other.timestamp().as_millisecond()).to_string(),
                "occurrence {} of {} in {} after {}", count, pattern, name, begin
            );
            prop_assert!(next > at);
            // From whatever is before it, the same follows.
            prop_assert_eq!(ours.after(at + next.since(at) / 2), Some(next));
            prop_assert_eq!(ours.after(next - std::time::Duration::from_millis(1)), Some(next));
            at = next;
            theirs = other;
        }
    }
}
