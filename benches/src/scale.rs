//! What our server costs once it holds a lot, against fixed bars: a registry that is filled behind its back, in its
//! database alone. Only the blobs that are to be collected are in the store too.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::Result;
use crate::database::Database;
use crate::http::Connection;
use crate::load;
use crate::report::{median, milliseconds, percentile};
use crate::server::{Ours, Server};

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measurement {
    /// From the start of the process to the first answer
    Start,
    /// The first page of the tags, and one from the middle
    Tags,
    /// Collecting garbage, and pushes meanwhile
    Gc,
}

/// How much there is, and what is done with it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    ours: Ours,
    /// Only these measurements
    #[arg(long, value_delimiter = ',')]
    only: Vec<Measurement>,
    /// Blobs in the index
    #[arg(long, default_value_t = 1_000_000)]
    blobs: u32,
    /// Tags of the one repository, and manifests; the blobs are shared out among them
    #[arg(long, default_value_t = 100_000)]
    tags: u32,
    /// Blobs that nobody needs, in each collection
    #[arg(long, default_value_t = 1_000)]
    garbage: u32,
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    repetitions: u32,
}

/// Fills a registry, measures, and prints a line for each bar.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let wanted = |measurement| arguments.only.is_empty() || arguments.only.contains(&measurement);
    let mut server = arguments.ours.start()?;
    let start = Instant::now();
    server.restart(|data| Database::open(&arguments.ours.url(data))?.fill(arguments.blobs, arguments.tags))?;
    eprintln!("{} blobs and {} tags after {} s", arguments.blobs, arguments.tags, start.elapsed().as_secs());

    println!("{:<34} {:>9} {:>13} {:>8}", "", "median", "(range)", "bar");
    if wanted(Measurement::Start) {
        let mut samples = Vec::new();
        for _ in 0..arguments.repetitions {
            server.restart(|_| Ok(()))?;
            samples.push(milliseconds(server.started_in));
        }
        print("start, ms", &samples, Some(500.0));
    }
    if wanted(Measurement::Tags) {
        let middle = format!("&last={}", crate::database::tag(arguments.tags / 2));
        for (name, query, bar) in [
            ("tags, first 100, p50 ms", "?n=100".to_owned(), Some(5.0)),
            ("tags, 100 from the middle, p50 ms", format!("?n=100{middle}"), Some(5.0)),
            ("tags, first 1,000, p50 ms", "?n=1000".to_owned(), Some(5.0)),
            ("tags, 1,000 from the middle, p50 ms", format!("?n=1000{middle}"), Some(5.0)),
            ("tags, first page unasked, p50 ms", String::new(), None),
        ] {
            let path = format!("/v2/{}/tags/list{query}", crate::database::REPOSITORY);
            let samples = (0..arguments.repetitions).map(|_| page(&server.host, &path)).collect::<Result<Vec<_>>>()?;
            print(name, &samples, bar);
        }
    }
    if wanted(Measurement::Gc) {
        let mut database = Database::open(&arguments.ours.url(&server.data()))?;
        let data = server.data();
        gc("a command", arguments, &server, &mut database, |_| collect(arguments, &data))?;
        // As often as can be said.
        server.set("PEDIGREE_GC_INTERVAL", "1");
        server.restart(|_| Ok(()))?;
        gc("the server", arguments, &server, &mut database, watch)?;
    }
    Ok(())
}

/// How long a page takes in the median of a hundred, in milliseconds.
fn page(host: &str, path: &str) -> Result<f64> {
    let mut connection = Connection::open(host)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut samples = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        connection.send(request.as_bytes())?;
        connection.expect(200)?;
        samples.push(milliseconds(start.elapsed()));
    }
    Ok(median(samples))
}

