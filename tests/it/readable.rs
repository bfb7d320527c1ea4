//! A reader who may not read everything: nothing of the other repositories is shown, traversed or counted.

use std::{sync::Arc, time::Duration};

use index::{Db, Reader};
use registry::{Access, Chance, Clock, Names, Options, Registry};
use serde_json::{Value, json};
use store::Store;
use tokio::net::TcpListener;

use crate::{
    postgres::Postgres,
    push::{INDEX, MANIFEST, Repository, holders, models},
    sample::sha256,
    search::{asking, found},
    wire::Wire,
};

const STRANGER: Reader = Reader(7);

/// One registry behind two listeners: one for who reads everything, one for the stranger.
struct Both {
    all: String,
    stranger: String,
    registry: Arc<Registry>,
    db: Db,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Both {
    fn start(postgres: Option<&Postgres>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (registry, db) = runtime.block_on(async {
            let db = match postgres {
                None => Db::sqlite(&folder.path().join("pedigree.db")).await.unwrap(),
                Some(postgres) => {
                    Db::postgres(&postgres.url(&postgres.create()), 8, Duration::from_secs(15)).await.unwrap()
                }
            };
            db.migrate().await.unwrap();
            let registry = Registry::new(Options {
                db: db.clone(),
                store: Store::disk(&folder.path().join("objects")).unwrap(),
                clock: Clock::System,
                chance: Chance::System,
                names: Names::new("localhost", 5000, &[]),
                limits: content::Limits::default(),
                ubiquitous: 20,
                spill: folder.path().join("spill"),
                trust: signatures::Trust::none(),
            });
            registry.start(true).await.unwrap();
            (Arc::new(registry), db)
        });
        let worker = Arc::clone(&registry);
        runtime.spawn(async move { worker.work(std::future::pending()).await });
        let listen = |reader: Reader| {
            let app = server::App::new(Arc::clone(&registry), Access::Push, reader);
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            let address = listener.local_addr().unwrap().to_string();
            runtime.spawn(async move { axum::serve(listener, app.router()).await });
            address
        };
        let (all, stranger) = (listen(Reader::ALL), listen(STRANGER));
        Self { all, stranger, registry, db, runtime, _folder: folder }
    }

    /// Lets the stranger read a repository.
    fn open(&self, name: &str) {
        self.runtime.block_on(async {
            let mut tx = self.db.begin().await.unwrap();
            let id = index::repository::find(&mut tx, Reader::ALL, &name.parse().unwrap()).await.unwrap().unwrap();
            index::repository::grant(&mut tx, STRANGER, id).await.unwrap();
            tx.commit().await.unwrap();
        });
    }

    fn ask(host: &str, path: &str, status: u16) -> Value {
        let reply = Wire::new(host).get(&format!("/api/v1{path}"), "application/json").expect(status);
        serde_json::from_slice(&reply.body).unwrap()
    }
}

fn nothing_else_is_seen(both: &Both) {
    let push = |name: &str| Repository::new(&both.all, name);
    let leak = b"the leaked file\n";
    let base = push("open/base").kit("1", b"base weights", leak);
    push("secret/mid").child("1", "localhost:5000/open/base:1");
    push("open/leaf").child("1", "localhost:5000/secret/mid:1");
    push("secret/own").kit("1", b"secret weights", leak);
    push("open/copy").artifact("1", &[leak]);
    push("secret/copy").artifact("1", &[leak, b"only in secret\n"]);
    // The same manifest in both worlds, under other tags, and in an index of the secret one.
    let payload = push("open/base").send("GET", "/manifests/1", &[], b"").expect(200).body;
    for descriptor in ["config", "layers"].iter().flat_map(|part| {
        let manifest: Value = serde_json::from_slice(&payload).unwrap();
        manifest[part].as_array().cloned().unwrap_or_else(|| vec![manifest[part].clone()])
    }) {
        let mount = format!("/blobs/uploads/?mount={}&from=open/base", descriptor["digest"].as_str().unwrap());
        push("secret/base").send("POST", &mount, &[], b"").expect(201);
    }
    push("secret/base").bytes("hidden", MANIFEST, &payload);
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [{"mediaType": MANIFEST, "digest": base, "size": payload.len()}],
    });
    push("secret/base").bytes("index", INDEX, index.to_string().as_bytes());
    // A reference of the secret world that names nothing, and a layer that is broken there.
    push("secret/orphan").child("1", "localhost:5000/secret/gone:1");
    push("secret/broken").artifact("1", &[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]]);
    ["open/base", "open/leaf", "open/copy"].iter().for_each(|name| both.open(name));

    let question = format!("/impact?file={}&wait=30", sha256(leak));
    let all = Both::ask(&both.all, &question, 200);
    let names = |answer: &Value| models(answer).into_iter().map(|(name, ..)| name).collect::<Vec<_>>();
    assert_eq!(names(&all), ["open/base", "secret/base", "secret/own", "secret/mid", "open/leaf"]);
    assert_eq!(holders(&all), ["open/copy", "secret/copy"]);
    assert_eq!((&all["scope"], &all["completeness"]["exact"]), (&"all".into(), &false.into()));

    let seen = Both::ask(&both.stranger, &question, 200);
    assert_eq!(names(&seen), ["open/base"], "what is reached only through the secret is not reached");
    assert_eq!(holders(&seen), ["open/copy"]);
    assert_eq!(seen["models"][0]["tags"], json!(["1"]));
    assert_eq!(seen["models"][0]["indexes"], json!([]));
    assert_eq!(seen["scope"], "readable");
    assert_eq!(seen["completeness"]["unresolved_references"], 1, "open/leaf refers to what the stranger cannot see");
    assert_eq!(seen["completeness"]["exact"], false);
    let layers = &seen["completeness"]["layers"];
    assert_eq!((&layers["indexed"], &layers["partial"]), (&2.into(), &0.into()), "{seen:#}");
    assert!(!seen.to_string().contains("secret"), "{seen:#}");
    let by_layer = Both::ask(&both.stranger, &format!("/holders?layer={}", sha256(leak)), 200);
    assert_eq!(holders(&by_layer), ["open/base", "open/copy"]);
    let only_secret = Both::ask(&both.stranger, &format!("/impact?file={}", sha256(b"only in secret\n")), 200);
    assert!(models(&only_secret).is_empty() && holders(&only_secret).is_empty());
    let parent = Both::ask(&both.stranger, "/impact?ref=open/base:1", 200);
    assert_eq!(names(&parent), ["open/base"]);

    let states = |host: &str, path: &str| {
        let gaps = Both::ask(host, path, 200)["gaps"].as_array().unwrap().clone();
        gaps.iter().map(|gap| format!("{} {}", gap["state"], gap["places"][0]["repository"])).collect::<Vec<_>>()
    };
    let all = ["\"partial\" \"secret/broken\"", "\"unresolved\" \"secret/orphan\""];
    assert_eq!(states(&both.all, "/coverage"), all);
    assert_eq!(states(&both.stranger, "/coverage"), ["\"unresolved\" \"open/leaf\""]);
    assert_eq!(states(&both.stranger, "/coverage?repository=open/base"), [""; 0]);
    Both::ask(&both.stranger, "/coverage?repository=secret/broken", 404);
    for (query, names) in [
        ("name:m", vec!["open/leaf", "open/base"]),
        ("open/base", vec!["open/base"]),
        ("secret", vec![]),
        ("repository:secret", vec![]),
        ("component:train", vec!["open/base"]),
        ("file:train.csv", vec!["open/base"]),
        ("file:model.bin", vec!["open/base"]),
        (&sha256(leak)[..20], vec!["open/copy", "open/base"]),
        (&sha256(b"secret weights"), vec![]),
        (&sha256(b"only in secret\n")[..13], vec![]),
    ] {
        let seen = Both::ask(&both.stranger, &asking(query), 200);
        assert_eq!(seen["scope"], "readable");
        let seen: Vec<_> = found(&seen).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(seen, names, "{query}");
        let all = found(&Both::ask(&both.all, &asking(query), 200));
        assert!(query == "open/base" || all.iter().any(|(name, ..)| name.starts_with("secret/")), "{query}: {all:?}");
    }

    let listed = Both::ask(&both.stranger, "/repositories", 200);
    let listed: Vec<_> =
        listed["repositories"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(listed, ["open/base", "open/copy", "open/leaf"]);
    Both::ask(&both.stranger, "/impact?ref=secret/mid:1", 404);
    Both::ask(&both.stranger, "/repositories/secret/mid/-/versions", 404);
    Both::ask(&both.stranger, &format!("/repositories/secret/base/-/kits/{base}"), 404);
    let mut stranger = Repository::new(&both.stranger, "secret/base");
    for path in ["/manifests/hidden", &format!("/manifests/{base}"), "/tags/list", &format!("/blobs/{}", sha256(leak))]
    {
        stranger.send("GET", path, &[], b"").expect(404);
    }
    let mut elsewhere = Repository::new(&both.stranger, "open/base");
    // Nor is a mount told apart from one of a blob that nobody has, with a source or without.
    for (blob, from) in [
        (&b"only in secret\n"[..], "&from=secret/copy"),
        (b"only in secret\n", ""),
        (b"nobody has this", "&from=secret/copy"),
        (b"nobody has this", ""),
    ] {
        let mount = format!("/blobs/uploads/?mount={}{from}", sha256(blob));
        let refused = elsewhere.send("POST", &mount, &[], b"").expect(202);
        let location = refused.header("location").unwrap().to_owned();
        elsewhere.send("DELETE", &location[location.find("/blobs").unwrap()..], &[], b"").expect(204);
    }

    let findings = both.runtime.block_on(both.registry.check(true, &mut |_, _| {})).unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn on_sqlite() {
    nothing_else_is_seen(&Both::start(None));
}

#[test]
fn on_postgres() {
    if let Some(postgres) = Postgres::get() {
        nothing_else_is_seen(&Both::start(Some(postgres)));
    }
}
