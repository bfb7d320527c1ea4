//! Looking inside layers: durable jobs, done by workers, one scan a layer and scanner version.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use content::{Known, ScanError};
use index::{
    JobKind, LayerId, LayerState, Micros, OccurrenceId, Priority, ScanId,
    adapter::{self, Base},
    file, job, layer, weights,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{Error, Registry, adapters, cards, plan::compact};

/// How long a worker holds a job without a sign of life.
const LEASE: i64 = 60_000_000;
/// How often a worker gives a sign of life.
const RENEW: Duration = Duration::from_secs(15);
/// How many files go to the database at once. One transaction a batch: SQLite's writer is free in between.
const BATCH: usize = file::ADDED_AT_ONCE;
/// How many bytes of paths end a batch before that.
const BATCH_PATHS: usize = 4 << 20;
/// The longest time between two tries, in microseconds.
const BACKOFF: i64 = 3_600_000_000;
/// Tensors of fewer bytes say nothing of where they come from.
const SMALL_TENSOR: u64 = 1024;
/// What a worker does first. What is superseded goes before more of it is made.
const ORDER: [(JobKind, Priority); 5] = [
    (JobKind::Scan, Priority::Push),
    (JobKind::Cards, Priority::Push),
    (JobKind::Scan, Priority::Reindex),
    (JobKind::Forget, Priority::Reindex),
    (JobKind::Scan, Priority::Outdated),
];

impl Registry {
    /// Scans layers until `stop` resolves. Several may run, here and in other processes.
    pub async fn work(&self, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let rung = self.work.notified();
            let did = tokio::select! {
                biased;
                () = &mut stop => return,
                did = self.scan_next() => did,
            };
            match did {
                Ok(true) => continue,
                Ok(false) => match self.queue_outdated().await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(error = %source(&error), "outdated layers cannot be looked for; it is tried again");
                    }
                },
                Err(error) => {
                    tracing::error!(error = %source(&error), "a worker cannot reach its jobs; it tries again")
                }
            }
            tokio::select! {
                () = &mut stop => return,
                () = rung => {}
                // Other processes push too, and tries come due.
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// Does one job that is due. Whether there was one.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn scan_next(&self) -> Result<bool, Error> {
        let now = self.now();
        let owner = self.chance.id();
        let mut found = None;
        let mut tx = self.db.begin().await?;
        for (kind, priority) in ORDER {
            if let Some(job) = job::claim(&mut tx, kind, priority, &owner, Micros(now.0 + LEASE), now).await? {
                found = Some((kind, job));
                break;
            }
        }
        tx.commit().await?;
        let Some((kind, job)) = found else { return Ok(false) };
        let done = match kind {
            JobKind::Scan => self.scan(&job, &owner).await,
            JobKind::Forget => self.forget(&job, &owner).await,
            JobKind::Cards => self.read_more_cards(&job, &owner).await,
        };
        if let Err(error) = done {
            let reason = source(&error);
            tracing::warn!(
                subject = job.subject,
                kind = kind.as_str(),
                attempts = job.attempts,
                reason,
                "a layer could not be scanned, an old scan not forgotten, or a model card not read; it will be again"
            );
            self.put_off(kind, &job, &owner, &reason).await?;
        }
        self.settled.notify_waiters();
        Ok(true)
    }

    /// Waits until nothing that the reader may see is still to be scanned, at most for `longest`.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn settled(&self, reader: index::Reader, longest: Duration) -> Result<(), Error> {
        let waited = tokio::time::timeout(longest, async {
            loop {
                let rung = self.settled.notified();
                let pending = {
                    let mut session = self.db.read().await?;
                    layer::pending(&mut session, reader).await?
                };
                if pending == 0 || self.stopping.load(Ordering::SeqCst) {
                    return Ok(());
                }
                // Other processes scan too, and ring no bell here.
                let _ = tokio::time::timeout(Duration::from_millis(200), rung).await;
            }
        });
        waited.await.unwrap_or(Ok(()))
    }

    async fn scan(&self, job: &job::Job, owner: &str) -> Result<(), Error> {
        let id = job.subject.parse().map(LayerId).map_err(Error::internal)?;
        // What an earlier try left behind goes first, a little at a time.
        loop {
            let mut tx = self.db.begin().await?;
            let more = layer::forget_unfinished(&mut tx, id).await?;
            job::renew(&mut tx, job.id, owner, Micros(self.now().0 + LEASE)).await?;
            tx.commit().await?;
            if !more {
                break;
            }
        }
        let (layer, blob) = {
            let mut session = self.db.read().await?;
            let layer = layer::by_id(&mut session, id).await?;
            let layer = layer.ok_or_else(|| Error::internal(format!("there is no layer {}", id.0)))?;
            let blob = index::blob::find(&mut session, &layer.digest).await?;
            (layer, blob)
        };
        let Some(blob) = blob else { return self.purged(job, owner, &layer).await };
        let reader = self.store.reader(&self.key(&blob.key)?).await?;
        let content::Limits { entries, bytes, depth, .. } = self.limits;
        let scanner = layer::Scanner { version: self.limits.scanner_version(), entries, bytes, depth };
        let mut tx = self.db.begin().await?;
        let scan = layer::begin_scan(&mut tx, id, scanner, self.now()).await?;
        tx.commit().await?;

        let (findings, mut found) = mpsc::channel::<Finding>(1);
        let known = Known { digest: layer.digest, size: blob.size };
        let (limits, spill) = (self.limits, self.spill.clone());
        let reader = Wanted { reader, findings: findings.clone(), scanned: Arc::clone(&self.scanned) };
        let pass = tokio::task::spawn_blocking(move || {
            let (mut batch, mut position, mut paths) = (Vec::new(), 0, 0);
            let sink = |file: content::File| {
                let content::File { path, size, sha256, md5, depth, container, metadata } = file;
                if let Some(metadata) = metadata.filter(|metadata| says_something(metadata, &path)) {
                    let (format, document) = (metadata.format.as_str(), document(&metadata).to_string());
                    let (tensors, base) = (telling(&metadata), base(&metadata));
                    let finding = Finding::Metadata { position, format, document, tensors, base };
                    findings.blocking_send(finding).map_err(drop)?;
                }
                position += 1;
                paths += path.len();
                batch.push(file::File { path, size, sha256, md5, depth, container });
                let is_full = batch.len() >= BATCH || paths >= BATCH_PATHS;
                if !is_full || !batch.len().is_multiple_of(file::BLOCK_SIZE) {
                    return Ok(());
                }
                paths = 0;
                let batch = std::mem::take(&mut batch);
                findings.blocking_send(Finding::Files(batch)).map_err(drop)
            };
            let facts = content::scan(reader, Some(known), &limits, &mut || Self::spill_file(&spill), sink)?;
            findings.blocking_send(Finding::Files(batch)).map_err(|_| ScanError::Sink(()))?;
            Ok::<_, ScanError<()>>(facts)
        });
        self.keep(job, owner, scan, &mut found).await?;
        let facts = pass.await.map_err(Error::internal)?;
        let facts = facts.map_err(|error| match error {
            ScanError::Read(error) | ScanError::Spill(error) => Error::internal(error),
            ScanError::Sink(()) => Error::internal("the files found could not be stored"),
        })?;
        let mut tx = self.db.begin().await?;
        if !job::done(&mut tx, job.id, owner).await? {
            // The lease ran out; what another worker finds will serve.
            return Ok(());
        }
        let superseded = layer::finish_scan(&mut tx, &layer, scan, scanner, &rows(facts), self.now()).await?;
        self.read_cards(&mut tx, layer.id, OccurrenceId(0)).await?;
        self.compare_again(&mut tx, layer.id).await?;
        if let Some(old) = superseded {
            job::enqueue(&mut tx, JobKind::Forget, &old.0.to_string(), Priority::Reindex, self.now()).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Forgets a scan that another has taken the place of, a little at a time.
    async fn forget(&self, job: &job::Job, owner: &str) -> Result<(), Error> {
        let scan = job.subject.parse().map(ScanId).map_err(Error::internal)?;
        loop {
            let mut tx = self.db.begin().await?;
            let more = layer::forget_superseded(&mut tx, scan).await?;
            let held = match more {
                true => job::renew(&mut tx, job.id, owner, Micros(self.now().0 + LEASE)).await?,
                false => job::done(&mut tx, job.id, owner).await?,
            };
            tx.commit().await?;
            if !more || !held {
                return Ok(());
            }
        }
    }

    /// Stores files as they are found, and keeps the job's lease.
    async fn keep(
        &self,
        job: &job::Job,
        owner: &str,
        scan: ScanId,
        found: &mut mpsc::Receiver<Finding>,
    ) -> Result<(), Error> {
        let mut position = 0;
        let mut sign = tokio::time::interval(RENEW);
        sign.tick().await;
        loop {
            let finding = tokio::select! {
                biased;
                _ = sign.tick() => {
                    let mut tx = self.db.begin().await?;
                    let kept = job::renew(&mut tx, job.id, owner, Micros(self.now().0 + LEASE)).await?;
                    tx.commit().await?;
                    if !kept {
                        return Err(Error::internal("another worker took the job over"));
                    }
                    continue;
                }
                finding = found.recv() => finding,
            };
            let Some(finding) = finding else { return Ok(()) };
            let mut tx = self.db.begin().await?;
            // Once the lease has run out, another worker may have begun, and forgotten this scan.
            if !job::renew(&mut tx, job.id, owner, Micros(self.now().0 + LEASE)).await? {
                return Err(Error::internal("another worker took the job over"));
            }
            match finding {
                Finding::Files(batch) => {
                    file::add(&mut tx, scan, position, &batch).await?;
                    position += batch.len() as u64;
                }
                Finding::Metadata { position, format, document, tensors, base } => {
                    file::add_metadata(&mut tx, scan, position, format, document.as_bytes()).await?;
                    weights::add(&mut tx, scan, position, &tensors).await?;
                    if let Some(base) = base {
                        adapter::add(&mut tx, scan, position, &base).await?;
                    }
                }
            }
            tx.commit().await?;
        }
    }

    async fn purged(&self, job: &job::Job, owner: &str, layer: &layer::Layer) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        if job::done(&mut tx, job.id, owner).await? && layer.scanner.is_none() {
            layer::set_state(&mut tx, layer, LayerState::Purged, "its bytes were deleted before it was scanned")
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Gives the job back, to be tried again later each time, and says so of the layer unless older facts serve.
    async fn put_off(&self, kind: JobKind, job: &job::Job, owner: &str, reason: &str) -> Result<(), Error> {
        let wait = 1_000_000_i64.saturating_mul(1 << job.attempts.min(20)).min(BACKOFF);
        let mut tx = self.db.begin().await?;
        if !job::retry(&mut tx, job.id, owner, Micros(self.now().0 + wait), reason).await? {
            return Ok(());
        }
        if kind == JobKind::Scan
            && let Ok(id) = job.subject.parse().map(LayerId)
            && let Some(layer) = layer::by_id(&mut tx, id).await?
            && layer.scanner.is_none()
        {
            layer::set_state(&mut tx, &layer, LayerState::Failed, reason).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// A layer for as long as somebody wants its files: the scan of a large one ends with the worker that waits for it.
struct Wanted<R> {
    reader: R,
    findings: mpsc::Sender<Finding>,
    scanned: Arc<AtomicU64>,
}

/// What a scan hands on.
enum Finding {
    Files(Vec<file::File>),
    Metadata {
        position: u64,
        format: &'static str,
        document: String,
        tensors: Vec<([u8; 32], u64)>,
        base: Option<Base>,
    },
}

impl<R: Read> Read for Wanted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.findings.is_closed() {
            return Err(io::Error::other("nobody waits for the scan any more"));
        }
        let read = self.reader.read(buffer)?;
        self.scanned.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn rows(facts: content::Facts) -> layer::Facts {
    let (state, reason) = match facts.state {
        content::State::Indexed => (LayerState::Indexed, None),
        content::State::Partial(reason) => (LayerState::Partial, Some(reason)),
        content::State::Opaque(reason) => (LayerState::Opaque, Some(reason)),
    };
    let skipped = facts.skipped;
    // What holds nothing that identifies anything must never be a match.
    let identified = facts.contents.is_some();
    layer::Facts {
        state,
        reason,
        form: match facts.form.compression {
            content::Compression::None => facts.form.archive.as_str().to_owned(),
            compression => format!("{}+{}", facts.form.archive.as_str(), compression.as_str()),
        },
        diff_id: facts.diff_id.filter(|_| identified),
        tree: facts.tree,
        contents: facts.contents,
        files: facts.files,
        bytes: facts.bytes,
        inner_files: facts.inner_files,
        inner_bytes: facts.inner_bytes,
        skipped: skipped.links + skipped.devices + skipped.opaque + skipped.other,
    }
}

/// The tensors by which weights are recognised: neither small ones nor constant ones, which many models have by chance.
fn telling(metadata: &content::Metadata) -> Vec<([u8; 32], u64)> {
    let telling = metadata.tensors.iter().filter(|tensor| tensor.size >= SMALL_TENSOR && !tensor.constant);
    telling.filter_map(|tensor| Some((tensor.sha256?, tensor.size))).collect()
}

/// Of what begins with front matter only model cards are kept, which are called README.md, and what may be one: a layer that
/// is one file, which manifests name. Of JSON, configurations of adapters.
fn says_something(metadata: &content::Metadata, path: &[u8]) -> bool {
    match metadata.format {
        content::FileFormat::FrontMatter => {
            metadata.front_matter.is_some() && (cards::is_layer(path) || cards::is_model_card(path))
        }
        content::FileFormat::AdapterConfig => metadata.adapter_config.is_some(),
        _ => true,
    }
}

/// What an adapter calls its base, if it says that.
fn base(metadata: &content::Metadata) -> Option<Base> {
    let config = claims::adapter_config(metadata.adapter_config.as_ref()?.as_bytes()).ok().flatten()?;
    Some(Base { name: adapters::key(config.short_name())?, declared: config.base })
}

/// What a file says of itself, as it is kept and shown. What it does not say is left out.
fn document(metadata: &content::Metadata) -> Value {
    let hex = |hash: &[u8; 32]| oci::Digest::sha256(*hash).to_string();
    let tensors = metadata.tensors.iter().map(|tensor| {
        json!({
            "name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape, "size": tensor.size,
            "sha256": tensor.sha256.as_ref().map(hex),
        })
    });
    let columns = metadata.columns.iter().map(|column| {
        json!({"path": column.path, "type": column.kind, "logical": column.logical, "repetition": column.repetition})
    });
    compact(json!({
        "architecture": metadata.architecture, "quantization": metadata.quantization, "rows": metadata.rows,
        "columns": columns.collect::<Vec<_>>(), "tensors": tensors.collect::<Vec<_>>(),
        "entries": Some(&metadata.entries).filter(|entries| !entries.is_empty()), "problem": metadata.problem,
        "front_matter": metadata.front_matter, "adapter_config": metadata.adapter_config,
    }))
}

/// What went wrong, for the log and the operator: the error and what it comes from.
fn source(error: &Error) -> String {
    match error {
        Error::Internal(source) => source.to_string(),
        other => other.to_string(),
    }
}
