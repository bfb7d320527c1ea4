//! What it costs to look back: a tag that was moved very often, asked what it named at moments of its past.

use std::time::Instant;

use crate::Result;
use crate::database::{AT, Database, REPOSITORY};
use crate::http::Connection;
use crate::report::{milliseconds, percentile};
use crate::server::Ours;

/// How much there is, and how often it is asked about.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    ours: Ours,
    /// How often the one tag was moved
    #[arg(long, default_value_t = 100_000)]
    moves: u32,
    /// Among how many manifests
    #[arg(long, default_value_t = 1_000)]
    manifests: u32,
    /// How often each question is asked
    #[arg(long, default_value_t = 1_000)]
    questions: u32,
}

/// Between two moves, in microseconds.
const STEP: i64 = 1_000_000;

/// Fills a registry, measures, and prints a line for each question.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { ours, moves, manifests, questions } = arguments;
    let (moves, manifests) = (*moves, *manifests);
    let mut server = ours.start()?;
    let begun = Instant::now();
    let start: i64 = AT.parse()?;
    server.restart(|data| {
        let mut database = Database::open(&ours.url(data))?;
        database.fill(1, manifests)?;
        // As far from each other as may be, so that no two in a row are the same.
        let target = |n: u32| u64::from(n) * 7919 % u64::from(manifests) + 1;
        let at = |n: u32| start + i64::from(n) * STEP;
        database.insert(
            "tag (repository_id, name, manifest_id, last_at)",
            [format!("1, 'champion', {}, {}", target(moves), at(moves))].into_iter(),
        )?;
        database.execute("begin".to_owned())?;
        let columns = "tag_event (repository_id, name, at, kind, manifest_id, previous_id, actor, act)";
        database.rows(columns, 1..=moves, |_, n| {
            let previous = if n == 1 { "null".to_owned() } else { target(n - 1).to_string() };
            format!("1, 'champion', {}, 0, {}, {previous}, 'bench', 1", at(n), target(n))
        })?;
        database.execute("commit".to_owned())?;
        database.only(&["pragma wal_checkpoint(truncate)"], &["vacuum analyze", "checkpoint"])
    })?;
    eprintln!("{moves} moves of a tag among {manifests} manifests after {} s", begun.elapsed().as_secs());

    let tag = format!("/api/v1/repositories/{REPOSITORY}/-/tags/champion");
    let then = |question: u32| {
        // Anywhere in the past, and between two moves too.
        let moved = i64::from(question) * 7919 % i64::from(moves);
        (start + moved * STEP + STEP + i64::from(question % 2) * STEP / 2) / 1_000_000
    };
    println!("{:<34} {:>9} {:>9} {:>8}", "", "p50", "p95", "bar, p95");
    let as_of = |question: u32| format!("GET {tag}?as_of={}", rfc3339(then(question)));
    measure("the tag at a moment, ms", &server.host, *questions, Some(5.0), as_of)?;
    measure("the tag now, ms", &server.host, *questions, None, |_| format!("GET {tag}"))?;
    measure("stages at a moment, ms", &server.host, *questions, None, |question| {
        format!("GET /api/v1/stages?as_of={}", rfc3339(then(question)))
    })?;
    measure("100 events from anywhere, ms", &server.host, *questions, None, |question| {
        format!("GET {tag}/history?as_of={}", rfc3339(then(question)))
    })?;
    measure("last good among all, ms", &server.host, 5, None, |_| format!("POST {tag}/rollback"))
}

fn measure(what: &str, host: &str, questions: u32, bar: Option<f64>, request: impl Fn(u32) -> String) -> Result<()> {
    const BODY: &str = r#"{"last_good": true, "reason": "a benchmark"}"#;
    let mut connection = Connection::open(host)?;
    let mut samples = Vec::new();
    for question in 0..questions {
        let line = request(question);
        let body = if line.starts_with("POST") { BODY } else { "" };
        let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let start = Instant::now();
        connection.send(text.as_bytes())?;
        connection.expect(200)?;
        samples.push(milliseconds(start.elapsed()));
    }
    let bar = bar.map_or_else(String::new, |bar| format!("{bar:.1}"));
    println!("{what:<34} {:>9.2} {:>9.2} {bar:>8}", percentile(&samples, 50), percentile(&samples, 95));
    Ok(())
}

/// A moment by its seconds.
fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|at| at.to_string()).unwrap_or_default()
}
