//! What our server costs, against distribution on the same machine in the same minutes.
//!
//! `cargo run --release -p bench` starts both on loopback, takes every measurement alternately, and judges the ratio of
//! the pairs: seconds on a shared machine mean little on their own. `--against-itself` puts distribution in both places
//! and so shows how far from 1 the ratios are by noise alone. `bench scale` measures a registry that holds a lot, which the
//! peer has no database for, against bars in milliseconds.

mod database;
mod events;
mod files;
mod http;
mod impact;
mod lineage;
mod load;
mod measure;
mod memberships;
mod report;
mod scale;
mod server;
mod tags;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::measure::{Bench, Measurement};
use crate::server::{Program, Software};

/// Whatever goes wrong ends the run with a line that says what it was.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures our registry against distribution.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Other>,
    /// The distribution registry, as `tests/clients/install registry` builds it
    #[arg(long, default_value = "target/clients/bin/registry")]
    registry: PathBuf,
    /// Our server, as `cargo build --release` builds it
    #[arg(long, default_value = "target/release/pedigree")]
    pedigree: PathBuf,
    /// One more argument for `pedigree serve`, as in `--pedigree-argument=--database=postgres://…`; may be repeated
    #[arg(long)]
    pedigree_argument: Vec<String>,
    /// Measure distribution against distribution
    #[arg(long)]
    against_itself: bool,
    /// Pairs of runs per measurement, after one that is thrown away
    #[arg(long, default_value_t = 5)]
    repetitions: u32,
    /// Only these measurements
    #[arg(long, value_delimiter = ',')]
    only: Vec<Measurement>,
    /// The size of a blob that is pushed and pulled, in MiB
    #[arg(long, default_value_t = 1024)]
    size: u32,
    /// The size of each of the 32 blobs that are pushed at once, in MiB
    #[arg(long, default_value_t = 64)]
    peak_size: u32,
    /// How long each run of small requests lasts, in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Where the servers keep their data; not on a file system in memory
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// Print every sample as JSON instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Other {
    /// Measures our registry alone, when it holds a million blobs
    Scale(scale::Arguments),
    /// Measures how many OpenLineage events our registry takes
    Events(events::Arguments),
    /// Measures how soon the files of a kit with very many of them are known
    Files(files::Arguments),
    /// Measures our registry alone, asked about the files of a million models
    Impact(impact::Arguments),
    /// Measures our registry alone, asked what models were made from
    Lineage(lineage::Arguments),
    /// Measures what it costs to store which files are in which layers
    Memberships(memberships::Arguments),
    /// Measures our registry alone, asked about the past of a tag that was moved very often
    Tags(tags::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Other::Scale(arguments)) => scale::run(arguments),
        Some(Other::Events(arguments)) => events::run(arguments),
        Some(Other::Files(arguments)) => files::run(arguments),
        Some(Other::Impact(arguments)) => impact::run(arguments),
        Some(Other::Lineage(arguments)) => lineage::run(arguments),
        Some(Other::Memberships(arguments)) => memberships::run(arguments),
        Some(Other::Tags(arguments)) => tags::run(arguments),
        None => run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let program = |software, path: &PathBuf, arguments| Program {
        software,
        path: path.clone(),
        arguments,
        variables: Vec::new(),
    };
    let peer = program(Software::Distribution, &arguments.registry, Vec::new());
    let ours = if arguments.against_itself {
        peer.clone()
    } else {
        program(Software::Pedigree, &arguments.pedigree, arguments.pedigree_argument.clone())
    };
    for program in [&ours, &peer] {
        if !program.path.is_file() {
            return Err(format!("{} is not there: see --help", program.path.display()).into());
        }
    }
    let bench = Bench {
        programs: [ours, peer],
        folder: arguments.folder.clone(),
        repetitions: arguments.repetitions,
        size: u64::from(arguments.size) << 20,
        peak_size: u64::from(arguments.peak_size) << 20,
        seconds: arguments.seconds,
    };
    let measurements = if arguments.only.is_empty() { Measurement::ALL.to_vec() } else { arguments.only.clone() };
    let mut rows = Vec::new();
    if !arguments.json {
        report::print_header();
    }
    for measurement in measurements {
        eprint!("{measurement} …\r");
        let row = bench.take(measurement)?;
        if !arguments.json {
            report::print_row(&row);
        }
        rows.push(row);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}
