//! The collector against pushes, in every order in which their steps can meet, step by step and then at random.
//!
//! Each order is made by sessions of the test itself, which stop where the order wants it, and by operations of the registry,
//! which run from beginning to end. On PostgreSQL they run at once, and wait for each other's rows; on SQLite one transaction
//! waits for the other. The outcome must be the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use index::{Db, Reader, RepositoryId, Session, blob, gc};
use oci::{Algorithm, Digest, Hasher, Manifest, Name, Reference};
use registry::{
    Access, Chance, Clock, Ctx, Error, Finished, Incoming, Micros, Names, Options, Policy, PushManifest, Registry,
};
use serde_json::json;
use store::{End, Key, Received, Store};
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    left_out::environment,
    postgres::Postgres,
    push::MANIFEST,
    sample::{Dice, sha256},
};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
const POLICY: Policy = Policy { grace: HOUR, untagged: None };

/// A registry whose clock the test sets.
struct World {
    registry: Arc<Registry>,
    db: Db,
    store: Store,
    clock: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(postgres: Option<&Postgres>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = match postgres {
            None => Db::sqlite(&folder.path().join("pedigree.db")).await.unwrap(),
            Some(postgres) => {
                Db::postgres(&postgres.url(&postgres.create()), 16, Duration::from_secs(15)).await.unwrap()
            }
        };
        db.migrate().await.unwrap();
        let store = Store::disk(&folder.path().join("objects")).unwrap();
        let clock = Arc::new(AtomicI64::new(1_800_000_000 * SECOND));
        let registry = registry(&db, &store, Clock::Set(Arc::clone(&clock)), folder.path());
        registry.start(true).await.unwrap();
        Self { registry, db, store, clock, _folder: folder }
    }

    fn now(&self) -> Micros {
        self.registry.now()
    }

    fn pass(&self, micros: i64) {
        self.clock.fetch_add(micros, Ordering::SeqCst);
    }

    /// A blob in `team/a` that nobody has needed for longer than the grace.
    async fn stale(&self, bytes: &'static [u8]) -> Digest {
        let digest = upload(&self.registry, "team/a", bytes).await.unwrap().digest;
        self.pass(2 * HOUR);
        digest
    }

    /// Begins the collector's transaction, and goes as far as its marks. What is marked.
    async fn mark(&self) -> (Session, Vec<gc::Doomed>) {
        let mut tx = self.db.begin().await.unwrap();
        let now = self.now();
        let marked = gc::mark(&mut tx, Micros(now.0 - HOUR), 500, now).await.unwrap();
        (tx, marked.unwrap_or_default())
    }

    async fn collect(&self) -> u64 {
        self.registry.collect(&ctx(), &POLICY, |_| {}).await.unwrap().blobs
    }

