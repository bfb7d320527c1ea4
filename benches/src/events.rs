//! How many OpenLineage events a registry takes: runs that begin and complete, each with two inputs and one output.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use crate::Result;
use crate::http::Connection;
use crate::server::Ours;

/// How much is sent, and how.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    ours: Ours,
    /// How many events
    #[arg(long, default_value_t = 40_000)]
    events: u32,
    /// How many senders at once
    #[arg(long, default_value_t = 8)]
    senders: u32,
}

/// Sends events one by one and in batches, and prints a line for each way.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let server = arguments.ours.start()?;
    println!("{:<28} {:>10} {:>8}", "", "events/s", "bar");
    let mut first = 0;
    for (name, together, bar) in [("one a request", 1, None), ("a hundred a request", 100, Some(2000))] {
        let rate = send(&server.host, arguments, first, together)?;
        let bar = bar.map_or_else(String::new, |bar: u32| bar.to_string());
        println!("{name:<28} {rate:>10.0} {bar:>8}");
        first += arguments.events;
    }
    Ok(())
}

fn send(host: &str, arguments: &Arguments, first: u32, together: u32) -> Result<f64> {
    let next = Arc::new(AtomicU32::new(first));
    let end = first + arguments.events;
    let start = Instant::now();
    let senders: Vec<_> = (0..arguments.senders)
        .map(|_| {
            let (host, next) = (host.to_owned(), Arc::clone(&next));
            thread::spawn(move || -> Result<()> {
                let mut connection = Connection::open(&host)?;
                loop {
                    let from = next.fetch_add(together, Ordering::Relaxed);
                    if from >= end {
                        return Ok(());
                    }
                    let events: Vec<_> = (from..(from + together).min(end)).map(event).collect();
                    let (path, body) = match together {
                        1 => ("/api/v1/lineage", events.concat()),
                        _ => ("/api/v1/lineage/batch", format!("[{}]", events.join(","))),
                    };
                    let mut request = Vec::new();
                    let length = body.len();
                    write!(request, "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n")?;
                    write!(request, "Content-Length: {length}\r\n\r\n{body}")?;
                    connection.send(&request)?;
                    connection.expect(200)?;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.join().map_err(|_| "a sender panicked")??;
    }
    Ok(f64::from(arguments.events) / start.elapsed().as_secs_f64())
}

/// The events of a run come one after the other.
fn event(number: u32) -> String {
    let run = number / 2;
    let state = if number.is_multiple_of(2) { "START" } else { "COMPLETE" };
    let dataset = |name: &str, run: u32| format!(r#"{{"namespace":"s3://lake","name":"{name}/{run}"}}"#);
    let (inputs, output) = ([dataset("raw", run % 1000), dataset("features", run)].join(","), dataset("model", run));
    format!(
        r#"{{"eventTime":"2026-11-20T09:14:03.120Z","producer":"https://example.com","schemaURL":"https://openlineage.io/spec/2-0-2/OpenLineage.json","eventType":"{state}","run":{{"runId":"{run:08x}-0000-7000-8000-000000000000"}},"job":{{"namespace":"bench","name":"train"}},"inputs":[{inputs}],"outputs":[{output}]}}"#
    )
}
