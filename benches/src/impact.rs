//! What the registry's own question costs: a million models with twenty files each, of which a few are in hundreds of
//! thousands, and which derive from each other. The registry is filled behind its back, in its database alone.

use std::path::Path;
use std::time::{Duration, Instant};

use index::{Db, ScanId, file};

use crate::database::{AT, Database, hash};
use crate::http::{self, Connection};
use crate::server::{Ours, sqlite};
use crate::{Result, report};

/// How much there is, and where.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    ours: Ours,
    /// The database is one that an earlier run has filled with as many models
    #[arg(long)]
    filled: bool,
    /// Models, each with a layer of its own; at least 10,000
    #[arg(long, default_value_t = 1_000_000)]
    models: u32,
}

/// How many files a layer has.
const FILES: u32 = 20;
/// In how many layers an ordinary file is.
const SHARED: u32 = 4;
/// How many models derive from each other, one after the other.
const CHAIN: u32 = 10;

/// The file at a place in a model's layer.
fn content(model: u32, place: u32) -> [u8; 32] {
    match place {
        // The last ones of their chains, so that nothing derives from them.
        0 if model % 1000 == 9 => hash("file of a thousandth", 0),
        1 if model % 10 >= 7 => hash("file of three tenths", 0),
        _ => hash("file", model / SHARED * FILES + place),
    }
}

/// Fills an index, asks, and prints a line for each figure.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let (Some(url), true) = (&arguments.ours.database, arguments.filled) {
        // Its store went with the earlier run, and had nothing in it.
        Database::open(url)?.execute("delete from store".to_owned())?;
    }
    let mut server = arguments.ours.start()?;
    let start = Instant::now();
    if !arguments.filled {
        server.restart(|data| fill(arguments, data))?;
        let memberships = u64::from(arguments.models) * u64::from(FILES);
        eprintln!("{} models and {memberships} memberships after {} s", arguments.models, start.elapsed().as_secs());
    }
    println!("{:<44} {:>8} {:>9} {:>9}", "", "results", "p50 ms", "p95 ms");
    let rare = |sample: u32| content(sample * 7919 % arguments.models, 2 + sample % (FILES - 2));
    let (few, thousandth) = ((0..300).map(rare).collect::<Vec<_>>(), [hash("file of a thousandth", 0); 20]);
    for (when, as_of) in [("", ""), (", as of then", THEN)] {
        pages(&server.host, &format!("a file of a few, all{when}"), &few, &format!("{as_of}&limit=1000"))?;
        pages(&server.host, &format!("a file of a thousandth, first 100{when}"), &thousandth, as_of)?;
        pages(
            &server.host,
            &format!("a file of a thousandth, all{when}"),
            &thousandth,
            &format!("{as_of}&limit=1000"),
        )?;
    }
    for (name, file) in [
        ("a file of three tenths, in as many layers", hash("file of three tenths", 0)),
        ("a file of three tenths, in one layer", hash("file of one layer", 0)),
    ] {
        pages(&server.host, &format!("{name}, first 100"), &[file; 20], "")?;
        for (when, as_of) in [("", ""), (", as of then", THEN)] {
            let mut times = Vec::new();
            let mut models = 0;
            for _ in 0..5 {
                let start = Instant::now();
                models = lines(&server.host, &format!("{}{as_of}", question(&file)), "{\"digest\"")?;
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
            report::print_times(&format!("{name}, as lines{when}"), models, &times);
        }
    }
    let question = format!("{}&full=true", question(&hash("file of three tenths", 0)));
    let start = Instant::now();
    let models = lines(&server.host, &question, "{\"repository\"")?;
    let name = "a file of three tenths, in as many layers, full rows";
    report::print_times(name, models, &[start.elapsed().as_secs_f64() * 1e3]);
    Ok(())
}

/// A moment after all that the registry holds, and before the benchmark.
const THEN: &str = "&as_of=2025-01-01T00:00:00Z";

fn question(file: &[u8; 32]) -> String {
    format!("/api/v1/impact?file=sha256:{}", hex::encode(file))
}