    /// Begins an operation of the registry beside the test.
    fn spawn<F: Future<Output: Send> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Registry>) -> F,
    ) -> JoinHandle<F::Output> {
        tokio::spawn(work(Arc::clone(&self.registry)))
    }

    /// Begins a push by hand: as far as the locks on what it needs, or `None` when something is missing.
    async fn lock(&self, name: &str, digest: &Digest) -> Option<(Session, RepositoryId)> {
        let mut tx = self.db.begin().await.unwrap();
        let repository = index::repository::ensure(&mut tx, &name.parse().unwrap(), self.now()).await.unwrap();
        let locked = blob::lock(&mut tx, repository, &[*digest]).await.unwrap();
        (!locked.is_empty()).then_some((tx, repository))
    }

    /// Ends such a push: with the manifest that needs the blob.
    async fn write(&self, (mut tx, repository): (Session, RepositoryId), digest: &Digest) {
        let manifest = manifest(digest);
        let (id, _) = index::manifest::insert(&mut tx, &manifest, self.now()).await.unwrap();
        index::manifest::insert_blobs(&mut tx, id, &manifest, &[]).await.unwrap();
        let opened = index::manifest::open(&mut tx, repository, id, MANIFEST, "test", self.now()).await.unwrap();
        assert!(opened.is_some());
        tx.commit().await.unwrap();
    }

    async fn push(&self, name: &str, digest: &Digest) -> Result<(), Error> {
        push(&self.registry, name, digest).await
    }

    async fn head(&self, name: &str, digest: &Digest) -> bool {
        match self.registry.blob_wanted(&ctx(), &name.parse().unwrap(), digest).await {
            Ok(_) => true,
            Err(Error::Unknown(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// The blob as it is served.
    async fn read(&self, name: &str, digest: &Digest) -> Option<Vec<u8>> {
        read(&self.registry, name, digest).await
    }

    /// The key of the blob's object.
    async fn key(&self, digest: &Digest) -> Option<Key> {
        let found = blob::find(&mut self.db.read().await.unwrap(), digest).await.unwrap();
        found.map(|found| Key::parse(&found.key).unwrap())
    }

    /// An object with these bytes that no row names yet.
    async fn object(&self, bytes: &'static [u8]) -> Key {
        let key = Key::new(Chance::System.bits());
        let nothing = Received::nothing(Hasher::new(Algorithm::Sha256));
        let mut writer = self.store.write(&key, nothing, None).await.unwrap();
        writer.write(Bytes::from_static(bytes)).await.unwrap();
        writer.finish(End::Last).await.unwrap();
        key
    }

    async fn objects(&self) -> usize {
        self.store.list().count().await
    }

    /// Nothing contradicts itself, also when everything that can go has gone, and then exactly `objects` are left.
    async fn end(&self, objects: usize) {
        for _ in 0..2 {
            let findings = self.registry.check(true, &mut |_, _| {}).await.unwrap();
            assert!(findings.is_empty(), "{findings:#?}");
            self.pass(8 * 24 * HOUR);
            self.collect().await;
            self.registry.reap_uploads().await.unwrap();
        }
        assert_eq!(self.objects().await, objects);
    }
}

fn registry(db: &Db, store: &Store, clock: Clock, folder: &std::path::Path) -> Arc<Registry> {
    Arc::new(Registry::new(Options {
        db: db.clone(),
        store: store.clone(),
        clock,
        chance: Chance::System,
        names: Names::new("localhost", 5000, &[]),
        limits: content::Limits::default(),
        ubiquitous: 20,
        spill: folder.join("spill"),
        trust: signatures::Trust::none(),
    }))
}

fn ctx() -> Ctx {
    Ctx { actor: "test".into(), request_id: String::new(), reader: Reader::ALL, access: Access::Push }
}

async fn upload(registry: &Registry, name: &str, bytes: &[u8]) -> Result<Finished, Error> {
    let name: Name = name.parse().unwrap();
    let digest: Digest = sha256(bytes).parse().unwrap();
    let position = registry.start_upload(&ctx(), &name, Algorithm::Sha256).await?;
    let body = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::copy_from_slice(bytes))]);
    let incoming = Incoming { range: None, length: Some(bytes.len() as u64), body };
    registry.finish_upload(&ctx(), &position.upload, &digest, incoming).await
}

/// A manifest that needs the blob.
fn manifest(digest: &Digest) -> Manifest {
    let config = json!({"mediaType": "application/vnd.test", "digest": digest, "size": 1});
    let body = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
    Manifest::parse(body.to_string().into(), None, Algorithm::Sha256).unwrap()
}

async fn push(registry: &Registry, name: &str, digest: &Digest) -> Result<(), Error> {
    let manifest = manifest(digest);
    let push = PushManifest {
        repository: name.parse().unwrap(),
        reference: Reference::Digest(manifest.digest),
        tags: Vec::new(),
        content_type: None,
        body: manifest.bytes.to_vec(),
    };
    registry.push_manifest(&ctx(), push).await.map(drop)
}

async fn read(registry: &Registry, name: &str, digest: &Digest) -> Option<Vec<u8>> {
    let found = match registry.blob(&ctx(), &name.parse().unwrap(), digest).await {
        Ok(found) => found,
        Err(Error::Unknown(_)) => return None,
        Err(error) => panic!("{error}"),
    };
    let mut chunks = registry.read_blob(&found, 0, found.size).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(sha256(&bytes), digest.to_string());
    Some(bytes)
}