/// Pushes go on all the time, by turns alone and beside a collection. One collection sees only a few of them, so that their
/// percentiles are those of all rounds together.
fn gc(
    collector: &str,
    arguments: &Arguments,
    server: &Server,
    database: &mut Database,
    mut collect: impl FnMut(&mut Database) -> Result<(Instant, Instant)>,
) -> Result<()> {
    let (mut collections, mut alone, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    let objects = server.data().join("objects");
    for repetition in 0..=arguments.repetitions {
        database.litter(&objects, arguments.garbage, &format!("{collector} {repetition}"))?;
        let ((), before) = pushes(&server.host, || {
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        })?;
        database.expose()?;
        let ((start, end), during) = pushes(&server.host, || collect(database))?;
        // The first one warms up.
        if repetition > 0 {
            collections.push(milliseconds(end - start));
            alone.extend(before.iter().map(Push::milliseconds));
            let meets = |push: &&Push| push.end > start && push.start < end;
            beside.extend(during.iter().filter(meets).map(Push::milliseconds));
        }
    }
    println!("collected by {collector}; {} pushes alone, {} meanwhile", alone.len(), beside.len());
    print(format!("gc of {}, ms", arguments.garbage), &collections, Some(1000.0));
    for percent in [50, 95] {
        let [alone, beside] = [&alone, &beside].map(|samples| percentile(samples, percent));
        print(format!("push alone, p{percent} ms"), &[alone], None);
        print(format!("push beside gc, p{percent} ms"), &[beside], None);
        print("ratio of the two", &[beside / alone], (percent == 95).then_some(1.2));
    }
    Ok(())
}

/// Waits until the server has collected everything. From when to when it did, to a few milliseconds.
fn watch(database: &mut Database) -> Result<(Instant, Instant)> {
    let begun = Instant::now();
    let mut start = None;
    loop {
        std::thread::sleep(Duration::from_millis(10));
        let (left, marked) = database.left()?;
        if marked && start.is_none() {
            start = Some(Instant::now());
        }
        if left == 0 {
            return Ok((start.ok_or("the collection was not seen")?, Instant::now()));
        }
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("the server does not collect".into());
        }
    }
}

/// Collects as an operator would, beside the server. From when to when the command runs.
fn collect(arguments: &Arguments, data: &Path) -> Result<(Instant, Instant)> {
    let mut command = Command::new(&arguments.ours.pedigree);
    command.args(["gc", "--json", "--grace=3600", "--data"]).arg(data).env("PEDIGREE_LOG", "error");
    command.args(arguments.ours.database.iter().map(|url| format!("--database={url}")));
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let end = Instant::now();
    let said = String::from_utf8(output.stdout)?;
    let collected: serde_json::Value = serde_json::from_str(&said)?;
    if collected["blobs"] != arguments.garbage {
        return Err(format!("not what was to be collected: {said}").into());
    }
    Ok((start, end))
}

/// A push, from its first connection to its last answer.
struct Push {
    start: Instant,
    end: Instant,
}

impl Push {
    fn milliseconds(&self) -> f64 {
        milliseconds(self.end - self.start)
    }
}

/// The pushes of two clients while some work goes on.
fn pushes<T>(host: &str, work: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Push>)> {
    // No two pushes have the same blobs.
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    let done = AtomicBool::new(false);
    let push = || {
        let mut samples = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let start = Instant::now();
            load::push_manifest(host, "scale/pushed", NUMBERS.fetch_add(1, Ordering::Relaxed))?;
            samples.push(Push { start, end: Instant::now() });
        }
        Result::Ok(samples)
    };
    std::thread::scope(|scope| {
        let clients = [scope.spawn(push), scope.spawn(push)];
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let mut samples = Vec::new();
        for client in clients {
            samples.extend(client.join().map_err(|_| "a client crashed")??);
        }
        Ok((worked?, samples))
    })
}

fn print(what: impl fmt::Display, samples: &[f64], bar: Option<f64>) {
    let range = samples
        .iter()
        .copied()
        .fold((f64::INFINITY, 0.0), |(least, most), sample| (f64::min(least, sample), f64::max(most, sample)));
    let range = format!("({:.1}-{:.1})", range.0, range.1);
    let bar = bar.map_or_else(String::new, |bar| format!("{bar:.1}"));
    println!("{what:<34} {:>9.2} {range:>13} {bar:>8}", median(samples.to_vec()));
}
