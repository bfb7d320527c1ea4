//! What lineage costs: a chain of hundreds of models, each made from the one before, and a model from which a hundred thousand
//! are made, among a million others. The registry is filled behind its back, in its database alone.

use std::path::Path;
use std::time::Instant;

use crate::database::{Database, hash};
use crate::http::{self, Connection};
use crate::server::Ours;
use crate::{Result, report};

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
        report::print_times(&format!("{name}, first 100"), edges.into(), &page);
        report::print_times(&format!("{name}, as lines"), edges.into(), &whole);
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
    let answer = Connection::open(host)?.json(host, &format!("{question}&limit=100"))?;
    answer["all_edges"].as_u64().ok_or_else(|| format!("no lineage: {answer}").into())
}

/// Asks for all edges as lines, and counts them.
fn lines(host: &str, question: &str) -> Result<u64> {
    let (edges, last) = http::lines(host, question, "{\"from\"")?;
    if !last.starts_with(&format!("{{\"edges\":{edges},")) {
        return Err(format!("the answer is not whole: {edges} edges, and then {last:?}").into());
    }
    Ok(edges)
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
    database.models(arguments.models, b"{}", |model| parent(arguments, model))?;
    database.execute("commit".to_owned())?;
    database.settle(&["repository", "node", "occurrence", "claim"])
}
