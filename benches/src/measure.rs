//! The measurements: what is done, what is counted, and in which order.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use crate::Result;
use crate::http::Method;
use crate::load::{self, Blob, Style};
use crate::server::{self, Program, Server};

/// What can be measured.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Measurement {
    /// Push one blob as one PUT
    Push,
    /// Push one blob as one PATCH of unknown length
    PushStream,
    /// Push one blob in chunks of 100 MiB
    PushChunks,
    /// Pull one blob that is in the page cache
    Pull,
    /// Pull one blob from the disk
    PullCold,
    /// GET a manifest by tag, on 16 connections
    Manifest,
    /// GET a blob of 4 KiB, on 16 connections
    Blob,
    /// HEAD of the same
    Head,
    /// Memory of a server that has done nothing
    Idle,
    /// The most memory while 32 blobs are pushed at once
    Peak,
    /// From the start of the process to the first answer
    Start,
}

impl Measurement {
    pub(crate) const ALL: [Self; 11] = [
        Self::Push,
        Self::PushStream,
        Self::PushChunks,
        Self::Pull,
        Self::PullCold,
        Self::Manifest,
        Self::Blob,
        Self::Head,
        Self::Idle,
        Self::Peak,
        Self::Start,
    ];

    /// What the cost is counted in.
    fn cost_unit(self) -> &'static str {
        match self {
            Self::Push | Self::PushStream | Self::PushChunks | Self::Pull | Self::PullCold => "CPU s/GiB",
            Self::Manifest | Self::Blob | Self::Head => "CPU us",
            Self::Idle | Self::Peak => "MiB",
            Self::Start => "ms",
        }
    }

    /// What the rate is counted in, where there is one.
    fn rate_unit(self) -> Option<&'static str> {
        match self {
            Self::Push | Self::PushStream | Self::PushChunks | Self::Pull | Self::PullCold => Some("MiB/s"),
            Self::Manifest | Self::Blob | Self::Head => Some("requests/s"),
            Self::Idle | Self::Peak | Self::Start => None,
        }
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// One run of one server.
#[derive(Serialize)]
pub(crate) struct Sample {
    /// The less the better.
    pub(crate) cost: f64,
    /// The more the better.
    pub(crate) rate: Option<f64>,
    /// How many cores the client itself took: near one or more, and the rate says more about it than about the server.
    pub(crate) client_cores: Option<f64>,
}

/// All runs of one measurement; the runs of equal position were taken one right after the other.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) measurement: String,
    pub(crate) cost_unit: &'static str,
    pub(crate) rate_unit: Option<&'static str>,
    pub(crate) ours: Vec<Sample>,
    pub(crate) peer: Vec<Sample>,
}

/// How to measure.
pub(crate) struct Bench {
    /// Ours, and the peer.
    pub(crate) programs: [Program; 2],
    pub(crate) folder: PathBuf,
    pub(crate) repetitions: u32,
    pub(crate) size: u64,
    pub(crate) peak_size: u64,
    pub(crate) seconds: u32,
}

/// One place for everything that is pushed: nothing here depends on the name.
const REPOSITORY: &str = "bench/blobs";
const GIB: f64 = (1_u64 << 30) as f64;
const MIB: f64 = (1_u64 << 20) as f64;

impl Bench {
    /// Takes one measurement of both servers.
    pub(crate) fn take(&self, measurement: Measurement) -> Result<Row> {
        let [ours, peer] = match measurement {
            Measurement::Push => self.push(Style::Put),
            Measurement::PushStream => self.push(Style::Stream),
            Measurement::PushChunks => self.push(Style::Chunks),
            Measurement::Pull => self.pull(false),
            Measurement::PullCold => self.pull(true),
            Measurement::Manifest => self.requests(Method::Get, &format!("/v2/{REPOSITORY}/manifests/latest")),
            Measurement::Blob => self.requests(Method::Get, &small_blob()),
            Measurement::Head => self.requests(Method::Head, &small_blob()),
            Measurement::Idle => self.idle(),
            Measurement::Peak => self.peak(),
            Measurement::Start => self.start(),
        }?;
        let (cost_unit, rate_unit) = (measurement.cost_unit(), measurement.rate_unit());
        Ok(Row { measurement: measurement.to_string(), cost_unit, rate_unit, ours, peer })
    }

    /// Each push goes to a server and a folder of its own, and everything is removed after it: pages of the cache that
    /// were in use a moment ago are several times cheaper than fresh ones, so that whoever pushes first would pay.
    fn push(&self, style: Style) -> Result<[Vec<Sample>; 2]> {
        let mut number = 0;
        self.interleave(&self.programs, |program| {
            number += 1;
            let blob = Blob::new(number, self.size);
            let server = Server::start(program, &self.folder)?;
            self.transfer(&server, || blob.push(&server.host, REPOSITORY, style))
        })
    }

