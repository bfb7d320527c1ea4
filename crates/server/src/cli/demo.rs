//! `pedigree demo`

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{Ipv4Addr, TcpListener},
    process::ExitCode,
    time::Duration,
};

use serde_json::Value;

use super::{Failure, Outcome, Signals, impact, print, runtime, serve_until_signal, start_log, stop};
use crate::{
    client::{Client, Impact},
    config::Config,
    home,
};

mod story {
    use super::Layout;

    include!(concat!(env!("OUT_DIR"), "/story.rs"));
}

/// An OCI layout: one repository of the story.
struct Layout {
    repository: &'static str,
    index: &'static [u8],
    /// Digest and bytes, ordered by digest.
    blobs: &'static [(&'static str, &'static [u8])],
}

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// End after the answer instead of serving on
    #[arg(long)]
    exit: bool,
}

const USUAL_PORT: u16 = 5000;

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let folder = tempfile::tempdir().map_err(|error| Failure::Other(format!("cannot make a folder: {error}")))?;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT)).is_ok();
    let config = Config {
        listen: format!("127.0.0.1:{}", if free { USUAL_PORT } else { 0 }),
        data: folder.path().join("data"),
        // The story's kits refer to each other by this name, whatever the port is.
        names: vec!["localhost:5000".into()],
        log: "warn".into(),
        ..Config::default()
    };
    start_log(&config);
    let runtime = runtime()?;
    let outcome = runtime.block_on(tell(&config, arguments.exit));
    // A question that still waits must not hold up the end; the folder goes last.
    runtime.shutdown_background();
    drop(folder);
    outcome
}

async fn tell(config: &Config, exit: bool) -> Outcome {
    let mut signals = Signals::new()?;
    let running = crate::serve::start(config).await?;
    let host = running.address.to_string();
    print(&format!("A throw-away registry listens on http://{host}; pushing a small story to it.\n"))?;

    let server = host.clone();
    let told = tokio::task::spawn_blocking(move || push_and_ask(&server));
    let answer = tokio::select! {
        told = told => told.map_err(|error| Failure::Other(error.to_string())).flatten(),
        () = signals.next() => {
            stop(running, signals).await;
            return Ok(ExitCode::from(130));
        }
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            stop(running, signals).await;
            return Err(failure);
        }
    };

    print(&format!("\ncustomers.csv has leaked. Who used it?\n\n{}", impact::text(&answer)))?;
    if exit {
        stop(running, signals).await;
        return Ok(ExitCode::from(if answer.models.is_empty() { 2 } else { 0 }));
    }
    print(&next(&host))?;
    serve_until_signal(running, signals).await;
    Ok(ExitCode::SUCCESS)
}

/// What to try now.
fn next(host: &str) -> String {
    format!(
        "\nTry next, in another terminal:
  pedigree kits --server {host}
  pedigree show fraud/detector:1.1 --server {host}
  pedigree impact fraud/detector:1.1 --server {host}
  oras push --plain-http {host}/my/files:1.0 FILE
{}
It serves until Ctrl-C; then everything in it is gone.\n",
        home::ask_lines(host, false)
    )
}

fn push_and_ask(host: &str) -> Result<Impact, Failure> {
    let client = Client::new(host, None)?;
    for layout in story::LAYOUTS {
        let tags = layout.push(&client)?;
        let mut line = format!("  {}", layout.repository);
        if !tags.is_empty() {
            let _ = write!(line, ": {}", tags.join(", "));
        }
        print(&format!("{line}\n"))?;
    }
    let leaked = oci::Hasher::digest(oci::Algorithm::Sha256, story::LEAKED).to_string();
    Ok(impact::ask(&client, &[("file", &leaked)], Duration::from_secs(30))?)
}

impl Layout {
    /// Pushes everything like a client, and gives the tags that people made.
    fn push(&self, client: &Client) -> Result<Vec<String>, Failure> {
        let index: Value = serde_json::from_slice(self.index)?;
        let mut tags = Vec::new();
        let mut pushed = BTreeSet::new();
        for entry in descriptors(&index, "manifests") {
            let tag = entry.pointer("/annotations/org.opencontainers.image.ref.name").and_then(Value::as_str);
            self.push_manifest(client, entry, tag, &mut pushed)?;
            tags.extend(tag.filter(|tag| !tag.starts_with("sha256-")).map(str::to_owned));
        }
        Ok(tags)
    }

    /// Pushes a manifest after everything it names.
    fn push_manifest(
        &self,
        client: &Client,
        descriptor: &Value,
        tag: Option<&str>,
        pushed: &mut BTreeSet<String>,
    ) -> Result<(), Failure> {
        let (Some(digest), Some(media_type)) = (string(descriptor, "digest"), string(descriptor, "mediaType")) else {
            return Err(Failure::Other(format!("the story of {} has a broken entry", self.repository)));
        };
        let Some(bytes) = self.blob(digest) else {
            return Err(Failure::Other(format!("the story of {} lacks {digest}", self.repository)));
        };
        if pushed.insert(digest.to_owned()) {
            let manifest: Value = serde_json::from_slice(bytes)?;
            for child in descriptors(&manifest, "manifests") {
                // An index may name children that were never copied.
                if string(child, "digest").is_some_and(|child| self.blob(child).is_some() && !pushed.contains(child)) {
                    self.push_manifest(client, child, None, pushed)?;
                }
            }
            let config = manifest.get("config").into_iter();
            for blob in config.chain(descriptors(&manifest, "layers")).filter_map(|blob| string(blob, "digest")) {
                if let Some(bytes) = self.blob(blob)
                    && pushed.insert(blob.to_owned())
                {
                    client.push_blob(self.repository, blob, bytes)?;
                }
            }
        } else if tag.is_none() {
            return Ok(());
        }
        Ok(client.push_manifest(self.repository, tag.unwrap_or(digest), media_type, bytes)?)
    }

    fn blob(&self, digest: &str) -> Option<&'static [u8]> {
        let place = self.blobs.binary_search_by_key(&digest, |(digest, _)| digest).ok()?;
        self.blobs.get(place).map(|(_, bytes)| *bytes)
    }
}

fn descriptors<'a>(manifest: &'a Value, key: &str) -> &'a [Value] {
    manifest.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn string<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_whole() {
        assert_eq!(story::LAYOUTS.len(), 13);
        for layout in story::LAYOUTS {
            for (digest, bytes) in layout.blobs {
                assert_eq!(oci::Hasher::digest(oci::Algorithm::Sha256, bytes).to_string(), *digest);
                assert_eq!(layout.blob(digest), Some(*bytes));
            }
        }
        let leaked = oci::Hasher::digest(oci::Algorithm::Sha256, story::LEAKED).to_string();
        assert!(leaked.starts_with("sha256:0928bf1b"));
    }
}
