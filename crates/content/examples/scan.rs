//! Scans files given by path as if they were blobs, and says what was found and how fast.
//!
//! `cargo run --release -p content --example scan -- [--known sha256:HEX] [--list] FILE...`
//!
//! `--known` is what a registry has: the verified digest of the (one) blob.

use std::{convert::Infallible, error::Error, fs, time::Instant};

use content::{File, Known, Limits, scan};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut known, mut list, mut paths) = (None, false, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--known" => known = Some(arguments.next().ok_or("--known needs a digest")?.parse()?),
            "--list" => list = true,
            _ => paths.push(argument),
        }
    }
    for path in paths {
        let file = fs::File::open(&path)?;
        let size = file.metadata()?.len();
        let known = known.map(|digest| Known { digest, size });
        let mut spill = || tempfile::tempfile();
        let start = Instant::now();
        let facts = scan(file, known, &Limits::default(), &mut spill, |file: File| {
            if list {
                println!("{} {:>12} {}", hex::encode(file.sha256), file.size, file.path.escape_ascii());
                if let Some(metadata) = file.metadata {
                    println!("{metadata:#?}");
                }
            }
            Ok::<_, Infallible>(())
        })?;
        let seconds = start.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let (stored, bytes, files) = (size as f64, facts.bytes as f64, facts.files as f64);
        let hash = |hash: Option<[u8; 32]>| hash.map_or_else(|| "-".to_owned(), hex::encode);
        println!("{path}");
        println!("  {:?}, {} {}", facts.state, facts.form.compression.as_str(), facts.form.archive.as_str());
        println!("  {} bytes, {} files, {:?}", facts.bytes, facts.files, facts.skipped);
        println!("  inside them {} bytes, {} files", facts.inner_bytes, facts.inner_files);
        println!("  diffID {:?}", facts.diff_id);
        println!("  tree {}, contents {}", hash(facts.tree), hash(facts.contents));
        println!(
            "  {seconds:.3} s, {:.0} MB/s stored, {:.0} MB/s uncompressed, {:.0} files/s",
            stored / seconds / 1e6,
            bytes / seconds / 1e6,
            files / seconds
        );
    }
    Ok(())
}