    fn pull(&self, cold: bool) -> Result<[Vec<Sample>; 2]> {
        let blob = Blob::new(0, self.size);
        let servers = self.both()?;
        for server in &servers {
            blob.push(&server.host, REPOSITORY, Style::Put)?;
            let hash = load::pull(&server.host, REPOSITORY, &blob.digest, blob.size(), true)?;
            if hash.as_ref() != Some(&blob.digest) {
                return Err("a blob came back changed".into());
            }
        }
        self.interleave(&servers, |server| {
            if cold {
                server.forget_pages()?;
            }
            self.transfer(server, || load::pull(&server.host, REPOSITORY, &blob.digest, blob.size(), false).map(|_| ()))
        })
    }

    /// One blob, up or down.
    fn transfer(&self, server: &Server, work: impl FnOnce() -> Result<()>) -> Result<Sample> {
        let (taken, spent) = watch(server, work)?;
        Ok(Sample {
            cost: spent.server.as_secs_f64() / (self.size as f64 / GIB),
            rate: Some(self.size as f64 / MIB / taken.as_secs_f64()),
            client_cores: Some(spent.client.as_secs_f64() / taken.as_secs_f64()),
        })
    }

    fn requests(&self, method: Method, path: &str) -> Result<[Vec<Sample>; 2]> {
        let servers = self.both()?;
        for server in &servers {
            load::push_manifest(&server.host, REPOSITORY, 0)?;
        }
        let duration = Duration::from_secs(u64::from(self.seconds));
        self.interleave(&servers, |server| {
            let mut answered = 0;
            let (taken, spent) = watch(server, || {
                answered = load::hammer(&server.host, method, path, duration)?;
                Ok(())
            })?;
            Ok(Sample {
                cost: spent.server.as_secs_f64() * 1e6 / answered as f64,
                rate: Some(answered as f64 / taken.as_secs_f64()),
                client_cores: Some(spent.client.as_secs_f64() / taken.as_secs_f64()),
            })
        })
    }

    fn idle(&self) -> Result<[Vec<Sample>; 2]> {
        self.interleave(&self.programs, |program| {
            let server = Server::start(program, &self.folder)?;
            // Whatever it does right after the start is over by then.
            std::thread::sleep(Duration::from_secs(2));
            Ok(Sample { cost: server.memory("VmRSS")? as f64 / MIB, rate: None, client_cores: None })
        })
    }

    fn peak(&self) -> Result<[Vec<Sample>; 2]> {
        let blobs: Vec<_> = (0..32).map(|number| Blob::new(number, self.peak_size)).collect();
        self.interleave(&self.programs, |program| {
            let server = Server::start(program, &self.folder)?;
            let pushes = std::thread::scope(|scope| {
                let push = |blob: &Blob| blob.push(&server.host, REPOSITORY, Style::Put);
                let pushes: Vec<_> = blobs.iter().map(|blob| scope.spawn(move || push(blob))).collect();
                pushes.into_iter().map(|push| push.join().map_err(|_| "a client crashed")).collect::<Vec<_>>()
            });
            for push in pushes {
                push??;
            }
            Ok(Sample { cost: server.memory("VmHWM")? as f64 / MIB, rate: None, client_cores: None })
        })
    }

    fn start(&self) -> Result<[Vec<Sample>; 2]> {
        self.interleave(&self.programs, |program| {
            let server = Server::start(program, &self.folder)?;
            Ok(Sample { cost: server.started_in.as_secs_f64() * 1e3, rate: None, client_cores: None })
        })
    }

    fn both(&self) -> Result<[Server; 2]> {
        let [ours, peer] = &self.programs;
        Ok([Server::start(ours, &self.folder)?, Server::start(peer, &self.folder)?])
    }

    /// Runs both in turns, the other one first every other time. The first pair warms up and does not count.
    fn interleave<T>(&self, both: &[T; 2], mut run: impl FnMut(&T) -> Result<Sample>) -> Result<[Vec<Sample>; 2]> {
        let mut samples = [Vec::new(), Vec::new()];
        for repetition in 0..=self.repetitions {
            let order = if repetition % 2 == 0 { [0, 1] } else { [1, 0] };
            for slot in order {
                let sample = run(&both[slot])?;
                if repetition > 0 {
                    samples[slot].push(sample);
                }
            }
        }
        Ok(samples)
    }
}

/// The path of the layer that `push_manifest` pushes.
fn small_blob() -> String {
    format!("/v2/{REPOSITORY}/blobs/{}", Blob::new(2, 4096).digest)
}

/// The processor time of both sides.
struct Spent {
    server: Duration,
    client: Duration,
}

/// Does some work, and tells how long it took and what it cost.
fn watch(server: &Server, work: impl FnOnce() -> Result<()>) -> Result<(Duration, Spent)> {
    let before = (server.cpu()?, server::cpu("self")?);
    let start = Instant::now();
    work()?;
    let taken = start.elapsed();
    let client = server::cpu("self")? - before.1;
    // What the server puts off until after its answer is part of the cost.
    std::thread::sleep(Duration::from_millis(100));
    Ok((taken, Spent { server: server.cpu()? - before.0, client }))
}
