//! A running server: what is checked before anything is touched, what is opened, and how it ends.

pub mod copy;

use std::{
    fs::{self, File, TryLockError},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use index::Db;
use registry::{
    Access, Chance, Clock, Collected, Coverage, CoverageQuestion, Ctx, Micros, Names, Options, Policy, Reader, Rebuild,
    Rebuilding, Rebuilt, Registry,
};
use signatures::Trust;
use store::{Location, Store};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    app::{App, Redirect},
    config::{Anonymous, Config, ConfigError, hide_password},
    connections, metrics,
    promotions::Promotions,
    tls::{Tls, TlsError},
    traces::Traces,
};

/// How often the server looks for such uploads.
const REAP: Duration = Duration::from_secs(600);

/// A server that answers.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    registry: Arc<Registry>,
    traces: Option<Arc<Traces>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    /// Records who pulled what, until nobody pulls any more.
    pulls: (watch::Sender<bool>, JoinHandle<()>),
    // Held for as long as the server runs: a second one on the same folder would corrupt nothing, but serve half.
    _lock: Option<File>,
}

/// Why a server does not start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not one.
    #[error("cannot listen on {0}: {1}; write HOST:PORT, for example 127.0.0.1:5000")]
    Address(String, io::Error),
    /// Another program listens there.
    #[error("cannot listen on {0}: another program uses the port; stop it, or choose another with --listen HOST:PORT")]
    PortUsed(String),
    /// The address can be reached from other machines, and nobody said that this is wanted.
    #[error(
        "refusing to listen on {0}: other machines could reach it and there are no accounts; listen on 127.0.0.1, or say \
         --anonymous pull (everyone may read) or --anonymous push (everyone may write)"
    )]
    Open(SocketAddr),
    /// The certificate or its key cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// Spans cannot be sent where they should go.
    #[error("otlp_endpoint: {0}")]
    Traces(String),
    /// The data folder cannot be used.
    #[error("cannot use the data folder {0}: {1}")]
    Data(PathBuf, io::Error),
    /// Another server uses the data folder.
    #[error("another process serves the data folder {0}; stop it, or choose another folder with --data DIR")]
    Served(PathBuf),
    /// There is no registry in the data folder.
    #[error("there is no registry in {0} (no {1}); choose its folder with --data DIR")]
    NoRegistry(PathBuf, String),
    /// The database server cannot be used.
    #[error("cannot use the database {0}: {1}")]
    Postgres(String, index::Error),
    /// The database cannot be used.
    #[error("{0}")]
    Database(#[from] index::Error),
    /// The configuration of the store cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A file with a key or the root that is to be trusted cannot be read.
    #[error("{0}: cannot read {1}: {2}")]
    Unreadable(&'static str, PathBuf, io::Error),
    /// What is to be trusted cannot be.
    #[error("{0}: {1}")]
    Trust(&'static str, signatures::TrustError),
    /// The store cannot be used.
    #[error("{0}")]
    Store(#[from] store::Error),
    /// The registry failed.
    #[error("{0}")]
    Registry(#[from] registry::Error),
}

/// Starts a server. Everything that can be wrong with the configuration is found before anything is written.
///
/// # Errors
/// [`StartError`], in words for the operator.
pub async fn start(config: &Config) -> Result<Running, StartError> {
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => Some(Arc::new(Tls::open(cert, key)?)),
        _ => None,
    };
    let traces = config.otlp_endpoint.as_deref().map(Traces::to).transpose();
    let traces = traces.map_err(|error| StartError::Traces(error.to_string()))?.map(Arc::new);
    let listener = listen(config).await?;
    let address = listener.local_addr().map_err(|e| StartError::Address(config.listen.clone(), e))?;
    let postgres = match &config.database {
        Some(url) => {
            let db = postgres(url, config).await?;
            if let Err(error @ index::Error::Newer(_)) = db.require_current().await {
                return Err(error.into());
            }
            Some(db)
        }
        None => None,
    };
    // That a database and a folder do not belong together is found out before either is changed; what cannot be seen from
    // here is found by the registry.
    let location = config.location()?;
    let marked = location.is_marked().await?;
    match &postgres {
        Some(db) if !marked && index::store::mark(&mut db.read().await?).await.is_ok_and(|mark| mark.is_some()) => {
            let why = "the database knows of blobs, and the store is not theirs";
            return Err(registry::Error::WrongStore(why).into());
        }
        None if marked && !database_file(&config.data).exists() => {
            let why = "the store has blobs, and the file pedigree.db that knows of them is missing";
            return Err(registry::Error::WrongStore(why).into());
        }
        _ => {}
    }
    // From here on something is touched: a database that does not answer has been found, and one of a newer version is
    // left as it is.
    let lock = hold(config, &location)?;
    let db = match postgres {
        Some(db) => db,
        None => Db::sqlite(&database_file(&config.data)).await?,
    };
    db.migrate().await?;
    let registry = Arc::new(open(config, &location, db, address)?);
    registry.start(config.database.is_none()).await?;

    let (stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let anonymous = match config.anonymous {
        Some(Anonymous::Pull) => Access::Pull,
        Some(Anonymous::Push) | None => Access::Push,
    };
    let redirect = Redirect { from: config.redirect_from, except: config.redirect_except.clone() };
    let mut app = App::new(Arc::clone(&registry), anonymous, Reader::ALL).redirecting(redirect);
    app.tls = tls.is_some();
    app.proxies = config.proxies.clone();
    let (stages, grade) = (config.stages.clone(), config.promotion_required_grade);
    app.promotions = Arc::new(Promotions::new(stages, grade, config.promotion_check.as_deref()));
    app.limit_uploads(config.uploads_at_once);
    app.traces.clone_from(&traces);
    let collector = app.metrics.collector.clone();
    tasks.spawn(connections::serve(listener, tls.clone(), app.router(), stopped(stopping.clone())));
    if let Some(tls) = tls {
        let stopping = stopping.clone();
        tasks.spawn(async move { tls.follow(stopped(stopping)).await });
    }
    for _ in 0..config.workers {
        let (registry, stopping) = (Arc::clone(&registry), stopping.clone());
        tasks.spawn(async move { registry.work(stopped(stopping)).await });
    }
    tasks.spawn(reap(Arc::clone(&registry), stopping.clone()));
    tasks.spawn(fill_search(Arc::clone(&registry), stopping.clone()));
    tasks.spawn(verify_again(Arc::clone(&registry), stopping.clone()));
    if config.pulls_days > 0 {
        tasks.spawn(forget_pulls(Arc::clone(&registry), config.pulls_days, stopping.clone()));
    }
    let (ended, ending) = watch::channel(false);
    let keeper = Arc::clone(&registry);
    let pulls = (ended, tokio::spawn(async move { keeper.keep_pulls(stopped(ending)).await }));
    if config.gc_interval > 0 {
        let every = Duration::from_secs(config.gc_interval);
        tasks.spawn(collect(Arc::clone(&registry), collector, policy(config), every, stopping));
    }
    Ok(Running { address, registry, traces, stop, tasks, pulls, _lock: lock })
}

impl Running {
    /// Ends the server: no new requests, running ones finish, then everything is closed.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        self.registry.stop_waiting();
        while self.tasks.join_next().await.is_some() {}
        // The last pull has been answered.
        let (ended, pulls) = self.pulls;
        let _ = ended.send(true);
        let _ = pulls.await;
        self.registry.close().await;
        if let Some(traces) = self.traces {
            // That the thread cannot be waited for changes nothing any more.
            let _ = tokio::task::spawn_blocking(move || traces.flush()).await;
        }
    }
}

/// Looks for what contradicts itself in the registry that `config` names, beside a server if there is one.
///
/// # Errors
/// [`StartError`] when the registry cannot be opened or read.
pub async fn check(
    config: &Config,
    deep: bool,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Vec<String>, StartError> {
    let registry = existing(config).await?;
    let findings = registry.check(deep, &mut progress).await;
    registry.close().await;
    Ok(findings?)
}

/// The registry that is there already, for maintenance: no folder is made and no schema changed.
async fn existing(config: &Config) -> Result<Registry, StartError> {
    let file = database_file(&config.data);
    let lacks = |path: &Path| StartError::NoRegistry(config.data.clone(), path.display().to_string());
    let location = config.location()?;
    if let Location::Disk(objects) = &location
        && !objects.exists()
    {
        return Err(lacks(objects));
    }
    let db = match &config.database {
        Some(url) => postgres(url, &patient(config)).await?,
        None if file.exists() => Db::sqlite(&file).await?,
        None => return Err(lacks(&file)),
    };
    db.require_current().await?;
    // References name the server, which listens at this port.
    let port = config.listen.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default();
    let registry = open(config, &location, db, SocketAddr::from(([127, 0, 0, 1], port)))?;
    registry.knows_store().await?;
    Ok(registry)
}

/// Deletes what nobody needs in the registry that `config` names, beside a server if there is one; with `dry_run` it only
/// counts.
///
/// # Errors
/// [`StartError`] when the registry cannot be opened or a deletion fails.
pub async fn gc(
    config: &Config,
    dry_run: bool,
    progress: impl FnMut(&Collected) + Send,
) -> Result<Collected, StartError> {
    let registry = existing(config).await?;
    let (ctx, policy) = (maintenance(&registry, "gc"), policy(config));
    let collected = match dry_run {
        true => registry.collectable(&ctx, &policy).await,
        false => registry.collect(&ctx, &policy, progress).await,
    };
    registry.close().await;
    Ok(collected?)
}

fn policy(config: &Config) -> Policy {
    let micros = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX / 1_000_000) * 1_000_000;
    let untagged = Some(config.gc_untagged_days).filter(|days| *days > 0);
    Policy { grace: micros(config.gc_grace), untagged: untagged.map(|days| micros(days * 86_400)) }
}

/// Lists what the registry that `config` names does not wholly know, a page at a time, beside a server if there is one.
///
/// # Errors
/// [`StartError`] when the registry cannot be opened or read, or `page` fails.
pub async fn coverage<E: From<StartError>>(
    config: &Config,
    mut question: CoverageQuestion,
    mut page: impl FnMut(Coverage) -> Result<(), E>,
) -> Result<(), E> {
    let registry = existing(config).await?;
    let ctx = maintenance(&registry, "coverage");
    loop {
        let found = registry.coverage(&ctx, &question).await.map_err(StartError::from)?;
        question.cursor.clone_from(&found.next);
        page(found)?;
        if question.cursor.is_none() {
            registry.close().await;
            return Ok(());
        }
    }
}

/// Rebuilds what is derived in the registry that `config` names, beside a server if there is one.
///
/// # Errors
/// [`StartError`] when the registry cannot be opened, read or written; the next run goes on where this one stopped.
pub async fn reindex(
    config: &Config,
    what: &Rebuild,
    progress: impl FnMut(Rebuilding) + Send,
) -> Result<Rebuilt, StartError> {
    let registry = existing(config).await?;
    let rebuilt = registry.reindex(&maintenance(&registry, "reindex"), what, progress).await;
    registry.close().await;
    Ok(rebuilt?)
}

/// Whoever works for the operator and not for a request.
fn maintenance(registry: &Registry, actor: &str) -> Ctx {
    Ctx { actor: actor.into(), request_id: registry.id(), reader: Reader::ALL, access: Access::Push }
}

async fn collect(
    registry: Arc<Registry>,
    metrics: metrics::Collector,
    policy: Policy,
    every: Duration,
    stopping: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = stopped(stopping.clone()) => return,
            () = tokio::time::sleep(every) => {}
        }
        let ctx = maintenance(&registry, "gc");
        let collected = tokio::select! {
            // What is cut off here is taken up by the next run.
            () = stopped(stopping.clone()) => return,
            collected = registry.collect(&ctx, &policy, |_| {}) => collected,
        };
        metrics.done(collected.as_ref().ok());
        match collected {
            Ok(collected) if collected == Collected::default() => {}
            Ok(Collected { manifests, blobs, bytes }) => tracing::info!(manifests, blobs, bytes, "garbage collected"),
            Err(error) => tracing::warn!(%error, "garbage cannot be collected; it is tried again"),
        }
    }
}

async fn listen(config: &Config) -> Result<TcpListener, StartError> {
    let named = config.listen.clone();
    let addresses = tokio::net::lookup_host(&config.listen).await;
    let addresses: Vec<_> = addresses.map_err(|e| StartError::Address(named.clone(), e))?.collect();
    if config.anonymous.is_none()
        && let Some(open) = addresses.iter().find(|address| !address.ip().is_loopback())
    {
        return Err(StartError::Open(*open));
    }
    TcpListener::bind(&addresses[..]).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => StartError::PortUsed(named),
        _ => StartError::Address(named, error),
    })
}

