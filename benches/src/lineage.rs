//! What lineage costs: a chain of hundreds of models, each made from the one before, and a model from which a hundred thousand
//! are made, among a million others. The registry is filled behind its back, in its database alone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::database::{AT, Database, hash};
use crate::http::Connection;
use crate::report::percentile;
use crate::server::Ours;

/// How much there is, and where.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    ours: Ours,
    /// Models in all
    #[arg(long, default_value_t = 1_000_000)]
    models: u32,
    /// How many of them are made one from the other
    #[arg(long, default_value_t = 500)]
    deep: u32,
    /// How many of them are made from one
    #[arg(long, default_value_t = 100_000)]
    wide: u32,
    /// How often each question is asked
    #[arg(long, default_value_t = 20)]
    repetitions: u32,
}

/// How many of the others are made from each other, one after the other.
const CHAIN: u32 = 10;
const REPOSITORIES: u32 = 10_000;

/// Fills an index, asks, and prints a line for each figure.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.models < arguments.deep + arguments.wide + 1 {
        return Err("--models must have room for --deep and --wide".into());
    }
    let mut server = arguments.ours.start()?;
    let start = Instant::now();
    server.restart(|data| fill(arguments, data))?;
    eprintln!("{} models after {} s", arguments.models, start.elapsed().as_secs());
    println!("{:<44} {:>8} {:>9} {:>9}", "", "edges", "p50 ms", "p95 ms");
    let (deep, base) = (arguments.deep, arguments.deep + 1);
    for (name, model, edges) in [
        (format!("the last of a chain of {deep}"), deep, deep - 1),
        (format!("the first of a chain of {deep}"), 1, deep - 1),
        (format!("the middle of a chain of {deep}"), deep / 2, deep - 1),
        (format!("the base of {}", arguments.wide), base, arguments.wide),
        (format!("one of {}", arguments.wide), base + 1, 1),
    ] {
        let digest = hex::encode(hash("manifest", model));
        let question = format!("/api/v1/lineage?digest=sha256:{digest}");
        let mut page = Vec::new();
        let mut whole = Vec::new();
        for _ in 0..arguments.repetitions {
            page.push(timed(edges, || first_page(&server.host, &question))?);
            whole.push(timed(edges, || lines(&server.host, &question))?);
        }
        print(&format!("{name}, first 100"), edges, &page);
        print(&format!("{name}, as lines"), edges, &whole);
    }
    Ok(())
}

/// How long it takes to ask, in milliseconds; the answer must have so many edges.
fn timed(edges: u32, ask: impl FnOnce() -> Result<u64>) -> Result<f64> {
    let start = Instant::now();
    let found = ask()?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    if found == u64::from(edges) { Ok(took) } else { Err(format!("{found} edges, and not {edges}").into()) }
}

