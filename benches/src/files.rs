//! How soon a dataset of very many small files is acknowledged, and how soon it is known which files are in it.

use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::http::Connection;
use crate::server::Ours;
use crate::{Result, load, report};

/// How much is pushed, and how often.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    ours: Ours,
    /// How many files the dataset has
    #[arg(long, default_value_t = 100_000)]
    files: u32,
    /// How many such kits are pushed, one after the other
    #[arg(long, default_value_t = 5)]
    kits: u32,
}

const REPOSITORY: &str = "bench/files";
/// When a kit is to be known, in milliseconds after its manifest is acknowledged.
const BAR: f64 = 10_000.0;

/// Pushes the kits and prints a line for each figure.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let server = arguments.ours.start()?;
    let (mut acknowledged, mut indexed) = (Vec::new(), Vec::new());
    for kit in 0..arguments.kits {
        let layer = archive(kit, arguments.files)?;
        let kitfile = format!(
            r#"{{"manifestVersion":"1.0.0","package":{{"name":"files","version":"{kit}"}},"datasets":[{{"name":"train","path":"data"}}]}}"#
        );
        let config = load::put_blob(&server.host, REPOSITORY, KITFILE, kitfile.as_bytes())?;
        let layer = load::put_blob(&server.host, REPOSITORY, DATASET, &layer)?;
        let start = Instant::now();
        load::put_manifest(&server.host, REPOSITORY, &config, &layer)?;
        acknowledged.push(report::milliseconds(start.elapsed()));
        let last = Sha256::digest(content(kit, arguments.files - 1));
        while !is_held(&server.host, &last)? {
            if start.elapsed() > Duration::from_secs(120) {
                return Err("the last file of a kit is not found".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        indexed.push(report::milliseconds(start.elapsed()));
    }
    println!("{:<44} {:>8} {:>9} {:>9}", "", "files", "p50 ms", "p95 ms");
    report::print_times("the manifest is acknowledged", arguments.files.into(), &acknowledged);
    report::print_times(&format!("every file is known (bar {BAR} ms)"), arguments.files.into(), &indexed);
    Ok(())
}

const KITFILE: &str = "application/vnd.kitops.modelkit.config.v1+json";
const DATASET: &str = "application/vnd.kitops.modelkit.dataset.v1.tar";

/// What is in a file; no two have the same.
fn content(kit: u32, file: u32) -> String {
    format!("{{\"kit\":{kit},\"record\":{file},\"text\":\"a small file\"}}\n")
}

fn archive(kit: u32, files: u32) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in 0..files {
        let content = content(kit, file);
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        let path = format!("data/part-{:03}/record-{file:06}.json", file / 1000);
        archive.append_data(&mut header, path, content.as_bytes())?;
    }
    Ok(archive.into_inner()?)
}

/// Whether it is known who has a file.
fn is_held(host: &str, sha256: &[u8]) -> Result<bool> {
    let question = format!("/api/v1/holders?file=sha256:{}", hex::encode(sha256));
    let answer = Connection::open(host)?.json(host, &question)?;
    Ok(answer["holders"].as_array().is_some_and(|holders| !holders.is_empty()))
}