fn pages(host: &str, name: &str, files: &[[u8; 32]], more: &str) -> Result<()> {
    let mut connection = Connection::open(host)?;
    let mut samples = Vec::new();
    let mut models = 0;
    for (number, file) in files.iter().enumerate() {
        let start = Instant::now();
        let answer = connection.json(host, &format!("{}{more}", question(file)))?;
        // The first ones open connections and prepare statements.
        if number >= files.len().min(20) / 5 {
            samples.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let shown = answer["models"].as_array().map_or(0, Vec::len);
        if shown == 0 {
            return Err(format!("no models of {}", hex::encode(file)).into());
        }
        models = models.max(shown);
    }
    report::print_times(name, models as u64, &samples);
    Ok(())
}

/// Asks for all models as lines, and counts them.
fn lines(host: &str, question: &str, begin: &str) -> Result<u64> {
    let (models, last) = http::lines(host, question, begin)?;
    if last != format!("{{\"models\":{models}}}") {
        return Err(format!("the answer is not whole: {models} models, and then {last:?}").into());
    }
    Ok(models)
}

/// The models and what hangs on them; the layers' and the scans' rows have the numbers of their models, and one more layer
/// with one file is in three tenths of them.
fn fill(arguments: &Arguments, data: &Path) -> Result<()> {
    let ours = &arguments.ours;
    template(ours.database.as_deref(), &sqlite(data))?;
    let mut database = Database::open(&ours.url(data))?;
    let models = arguments.models;
    let one = models + 1;
    database.only(
        &[
            "pragma foreign_keys = off",
            "pragma synchronous = off",
            "pragma cache_size = -1048576",
            "pragma temp_store = file",
        ],
        &["set session_replication_role = replica", "set synchronous_commit = off", "set maintenance_work_mem = '1GB'"],
    )?;
    for index in ["layer_file_content", "layer_file_name"] {
        database.execute(format!("drop index {index}"))?;
    }
    database.execute("begin".to_owned())?;
    let all = || 1..=models;
    database.models(models, &[b' '; 700], |model| (model % CHAIN != 0 && model > 1).then(|| model - 1))?;
    database.rows("component (id, manifest_id, position, role, name)", all(), |e, n| {
        format!("{n}, {n}, 0, 'dataset', {}", e.bytes(b"train"))
    })?;
    database.rows("component_layer (component_id, position, manifest_id, layer_position)", all(), |_, n| {
        format!("{n}, 0, {n}, 0")
    })?;
    database.rows("layer (id, digest, size, state, scan_id, scanner)", 1..=one, |e, n| {
        format!("{n}, {}, 4096, 1, {n}, {}", e.bytes(&hash("layer", n)), content::SCANNER_VERSION)
    })?;
    database.rows(
        "scan (id, layer_id, scanner, state, form, files, bytes, skipped, entry_limit, byte_limit, started_at, finished_at)",
        1..=one,
        |_, n| format!("{n}, {n}, {}, 1, 'tar', {FILES}, 4096, 0, 1, 1, {AT}, {AT}", content::SCANNER_VERSION),
    )?;
    let blobs = "manifest_blob (manifest_id, position, digest, size, media_type, layer_id)";
    let media_type = b"application/vnd.kitops.modelkit.dataset.v1.tar";
    database.rows(blobs, all(), |e, n| {
        format!("{n}, 0, {}, 4096, {}, {n}", e.bytes(&hash("layer", n)), e.bytes(media_type))
    })?;
    database.rows(blobs, all().filter(|n| n % 10 < 3), |e, n| {
        format!("{n}, 1, {}, 4096, {}, {one}", e.bytes(&hash("layer", one)), e.bytes(media_type))
    })?;
    let memberships = "layer_file (scan_id, sha256_head, position, name_key, sha256_tail)";
    let row = |e: &crate::database::Engine, scan: u32, position: u32, file: &[u8; 32]| {
        let (head, tail) = file::columns(file);
        format!("{scan}, {head}, {position}, {}, {}", scan % 65_536 * FILES + position, e.bytes(tail))
    };
    for first in (1..=models).step_by(100_000) {
        let numbers = first * FILES..(first + 100_000).min(one) * FILES;
        database.rows(memberships, numbers, |e, n| row(e, n / FILES, n % FILES, &content(n / FILES, n % FILES)))?;
        eprint!("{first} models\r");
    }
    database.rows(memberships, one..=one, |e, n| row(e, n, 0, &hash("file of one layer", 0)))?;
    database.execute("insert into layer_path (scan_id, first, payload) select y.id, 0, p.payload from layer y, layer_path p where p.scan_id = 0".to_owned())?;
    for table in ["layer_file", "layer_path"] {
        database.execute(format!("delete from {table} where scan_id = 0"))?;
    }
    database.execute(format!("update layer_tally set layers = {one} where state = 1"))?;
    database.execute("commit".to_owned())?;
    database.execute("create index layer_file_content on layer_file (sha256_head, scan_id)".to_owned())?;
    database.execute("create index layer_file_name on layer_file (name_key)".to_owned())?;
    database.settle(&["repository", "node", "occurrence", "component", "layer", "scan", "claim"])
}

/// Stores the files of one layer as a scan does, to have their paths for all of them.
fn template(postgres: Option<&str>, sqlite: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let db = match postgres {
            Some(url) => Db::postgres(url, 1, Duration::from_secs(600)).await?,
            None => Db::sqlite(sqlite).await?,
        };
        let path = |n| format!("data/train/part-{:03}/record-{n:06}.csv", n % 7).into_bytes();
        let files = (0..FILES).map(|n| file::File {
            path: path(n),
            size: 4096,
            sha256: hash("path", n),
            md5: None,
            depth: 0,
            container: false,
        });
        let mut session = db.begin().await?;
        file::add(&mut session, ScanId(0), 0, &files.collect::<Vec<_>>()).await?;
        session.commit().await?;
        db.close().await;
        Ok(())
    })
}