/// Asks for the first page, and says how many edges there are in all.
fn first_page(host: &str, question: &str) -> Result<u64> {
    let mut connection = Connection::open(host)?;
    connection.send(format!("GET {question}&limit=100 HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
    let reply = connection.reply()?;
    let mut body = Vec::new();
    connection.body(&reply, |piece| body.extend_from_slice(piece))?;
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    let edges = answer["all_edges"].as_u64();
    edges.ok_or_else(|| format!("no lineage: {}", String::from_utf8_lossy(&body)).into())
}

/// Asks for all edges as lines, and counts them.
fn lines(host: &str, question: &str) -> Result<u64> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    // To HTTP/1.0 the answer ends with the connection.
    let request = format!("GET {question} HTTP/1.0\r\nHost: {host}\r\nAccept: application/x-ndjson\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut edges, mut last) = (0, String::new());
    for line in BufReader::with_capacity(256 << 10, stream).lines() {
        last = line?;
        edges += u64::from(last.starts_with("{\"from\""));
    }
    if !last.starts_with(&format!("{{\"edges\":{edges},")) {
        return Err(format!("the answer is not whole: {edges} edges, and then {last:?}").into());
    }
    Ok(edges)
}

fn print(name: &str, edges: u32, samples: &[f64]) {
    let [middle, most] = [50, 95].map(|percent| percentile(samples, percent));
    println!("{name:<44} {edges:>8} {middle:>9.1} {most:>9.1}");
}

/// What a model is made from.
fn parent(arguments: &Arguments, model: u32) -> Option<u32> {
    let (deep, wide) = (arguments.deep, arguments.wide);
    match model {
        1 => None,
        _ if model <= deep => Some(model - 1),
        _ if model == deep + 1 => None,
        _ if model <= deep + 1 + wide => Some(deep + 1),
        _ => Some(model - 1).filter(|_| !model.is_multiple_of(CHAIN) && model > deep + wide + 2),
    }
}

/// The models, each in a repository with a tag, and what they are made from.
fn fill(arguments: &Arguments, data: &Path) -> Result<()> {
    let mut database = Database::open(&arguments.ours.url(data))?;
    database.only(
        &["pragma foreign_keys = off", "pragma synchronous = off", "pragma cache_size = -524288"],
        &["set session_replication_role = replica", "set synchronous_commit = off"],
    )?;
    database.execute("begin".to_owned())?;
    let of = |model: u32| model % REPOSITORIES + 1;
    let all = || 1..=arguments.models;
    database
        .rows("repository (id, name, created_at)", 1..=REPOSITORIES, |_, n| format!("{n}, 'team/r{n:05}', {AT}"))?;
    database.rows("node (id, kind, key)", all(), |e, n| format!("{n}, 0, {}", e.bytes(&hash("manifest", n))))?;
    database.rows("manifest (id, digest, shape, size, payload, first_at)", all(), |e, n| {
        format!("{n}, {}, 0, 2, {}, {AT}", e.bytes(&hash("manifest", n)), e.bytes(b"{}"))
    })?;
    database.rows("occurrence (id, repository_id, manifest_id, media_type, opened_at, opened_by)", all(), |e, n| {
        format!("{n}, {}, {n}, {}, {AT}, 'bench'", of(n), e.bytes(b"application/vnd.oci.image.manifest.v1+json"))
    })?;
    database.rows("tag (repository_id, name, manifest_id, last_at)", all(), |_, n| {
        format!("{}, 'v{n}', {n}, {AT}", of(n))
    })?;
    database.rows("tag_event (repository_id, name, at, kind, manifest_id, actor)", all(), |_, n| {
        format!("{}, 'v{n}', {AT}, 0, {n}, 'bench'", of(n))
    })?;
    let kit = "kit (manifest_id, kind, is_model, name, version, document, incomplete, searchable)";
    database.rows(kit, all(), |e, n| {
        let (name, version) = (e.bytes(b"model"), e.bytes(n.to_string().as_bytes()));
        format!("{n}, 'modelkit', true, {name}, {version}, {}, false, 1", e.bytes(b"{}"))
    })?;
    database.execute(format!(
        "insert into claim (id, kind, repository_id, manifest_id, subject_id, actor, recorded_at) values (1, 0, 1, 1, 1, 'bench', {AT})"
    ))?;
    let edges = "edge (kind, grade, source_id, occurrence_id, target_id, claim_id, repository_id, recorded_at)";
    let parent = |n: &u32| parent(arguments, *n);
    database.rows(edges, all().filter(|n| parent(n).is_some()), |_, n| {
        format!("3, 2, {n}, {n}, {}, 1, {}, {AT}", parent(&n).unwrap_or_default(), of(n))
    })?;
    database.execute("commit".to_owned())?;
    let number = |table: &str| format!("select setval(pg_get_serial_sequence('{table}', 'id'), max(id)) from {table}");
    let numbers: Vec<_> = ["repository", "node", "occurrence", "claim"].map(number).into();
    let mut postgres: Vec<_> = numbers.iter().map(String::as_str).collect();
    postgres.extend(["vacuum analyze", "checkpoint"]);
    database.only(&["pragma wal_checkpoint(truncate)"], &postgres)
}
