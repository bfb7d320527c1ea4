//! The table.

use std::time::Duration;

use crate::measure::{Row, Sample};

/// Prints the names of the columns.
pub(crate) fn print_header() {
    println!(
        "{:<12} {:<10} {:>9} {:>9} {:>6} {:>13}   {:<10} {:>9} {:>9} {:>6} {:>6}",
        "", "cost", "ours", "peer", "ratio", "(range)", "rate", "ours", "peer", "ratio", "client"
    );
}

/// Prints the medians of one measurement. A ratio is the median of the ratios of the pairs, not the ratio of the
/// medians: the two runs of a pair share whatever else the machine was doing.
pub(crate) fn print_row(row: &Row) {
    let costs = |samples: &[Sample]| samples.iter().map(|sample| sample.cost).collect::<Vec<_>>();
    let (ours, peer) = (costs(&row.ours), costs(&row.peer));
    let ratios = sorted(pairs(&ours, &peer));
    let range = match (ratios.first(), ratios.last()) {
        (Some(least), Some(most)) => format!("({least:.2}-{most:.2})"),
        _ => String::new(),
    };
    print!(
        "{:<12} {:<10} {:>9.3} {:>9.3} {:>6.2} {:>13}",
        row.measurement,
        row.cost_unit,
        median(ours),
        median(peer),
        median(ratios),
        range
    );
    if let Some(unit) = row.rate_unit {
        let rates = |samples: &[Sample]| samples.iter().filter_map(|sample| sample.rate).collect::<Vec<_>>();
        let (ours, peer) = (rates(&row.ours), rates(&row.peer));
        let client = row.ours.iter().filter_map(|sample| sample.client_cores).collect();
        let ratio = median(pairs(&ours, &peer));
        print!("   {unit:<10} {:>9.0} {:>9.0} {ratio:>6.2} {:>6.2}", median(ours), median(peer), median(client));
    }
    println!();
}

fn pairs(ours: &[f64], peer: &[f64]) -> Vec<f64> {
    ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect()
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The value in the middle.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    let values = sorted(values);
    match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[even / 2 - 1], values[even / 2]),
        odd => values[odd / 2],
    }
}

/// The value below which so many percent of the others are.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let values = sorted(values.to_vec());
    values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// A time as the figures have it.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Prints what came of a question, how many results and how many milliseconds.
pub(crate) fn print_times(name: &str, results: u64, samples: &[f64]) {
    let [middle, most] = [50, 95].map(|percent| percentile(samples, percent));
    println!("{name:<44} {results:>8} {middle:>9.1} {most:>9.1}");
}

#[test]
fn the_median_is_in_the_middle() {
    assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
}