/// Keeps other servers away, for as long as the file is open.
fn hold(config: &Config, location: &Location) -> Result<Option<File>, StartError> {
    // What is shared by several servers anyway needs no lock on this machine.
    let alone = config.database.is_none() || matches!(location, Location::Disk(_));
    alone.then(|| lock(&config.data)).transpose()
}

fn lock(data: &Path) -> Result<File, StartError> {
    let failed = |error| StartError::Data(data.to_owned(), error);
    fs::create_dir_all(data).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(data.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::Served(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The same for maintenance, whose statements look at whole tables.
fn patient(config: &Config) -> Config {
    const HOURS: u64 = 6 * 3600;
    Config { database_timeout: config.database_timeout.max(HOURS), ..config.clone() }
}

async fn postgres(url: &str, config: &Config) -> Result<Db, StartError> {
    let patience = Duration::from_secs(config.database_timeout);
    let db = Db::postgres(url, config.database_connections, patience).await;
    db.map_err(|error| StartError::Postgres(hide_password(url), error))
}

/// The registry on an open database.
fn open(config: &Config, location: &Location, db: Db, address: SocketAddr) -> Result<Registry, StartError> {
    let host = config.listen.rsplit_once(':').map_or("localhost", |(host, _)| host);
    Ok(Registry::new(Options {
        db,
        store: Store::open(location)?,
        clock: Clock::System,
        chance: Chance::System,
        names: Names::new(host, address.port(), &config.names),
        limits: content::Limits {
            entries: config.scan_entries,
            bytes: config.scan_bytes,
            depth: config.scan_depth,
            md5: config.scan_md5,
            ..content::Limits::default()
        },
        ubiquitous: config.ubiquitous,
        spill: config.data.join("spill"),
        trust: trust(config)?,
    }))
}

/// Whose signatures count.
fn trust(config: &Config) -> Result<Trust, StartError> {
    let read = |setting, path: &Path| fs::read(path).map_err(|e| StartError::Unreadable(setting, path.to_owned(), e));
    let mut trust = Trust::none();
    for path in &config.trusted_keys {
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let setting = "trusted_keys";
        trust.add_key(&name, &read(setting, path)?).map_err(|e| StartError::Trust(setting, e))?;
    }
    for (issuer, subject) in &config.trusted_identities {
        trust.add_identity(issuer, subject).map_err(|e| StartError::Trust("trusted_identities", e))?;
    }
    if let Some(path) = &config.trusted_root {
        let setting = "trusted_root";
        trust.set_root(&read(setting, path)?).map_err(|e| StartError::Trust(setting, e))?;
    }
    Ok(trust)
}

fn database_file(data: &Path) -> PathBuf {
    data.join("pedigree.db")
}

async fn reap(registry: Arc<Registry>, stopping: watch::Receiver<bool>) {
    loop {
        if let Err(error) = registry.reap_uploads().await {
            tracing::warn!(%error, "expired uploads cannot be deleted; it is tried again");
        }
        tokio::select! {
            () = stopped(stopping.clone()) => return,
            () = tokio::time::sleep(REAP) => {}
        }
    }
}

/// Forgets who pulled what when it is too long ago to be of interest.
async fn forget_pulls(registry: Arc<Registry>, days: u64, stopping: watch::Receiver<bool>) {
    let micros = i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(86_400_000_000);
    loop {
        let forgotten = tokio::select! {
            () = stopped(stopping.clone()) => return,
            forgotten = registry.forget_pulls(Micros(registry.now().0.saturating_sub(micros))) => forgotten,
        };
        match forgotten {
            Ok(0) => {}
            Ok(pulls) => tracing::info!(pulls, "pulls were forgotten that are older than pulls_days"),
            Err(error) => tracing::warn!(%error, "old pulls cannot be forgotten; it is tried again"),
        }
        tokio::select! {
            () = stopped(stopping.clone()) => return,
            () = tokio::time::sleep(REAP) => {}
        }
    }
}

/// Makes searchable what was pushed before there was a search, and what servers of that time still take.
async fn fill_search(registry: Arc<Registry>, stopping: watch::Receiver<bool>) {
    loop {
        let pause = match registry.fill_search().await {
            // Pushes have a turn too.
            Ok(true) => Duration::from_millis(5),
            Ok(false) => REAP,
            Err(error) => {
                tracing::warn!(%error, "kits cannot be made searchable; it is tried again");
                REAP
            }
        };
        tokio::select! {
            () = stopped(stopping.clone()) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Looks at signatures again by the keys of now, once.
async fn verify_again(registry: Arc<Registry>, stopping: watch::Receiver<bool>) {
    loop {
        let ended = tokio::select! {
            () = stopped(stopping.clone()) => return,
            ended = registry.verify_again() => ended,
        };
        match ended {
            Ok(0) => return,
            Ok(changed) => {
                tracing::info!(changed, "signatures were looked at again, and some are judged otherwise now");
                return;
            }
            Err(error) => tracing::warn!(%error, "signatures cannot be looked at again; it is tried again"),
        }
        tokio::select! {
            () = stopped(stopping.clone()) => return,
            () = tokio::time::sleep(REAP) => {}
        }
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // That the sender is gone is an end too.
    let _ = stopping.wait_for(|stop| *stop).await;
}