/// Runs each order on both engines.
macro_rules! orders {
    ($($(#[$attribute:meta])* async fn $name:ident($world:ident: World) $body:block)+) => {$(
        mod $name {
            use super::*;

            $(#[$attribute])*
            async fn run($world: World) $body

            #[test]
            fn sqlite() {
                block_on(async { run(World::new(None).await).await });
            }

            #[test]
            fn postgres() {
                if let Some(postgres) = Postgres::get() {
                    block_on(async { run(World::new(Some(postgres)).await).await });
                }
            }
        }
    )+};
}

fn block_on(work: impl Future<Output = ()>) {
    let limited = async { tokio::time::timeout(Duration::from_secs(60), work).await.expect("the order ends") };
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(limited);
}

/// Lets what was spawned come as far as it can. Whether it waits for somebody.
async fn waits<T>(task: &JoinHandle<T>) -> bool {
    let start = Instant::now();
    while !task.is_finished() && start.elapsed() < Duration::from_millis(300) {
        sleep(Duration::from_millis(5)).await;
    }
    !task.is_finished()
}

orders! {
    /// The collector passes by what a push holds, or waits for it; and then it is needed.
    async fn a_push_before_the_collector(world: World) {
        let digest = world.stale(b"one").await;
        let held = world.lock("team/a", &digest).await.unwrap();
        let collecting = world.collecting();
        assert_eq!(waits(&collecting).await, world.is_sqlite());
        world.write(held, &digest).await;
        assert_eq!(collecting.await.unwrap(), 0);
        assert_eq!(world.collect().await, 0);
        assert_eq!(world.read("team/a", &digest).await.unwrap(), b"one");
        world.end(1).await;
    }

    async fn a_push_that_gives_up_before_the_collector(world: World) {
        let digest = world.stale(b"one").await;
        let held = world.lock("team/a", &digest).await.unwrap();
        let collecting = world.collecting();
        waits(&collecting).await;
        drop(held);
        // Either this run sees it, or the next one.
        assert_eq!(collecting.await.unwrap() + world.collect().await, 1);
        world.end(0).await;
    }

    /// A push waits for the collector's transaction, and then misses the blob.
    async fn a_push_during_the_collectors_transaction(world: World) {
        let digest = world.stale(b"one").await;
        let (gc, marked) = world.mark().await;
        assert_eq!(marked.len(), 1);
        let pushing = world.pushing("team/a", &digest);
        assert!(waits(&pushing).await, "the push waits");
        gc.commit().await.unwrap();
        assert!(matches!(pushing.await.unwrap(), Err(Error::MissingBlob(_))));
        assert!(!world.head("team/a", &digest).await);
        // The client uploads it again, and all is well.
        upload(&world.registry, "team/a", b"one").await.unwrap();
        world.push("team/a", &digest).await.unwrap();
        world.collect().await;
        assert_eq!(world.read("team/a", &digest).await.unwrap(), b"one");
        world.end(1).await;
    }

    /// The collector dies between its marks and their commit.
    async fn a_push_during_a_transaction_that_is_rolled_back(world: World) {
        let digest = world.stale(b"one").await;
        let (gc, _) = world.mark().await;
        let pushing = world.pushing("team/a", &digest);
        waits(&pushing).await;
        drop(gc);
        pushing.await.unwrap().unwrap();
        assert_eq!(world.collect().await, 0);
        world.end(1).await;
    }

    /// The collector locks what is needed elsewhere, and lets go of it.
    async fn a_push_while_the_collector_finds_that_it_is_needed(world: World) {
        let digest = world.stale(b"one").await;
        world.push("team/a", &digest).await.unwrap();
        upload(&world.registry, "team/b", b"one").await.unwrap();
        world.pass(2 * HOUR);
        let (gc, marked) = world.mark().await;
        assert!(marked.is_empty());
        let pushing = world.pushing("team/b", &digest);
        waits(&pushing).await;
        gc.commit().await.unwrap();
        pushing.await.unwrap().unwrap();
        world.end(1).await;
    }

    async fn a_push_after_the_mark(world: World) {
        let digest = world.stale(b"one").await;
        let (gc, _) = world.mark().await;
        gc.commit().await.unwrap();
        assert!(matches!(world.push("team/a", &digest).await, Err(Error::MissingBlob(_))));
        assert!(!world.head("team/a", &digest).await);
        assert_eq!(world.read("team/a", &digest).await, None);
        let old = upload(&world.registry, "team/b", b"one").await;
        old.unwrap();
        // The mark took every link: only who uploaded it again sees it.
        assert!(!world.head("team/a", &digest).await);
        world.push("team/b", &digest).await.unwrap();
        world.collect().await;
        assert_eq!(world.read("team/b", &digest).await.unwrap(), b"one");
        world.end(1).await;
    }

    async fn a_mount_before_the_collector(world: World) {
        let digest = world.stale(b"one").await;
        let mut tx = world.db.begin().await.unwrap();
        let repository = index::repository::ensure(&mut tx, &"team/b".parse().unwrap(), world.now()).await.unwrap();
        let found = blob::find(&mut tx, &digest).await.unwrap().unwrap();
        assert!(blob::link(&mut tx, repository, found.id, world.now()).await.unwrap());
        let collecting = world.collecting();
        assert_eq!(waits(&collecting).await, world.is_sqlite());
        tx.commit().await.unwrap();
        assert_eq!(collecting.await.unwrap(), 0, "a link keeps it for a while");
        world.push("team/b", &digest).await.unwrap();
        world.end(1).await;
    }

    async fn a_mount_during_the_collectors_transaction(world: World) {
        let digest = world.stale(b"one").await;
        let (gc, _) = world.mark().await;
        let mounting = world.spawn(move |registry| async move {
            let (to, from) = ("team/b".parse().unwrap(), "team/a".parse().unwrap());
            registry.mount(&ctx(), &to, &digest, Some(&from)).await
        });
        assert!(waits(&mounting).await, "the mount waits");
        gc.commit().await.unwrap();
        assert_eq!(mounting.await.unwrap().unwrap(), None, "what is being deleted is not mounted");
        assert!(!world.head("team/b", &digest).await);
        world.end(0).await;
    }

    async fn a_mount_after_the_mark(world: World) {
        let digest = world.stale(b"one").await;
        let (gc, _) = world.mark().await;
        gc.commit().await.unwrap();
        for from in [None, Some("team/a".parse().unwrap())] {
            let mounted = world.registry.mount(&ctx(), &"team/b".parse().unwrap(), &digest, from.as_ref()).await;
            assert_eq!(mounted.unwrap(), None);
        }
        world.end(0).await;
    }

    /// The order that loses data elsewhere: the object goes, it is pushed again, then its row would go.
    async fn a_push_between_the_deletion_of_the_object_and_of_its_row(world: World) {
        let digest = world.stale(b"one").await;
        let old = world.key(&digest).await.unwrap();
        let (gc, marked) = world.mark().await;
        gc.commit().await.unwrap();
        world.store.delete(&old).await.unwrap();
        upload(&world.registry, "team/a", b"one").await.unwrap();
        world.push("team/a", &digest).await.unwrap();
        let mut tx = world.db.begin().await.unwrap();
        gc::forget(&mut tx, &marked[..1]).await.unwrap();
        tx.commit().await.unwrap();
        assert_ne!(world.key(&digest).await.unwrap(), old, "it has another object");
        assert_eq!(world.read("team/a", &digest).await.unwrap(), b"one");
        world.end(1).await;
    }

    /// The same with an object that is deleted only after the push.
    async fn a_push_before_the_deletion_of_the_object(world: World) {
        let digest = world.stale(b"one").await;
        let old = world.key(&digest).await.unwrap();
        let (gc, marked) = world.mark().await;
        gc.commit().await.unwrap();
        upload(&world.registry, "team/a", b"one").await.unwrap();
        world.push("team/a", &digest).await.unwrap();
        assert_eq!(world.objects().await, 2);
        world.store.delete(&old).await.unwrap();
        let mut tx = world.db.begin().await.unwrap();
        gc::forget(&mut tx, &marked[..1]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.read("team/a", &digest).await.unwrap(), b"one");
        world.end(1).await;
    }

    /// The collector dies after its mark; somebody revives the blob; what is left of the old object goes all the same.
    async fn a_collector_that_dies_after_its_mark(world: World) {
        let digest = world.stale(b"one").await;
        let gone = world.stale(b"two").await;
        let (gc, marked) = world.mark().await;
        assert_eq!(marked.len(), 2);
        gc.commit().await.unwrap();
        upload(&world.registry, "team/a", b"one").await.unwrap();
        world.push("team/a", &digest).await.unwrap();
        assert_eq!(world.objects().await, 3);
        world.collect().await;
        world.registry.reap_uploads().await.unwrap();
        assert_eq!((world.objects().await, world.read("team/a", &gone).await), (1, None));
        world.end(1).await;
    }

    async fn a_look_before_the_collector(world: World) {
        let digest = world.stale(b"one").await;
        let mut tx = world.db.begin().await.unwrap();
        let found = blob::find(&mut tx, &digest).await.unwrap().unwrap();
        assert!(blob::touch(&mut tx, found.id, world.now()).await.unwrap());
        let collecting = world.collecting();
        assert_eq!(waits(&collecting).await, world.is_sqlite());
        tx.commit().await.unwrap();
        assert_eq!(collecting.await.unwrap(), 0);
        world.push("team/a", &digest).await.unwrap();
        world.end(1).await;
    }

    /// Whoever is told that a blob is there has the grace to push what needs it.
    async fn a_look_keeps_the_blob_for_the_grace(world: World) {
        let digest = world.stale(b"one").await;
        assert!(world.head("team/a", &digest).await);
        assert_eq!(world.collect().await, 0);
        world.pass(HOUR - SECOND);
        assert_eq!(world.collect().await, 0);
        world.pass(2 * SECOND);
        assert_eq!(world.collect().await, 1);
        world.end(0).await;
    }

    async fn a_look_during_the_collectors_transaction(world: World) {
        let digest = world.stale(b"one").await;
        let (gc, _) = world.mark().await;
        let looking = world.spawn(move |registry| async move {
            registry.blob_wanted(&ctx(), &"team/a".parse().unwrap(), &digest).await.is_ok()
        });
        assert!(waits(&looking).await, "the look waits: whoever is told that it is there counts on it");
        gc.commit().await.unwrap();
        assert!(!looking.await.unwrap());
        world.end(0).await;
    }

    async fn a_look_during_a_transaction_that_is_rolled_back(world: World) {
        let digest = world.stale(b"one").await;
        let (gc, _) = world.mark().await;
        let looking = world.spawn(move |registry| async move {
            registry.blob_wanted(&ctx(), &"team/a".parse().unwrap(), &digest).await.is_ok()
        });
        waits(&looking).await;
        drop(gc);
        assert!(looking.await.unwrap());
        assert_eq!(world.collect().await, 0);
        world.end(0).await;
    }

    async fn two_collectors(world: World) {
        let digest = world.stale(b"one").await;
        world.stale(b"two").await;
        let (gc, marked) = world.mark().await;
        assert_eq!(marked.len(), 2);
        let second = world.collecting();
        assert_eq!(waits(&second).await, world.is_sqlite());
        gc.commit().await.unwrap();
        let second = second.await.unwrap();
        // Both delete the same objects, and forget the same rows.
        let [third, fourth] = [world.collecting(), world.collecting()];
        third.await.unwrap();
        fourth.await.unwrap();
        assert_eq!((world.objects().await, world.key(&digest).await), (0, None), "{second}");
        world.end(0).await;
    }

    /// The same bytes uploaded to a blob that is being deleted, by two at once: the old object is recorded once.
    async fn two_pushes_revive_a_blob(world: World) {
        for (gets_through, bytes) in [(false, b"one"), (true, b"two")] {
            let digest = world.stale(bytes).await;
            let (gc, _) = world.mark().await;
            gc.commit().await.unwrap();
            let key = world.object(bytes).await;
            let mut first = world.db.begin().await.unwrap();
            let repository = index::repository::ensure(&mut first, &"team/a".parse().unwrap(), world.now()).await.unwrap();
            let (spare, now) = (world.registry.id(), world.now());
            let revived = blob::insert(&mut first, repository, &digest, 3, key.as_str(), &spare, now).await.unwrap();
            assert!(revived.is_some());
            let second = world.spawn(move |registry| async move { upload(&registry, "team/b", bytes).await.map(drop) });
            assert!(waits(&second).await, "the second waits");
            if gets_through {
                first.commit().await.unwrap();
            } else {
                drop(first);
                world.store.delete(&key).await.unwrap();
            }
            second.await.unwrap().unwrap();
            assert_eq!(world.read("team/b", &digest).await.unwrap(), bytes);
            world.push("team/b", &digest).await.unwrap();
        }
        world.end(2).await;
    }

    /// An upload finds the blob alive, and the collector takes it before the upload has linked it.
    async fn a_known_blob_is_taken_from_an_upload(world: World) {
        let digest = world.stale(b"one").await;
        let (gc, _) = world.mark().await;
        let uploading = world.spawn(|registry| async move { upload(&registry, "team/b", b"one").await.map(drop) });
        assert!(waits(&uploading).await, "the upload waits");
        gc.commit().await.unwrap();
        uploading.await.unwrap().unwrap();
        assert_eq!(world.read("team/b", &digest).await.unwrap(), b"one");
        world.push("team/b", &digest).await.unwrap();
        world.collect().await;
        assert_eq!(world.read("team/b", &digest).await.unwrap(), b"one");
        world.end(1).await;
    }

    async fn a_deletion_of_the_blob_before_a_push(world: World) {
        let digest = world.stale(b"one").await;
        let mut tx = world.db.begin().await.unwrap();
        let name: Name = "team/a".parse().unwrap();
        let repository = index::repository::find(&mut tx, Reader::ALL, &name).await.unwrap().unwrap();
        assert!(blob::unlink(&mut tx, repository, &digest).await.unwrap());
        let pushing = world.pushing("team/a", &digest);
        assert!(waits(&pushing).await, "the push waits");
        tx.commit().await.unwrap();
        assert!(matches!(pushing.await.unwrap(), Err(Error::MissingBlob(_))));
        assert_eq!(world.collect().await, 1);
        world.end(0).await;
    }

    async fn a_deletion_of_the_blob_during_a_push(world: World) {
        let digest = world.stale(b"one").await;
        let held = world.lock("team/a", &digest).await.unwrap();
        let deleting = world.spawn(move |registry| async move {
            registry.delete_blob(&ctx(), &"team/a".parse().unwrap(), &digest).await
        });
        assert!(waits(&deleting).await, "the deletion waits");
        world.write(held, &digest).await;
        assert!(matches!(deleting.await.unwrap(), Err(Error::Needed { .. })));
        world.end(1).await;
    }

    /// A manifest is deleted and pushed again: its blobs are looked at in between, and are needed after all.
    async fn a_manifest_that_comes_back(world: World) {
        let digest = world.stale(b"one").await;
        world.push("team/a", &digest).await.unwrap();
        let name: Name = "team/a".parse().unwrap();
        let by_digest = Reference::Digest(manifest(&digest).digest);
        world.registry.delete_manifest(&ctx(), &name, &by_digest).await.unwrap();
        assert_eq!(world.collect().await, 0, "the grace begins with the deletion");
        world.pass(2 * HOUR);
        let held = world.lock("team/a", &digest).await.unwrap();
        let collecting = world.collecting();
        waits(&collecting).await;
        world.write(held, &digest).await;
        assert_eq!(collecting.await.unwrap(), 0);
        world.pass(2 * HOUR);
        assert_eq!(world.collect().await, 0);
        world.end(1).await;
    }

    /// What is still to be scanned stays, and a run ends although it stays.
    async fn a_layer_whose_scan_is_pending(world: World) {
        let digest = world.stale(b"one").await;
        let mut tx = world.db.begin().await.unwrap();
        let pending = index::LayerState::Pending;
        let (layer, _) = index::layer::ensure(&mut tx, &digest, 3, pending, None).await.unwrap();
        let subject = layer.0.to_string();
        index::job::enqueue(&mut tx, index::JobKind::Scan, &subject, index::Priority::Push, world.now()).await.unwrap();
        tx.commit().await.unwrap();
        let at_once = Policy { grace: 0, untagged: None };
        assert_eq!(world.registry.collect(&ctx(), &at_once, |_| {}).await.unwrap().blobs, 0);
        assert!(world.registry.scan_next().await.unwrap());
        world.pass(SECOND);
        assert_eq!(world.registry.collect(&ctx(), &at_once, |_| {}).await.unwrap().blobs, 1);
        world.end(0).await;
    }
}

impl World {
    fn collecting(&self) -> JoinHandle<u64> {
        self.spawn(|registry| async move { registry.collect(&ctx(), &POLICY, |_| {}).await.unwrap().blobs })
    }

    fn pushing(&self, name: &'static str, digest: &Digest) -> JoinHandle<Result<(), Error>> {
        let digest = *digest;
        self.spawn(move |registry| async move { push(&registry, name, &digest).await })
    }

    fn is_sqlite(&self) -> bool {
        matches!(self.db, Db::Sqlite { .. })
    }
}

/// Pushes, mounts, looks, deletions and collectors at random, all at once and without any grace: who is told that a manifest
/// is there can pull all of it. `PEDIGREE_TEST_SOAK_SECONDS` says how long.
async fn soak(world: World) {
    let seconds = environment("PEDIGREE_TEST_SOAK_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    let (registry, mut dice) =
        (self::registry(&world.db, &world.store, Clock::System, world._folder.path()), Dice::thrown_for("soak"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let counted = Arc::new(Counted::default());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let (registry, dice, counted) = (Arc::clone(&registry), dice.split(), Arc::clone(&counted));
        let name = ["soak/a", "soak/b", "soak/c"][number % 3];
        tasks
            .spawn(async move { soak_pusher(&registry, name, number % 3 * 2 + number / 3, dice, end, &counted).await });
    }
    for _ in 0..2 {
        let (registry, mut dice, counted) = (Arc::clone(&registry), dice.split(), Arc::clone(&counted));
        tasks.spawn(async move {
            let policy = Policy { grace: 0, untagged: None };
            while Instant::now() < end {
                let collected = registry.collect(&ctx(), &policy, |_| {}).await.unwrap();
                counted.collected.fetch_add(collected.blobs.cast_signed(), Ordering::Relaxed);
                if dice.once_in(4) {
                    registry.reap_uploads().await.unwrap();
                }
                sleep(Duration::from_millis(dice.within(0..30) as u64)).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    println!("soak: {counted:?}");
    let all = [&counted.pushed, &counted.missed, &counted.deleted, &counted.mounted, &counted.collected];
    assert!(all.iter().all(|count| count.load(Ordering::Relaxed) > 0), "{counted:?}");
    let findings = registry.check(true, &mut |_, _| {}).await.unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[derive(Debug, Default)]
struct Counted {
    pushed: AtomicI64,
    /// Pushes that the collector was faster than.
    missed: AtomicI64,
    deleted: AtomicI64,
    mounted: AtomicI64,
    collected: AtomicI64,
}

/// Two pushers share a repository, and never push the same manifest.
async fn soak_pusher(registry: &Registry, name: &str, who: usize, mut dice: Dice, end: Instant, counted: &Counted) {
    let repository: Name = name.parse().unwrap();
    let mut pushed: Vec<(Digest, Digest)> = Vec::new();
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        // Few blobs, so that everybody meets everybody.
        let bytes = format!("content {}", dice.within(0..8)).repeat(50);
        let digest: Digest = sha256(bytes.as_bytes()).parse().unwrap();
        let is_there = match dice.within(0..4) {
            0 => match registry.mount(&ctx(), &repository, &digest, None).await.unwrap() {
                Some(_) => counted.mounted.fetch_add(1, Ordering::Relaxed) >= 0,
                None => false,
            },
            1 => registry.blob_wanted(&ctx(), &repository, &digest).await.is_ok(),
            _ => false,
        };
        if !is_there {
            upload(registry, name, bytes.as_bytes()).await.unwrap();
        }
        let config = json!({"mediaType": "application/vnd.test", "digest": digest, "size": bytes.len()});
        let body = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [], "annotations": {"who": format!("{who} {number}")},
        });
        let manifest = Manifest::parse(body.to_string().into(), None, Algorithm::Sha256).unwrap();
        let push = PushManifest {
            repository: repository.clone(),
            reference: Reference::Tag(format!("t{}", dice.within(0..4)).parse().unwrap()),
            tags: Vec::new(),
            content_type: None,
            body: manifest.bytes.clone(),
        };
        match registry.push_manifest(&ctx(), push).await {
            Ok(_) => {
                pushed.push((manifest.digest, digest));
                counted.pushed.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::MissingBlob(_)) => {
                counted.missed.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => panic!("{error}: {error:?}"),
        }
        for (_, needed) in pushed.iter().rev().take(3) {
            assert!(read(registry, name, needed).await.is_some(), "a manifest that is there lacks its blob");
        }
        if pushed.len() > 4 || !pushed.is_empty() && dice.once_in(3) {
            let (gone, _) = pushed.swap_remove(dice.within(0..pushed.len()));
            registry.delete_manifest(&ctx(), &repository, &Reference::Digest(gone)).await.unwrap();
            counted.deleted.fetch_add(1, Ordering::Relaxed);
        }
        if dice.once_in(8) {
            // Somebody in the repository may need it, or have deleted it.
            match registry.delete_blob(&ctx(), &repository, &digest).await {
                Ok(()) | Err(Error::Needed { .. } | Error::Unknown(_)) => {}
                Err(error) => panic!("{error}: {error:?}"),
            }
        }
    }
}

#[test]
fn soak_sqlite() {
    run_soak(None);
}

#[test]
fn soak_postgres() {
    if let Some(postgres) = Postgres::get() {
        run_soak(Some(postgres));
    }
}

fn run_soak(postgres: Option<&Postgres>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { soak(World::new(postgres).await).await });
}
