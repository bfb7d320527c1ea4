//! What it costs to store that a file is in a layer: rows a second, by the code that stores what a scan finds, and bytes of the
//! database for each, indexes included; and how long it takes to find where a file is.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use index::{Db, LayerState, Micros, ScanId, file, layer};
use oci::{Algorithm, Hasher};
use sqlx::{Connection as _, PgConnection};

use crate::Result;
use crate::report::percentile;

/// How much is stored, and where.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// An empty PostgreSQL database to fill, `postgres://…`; without it, SQLite
    #[arg(long)]
    database: Option<String>,
    /// How many files in layers there are
    #[arg(long, default_value_t = 2_000_000)]
    memberships: u64,
    /// How many of them a layer has; a scan stores as many at once
    #[arg(long, default_value_t = 32_768)]
    files: u64,
    /// In how many layers a file is
    #[arg(long, default_value_t = 4)]
    shared: u64,
    /// Where SQLite keeps its file; not on a file system in memory
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
}

/// Fills an index, and prints a line for each figure.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(store(arguments))
}

async fn store(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::tempdir_in(&arguments.folder)?;
    let path = folder.path().join("index.db");
    let db = match &arguments.database {
        Some(url) => Db::postgres(url, 4, Duration::from_secs(600)).await?,
        None => Db::sqlite(&path).await?,
    };
    db.migrate().await?;
    let layers = arguments.memberships / arguments.files;
    let before = size(arguments, &path).await?;
    let began = Instant::now();
    let mut busy = Duration::ZERO;
    for number in 0..layers {
        let files: Vec<_> = (0..arguments.files).map(|i| named(number, i, arguments)).collect();
        let started = Instant::now();
        add(&db, number, &files).await?;
        busy += started.elapsed();
    }
    println!("{} files in {layers} layers after {:.0} s", layers * arguments.files, began.elapsed().as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let stored = (layers * arguments.files) as f64;
    println!("stored a second   {:10.0}", stored / busy.as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let bytes = (size(arguments, &path).await? - before) as f64;
    println!("bytes for each    {:10.1}", bytes / stored);

    let mut took = Vec::new();
    let mut session = db.read().await?;
    for sample in 0..1000 {
        let file = named(sample * 7919 % layers, sample % arguments.files, arguments);
        let started = Instant::now();
        let found = file::find(&mut session, &[file.sha256]).await?;
        took.push(started.elapsed().as_secs_f64() * 1e6);
        if found.is_empty() {
            return Err("a file that was stored is not found".into());
        }
    }
    let at = |percent| percentile(&took, percent);
    println!("find a file, us   {:10.0} p50 {:10.0} p95", at(50), at(95));
    drop(session);
    db.close().await;
    Ok(())
}

/// A file of a layer: the same in so many layers one after the other.
fn named(layer: u64, number: u64, arguments: &Arguments) -> file::File {
    let content = layer / arguments.shared * arguments.files + number;
    let digest = Hasher::digest(Algorithm::Sha256, &content.to_be_bytes());
    file::File {
        path: format!("data/train/part-{:05}/record-{content:09}.csv", content % 1000).into_bytes(),
        size: 1000 + content % 100_000,
        sha256: digest.as_sha256().copied().unwrap_or_default(),
        md5: None,
        depth: 0,
        container: false,
    }
}

async fn add(db: &Db, number: u64, files: &[file::File]) -> Result<()> {
    let digest = Hasher::digest(Algorithm::Sha256, format!("layer {number}").as_bytes());
    let scanner = layer::Scanner { version: 2, entries: 1, bytes: 1, depth: 2 };
    let mut tx = db.begin_relaxed().await?;
    let (id, _) = layer::ensure(&mut tx, &digest, 1, LayerState::Pending, None).await?;
    let scan: ScanId = layer::begin_scan(&mut tx, id, scanner, Micros(1)).await?;
    file::add(&mut tx, scan, 0, files).await?;
    let facts = layer::Facts {
        state: LayerState::Indexed,
        reason: None,
        form: "tar".into(),
        diff_id: Some(digest),
        tree: None,
        contents: None,
        files: files.len() as u64,
        bytes: 1,
        inner_files: 0,
        inner_bytes: 0,
        skipped: 0,
    };
    let known = layer::by_id(&mut tx, id).await?.ok_or("the layer is gone")?;
    layer::finish_scan(&mut tx, &known, scan, scanner, &facts, Micros(2)).await?;
    tx.commit().await?;
    Ok(())
}

/// How many bytes the tables of files have, indexes included; for SQLite all of the database, layers and scans too.
async fn size(arguments: &Arguments, path: &std::path::Path) -> Result<u64> {
    let Some(url) = &arguments.database else { return Ok(std::fs::metadata(path).map_or(0, |file| file.len())) };
    let mut connection = PgConnection::connect(url).await?;
    let bytes: i64 = sqlx::query_scalar(
        "select (pg_total_relation_size('layer_file') + pg_total_relation_size('layer_path'))::bigint",
    )
    .fetch_one(&mut connection)
    .await?;
    Ok(u64::try_from(bytes)?)
}
