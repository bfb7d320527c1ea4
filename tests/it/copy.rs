//! A registry that is copied to another engine and another kind of store is the same registry there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt as _;
use object_store::ObjectStore as _;
use serde_json::{Value, json};

use crate::{
    database,
    fixtures::REPOSITORIES,
    left_out::workspace,
    push::{INDEX, MANIFEST, Repository, push_layout},
    s3::S3Kind,
    sample::{Content, sha256},
    server::{Engine, Place, Server, Storage, binary},
    wire::Wire,
};

const MIB: usize = 1 << 20;

#[test]
fn a_registry_goes_everywhere_and_back_and_is_the_same() {
    let stops = [
        (Engine::Postgres, Storage::S3(S3Kind::Versity)),
        (Engine::Sqlite, Storage::S3(S3Kind::InProcess)),
        (Engine::Postgres, Storage::Disk),
        (Engine::Sqlite, Storage::Disk),
    ];
    let stops: Option<Vec<_>> = stops.into_iter().map(|(engine, storage)| Place::new(engine, storage)).collect();
    let (Some(stops), Some(mut server)) = (stops, Server::start(Engine::Sqlite)) else { return };
    fill(&server.host);
    for (number, target) in stops.into_iter().enumerate() {
        let before = answers(&server);
        server.terminate();
        server.wait();
        let said = copied(&command(&server.place().config(), &target.config()).output().unwrap(), 0);
        assert_eq!(said["clean"], true, "{said:#}");
        assert_eq!(said["copied"]["continued"], false);
        assert_eq!(said["copied"]["uploads"], u64::from(number == 0), "the open one stays behind: {said:#}");
        server.restart(&[]);
        let next = target.serve();
        assert_same(&before, &answers(&next));
        if number == 0 {
            assert_same(&before, &answers(&next.replica()));
        }
        go_on(&next.host, number);
        server = next;
    }
}

#[test]
fn a_data_folder_is_enough() {
    let server = Server::start(Engine::Sqlite).unwrap();
    let digest = Repository::new(&server.host, "team/kit").kit("1", b"weights", b"data");
    let refused = command(server.data(), Path::new("/nowhere/at/all")).output().unwrap();
    refuses(&refused, "serves the data folder");
    let mut server = server;
    server.terminate();
    server.wait();
    let target = Place::new(Engine::Sqlite, Storage::Disk).unwrap();
    let folder = target.data().join("new");
    let output = Command::new(binary()).args(["copy", "--from"]).arg(server.data()).arg("--to").arg(&folder).output();
    let output = output.unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && said.contains("clean\n"), "{said}");
    assert!(said.contains(&format!("pedigree serve --data {}", folder.display())), "{said}");
    for file in ["objects", "pedigree.db"] {
        fs::rename(folder.join(file), target.data().join(file)).unwrap();
    }
    let copy = target.serve();
    Repository::new(&copy.host, "team/kit").send("GET", &format!("/manifests/{digest}"), &[], b"").expect(200);
    server.restart(&[]);
    // The folder of a new registry is no source.
    let empty = tempfile::tempdir().unwrap();
    refuses(&command(empty.path(), &folder).output().unwrap(), "no registry");
    refuses(&command(&empty.path().join("no.toml"), &folder).output().unwrap(), "cannot read");
}

#[test]
fn an_interrupted_copy_is_continued_sqlite_disk_to_sqlite_s3() {
    interrupted((Engine::Sqlite, Storage::Disk), (Engine::Sqlite, Storage::S3(S3Kind::InProcess)));
}

#[test]
fn an_interrupted_copy_is_continued_postgres_s3_to_postgres_disk() {
    interrupted((Engine::Postgres, Storage::S3(S3Kind::InProcess)), (Engine::Postgres, Storage::Disk));
}

#[test]
fn an_interrupted_copy_is_continued_sqlite_s3_to_postgres_s3() {
    interrupted((Engine::Sqlite, Storage::S3(S3Kind::InProcess)), (Engine::Postgres, Storage::S3(S3Kind::Versity)));
}

/// Kills a copy while it copies objects, changes the source, and copies again.
fn interrupted(from: (Engine, Storage), to: (Engine, Storage)) {
    let (Some(mut source), Some(target)) = (Server::start_on(from.0, from.1), Place::new(to.0, to.1)) else { return };
    // The only setup that nothing keeps from being served.
    let is_shared = from.0 == Engine::Postgres && from.1 != Storage::Disk;
    // The server within the process takes an upload in parts that is cut off at its end for another's: none there.
    let size = if to.1 == Storage::S3(S3Kind::InProcess) { 5 * MIB } else { 6 * MIB };
    let mut repository = Repository::new(&source.host, "team/large");
    let large: Vec<_> = (0..40).map(|seed| Content::new(seed, size).to_vec()).collect();
    let layers: Vec<_> = large.iter().map(Vec::as_slice).collect();
    repository.artifact("1", &layers);
    // These come last, and no manifest needs them.
    for alone in [b"alone and gone".as_slice(), b"alone and back"] {
        repository.blob("", alone);
    }
    let stop = |source: &mut Server| {
        if !is_shared {
            source.terminate();
            source.wait();
        }
    };
    stop(&mut source);
    let (from, to) = (source.place().config(), target.config());
    let mut copying = command(&from, &to).spawn().unwrap();
    until(|| bytes_in(&target) > 20 * MIB as u64);
    copying.kill().unwrap();
    copying.wait().unwrap();
    assert!(bytes_in(&target) < 200 * MIB as u64, "the kill came in the middle");

    refuses(&target.beside(&["serve", "--listen", "127.0.0.1:0"]).output().unwrap(), "was not finished");
    refuses(&target.beside(&["check"]).output().unwrap(), "was not finished");
    let other = Server::start(Engine::Sqlite).unwrap();
    let mut other = other;
    other.terminate();
    other.wait();
    refuses(&command(&other.place().config(), &to).output().unwrap(), "unfinished copy of another registry");
    refuses(&command(&to, &other.place().config()).output().unwrap(), "was not finished");
    other.restart(&[]);

    // The collector takes both; one of them comes back as another object.
    if !is_shared {
        source.restart(&[]);
    }
    let collected = source.beside(&["gc", "--grace", "0", "--json"]).output().unwrap();
    let collected: Value = serde_json::from_slice(&collected.stdout).unwrap();
    assert_eq!(collected["blobs"], 2, "{collected}");
    let mut repository = Repository::new(&source.host, "team/large");
    repository.blob("", b"alone and back");
    repository.artifact("2", &[b"too late"]);
    stop(&mut source);

    let said = copied(&command(&from, &to).output().unwrap(), 0);
    let copied = &said["copied"];
    assert_eq!((&copied["continued"], &said["clean"]), (&json!(true), &json!(true)), "{said:#}");
    assert!(copied["rows"].as_object().unwrap().is_empty(), "they were there already: {said:#}");
    let (kept, new) = (copied["kept"].as_u64().unwrap(), copied["objects"].as_u64().unwrap());
    // 40 layers, a config and one that came back.
    assert!(kept > 0 && new > 0 && kept + new == 42, "{said:#}");
    assert_eq!(copied["collected"], json!([sha256(b"alone and gone")]));
    assert!(copied["later"].as_u64().unwrap() >= 5, "two collected, three pushed, a manifest: {said:#}");
    refuses(&command(&from, &to).output().unwrap(), "the target's database has a registry in it");
    if !is_shared {
        source.restart(&[]);
    }

    let copy = target.serve();
    let mut repository = Repository::new(&copy.host, "team/large");
    let mut get = |path: &str| repository.send("GET", path, &[], b"");
    get("/manifests/1").expect(200);
    get("/manifests/2").expect(404);
    for bytes in &large {
        assert!(get(&format!("/blobs/{}", sha256(bytes))).expect(200).body == *bytes);
    }
    assert_eq!(get(&format!("/blobs/{}", sha256(b"alone and back"))).expect(200).body, b"alone and back");
    get(&format!("/blobs/{}", sha256(b"alone and gone"))).expect(404);
    assert_eq!(database::number(&copy.location(), "select count(*) from upload"), 0, "nothing is left of any object");
}

#[test]
fn a_copy_that_is_killed_among_its_rows_begins_them_anew() {
    let mut source = Server::start(Engine::Sqlite).unwrap();
    Repository::new(&source.host, "team/kit").kit("1", b"weights", b"data");
    source.api(&format!("/impact?file={}&wait=30", sha256(b"data")), 200);
    source.execute(
        "with recursive n (i) as (select 1 union all select i + 1 from n where i < 400000)
         insert into node (kind, key) select 1, randomblob(32) from n",
    );
    let nodes = "select count(*) from node";
    let before = database::number(&source.location(), nodes);
    source.terminate();
    source.wait();
    let target = Place::new(Engine::Sqlite, Storage::Disk).unwrap();
    let (from, to) = (source.place().config(), target.config());
    let mut copying = command(&from, &to).spawn().unwrap();
    let log = target.data().join("pedigree.db-wal");
    until(|| fs::metadata(&log).is_ok_and(|log| log.len() > 4 * MIB as u64));
    copying.kill().unwrap();
    copying.wait().unwrap();
    assert_eq!(database::number(&target.location(), nodes), 0, "rows are there as a whole, or not at all");
    refuses(&target.beside(&["serve", "--listen", "127.0.0.1:0"]).output().unwrap(), "was not finished");
    let said = copied(&command(&from, &to).output().unwrap(), 0);
    assert_eq!(said["copied"]["rows"]["node"].as_i64(), Some(before), "{said:#}");
    assert_eq!(database::number(&target.location(), nodes), before);
    source.restart(&[]);
    target.serve();
}

#[test]
fn what_has_a_registry_in_it_is_left_alone() {
    let mut source = Server::start(Engine::Sqlite).unwrap();
    Repository::new(&source.host, "team/source").kit("1", b"weights", b"data");
    source.terminate();
    source.wait();
    let from = source.place().config();
    refuses(&command(&from, &from).output().unwrap(), "has a registry in it");
    let setups = [
        (Engine::Sqlite, Storage::Disk),
        (Engine::Postgres, Storage::Disk),
        (Engine::Postgres, Storage::S3(S3Kind::InProcess)),
    ];
    for (engine, storage) in setups {
        let Some(mut taken) = Server::start_on(engine, storage) else { continue };
        Repository::new(&taken.host, "team/taken").kit("1", b"other weights", b"other data");
        let before = (answers(&taken), objects(taken.place()));
        taken.terminate();
        taken.wait();
        refuses(&command(&from, &taken.place().config()).output().unwrap(), "has a registry in it");
        // Its store with a new database, and its database with a new store.
        let config = taken.data().join("other.toml");
        let text = fs::read_to_string(taken.place().config()).unwrap();
        let new_database = text.lines().filter(|line| !line.starts_with("data"));
        let new_database: String =
            new_database.filter(|line| !line.starts_with("database =")).map(|line| format!("{line}\n")).collect();
        let folder = tempfile::tempdir().unwrap();
        let storage = format!("storage = {:?}\n", taken.data().join("objects"));
        let storage = if text.contains("storage") { String::new() } else { storage };
        let data = folder.path().join("data");
        fs::write(&config, format!("data = {data:?}\n{storage}{new_database}")).unwrap();
        refuses(&command(&from, &config).output().unwrap(), "has a registry in it");
        assert!(!data.exists(), "nothing is made");
        if engine == Engine::Postgres {
            let database = text.lines().find(|line| line.starts_with("database =")).unwrap();
            fs::write(&config, format!("data = {data:?}\n{database}\n")).unwrap();
            refuses(&command(&from, &config).output().unwrap(), "has a registry in it");
        }
        taken.restart(&[]);
        let after = (answers(&taken), objects(taken.place()));
        assert_same(&before.0, &after.0);
        assert_eq!(before.1, after.1);
    }
    // What is no registry's is nobody's to write into either.
    let strange = Place::new(Engine::Sqlite, Storage::Disk).unwrap();
    fs::create_dir(strange.data().join("objects")).unwrap();
    fs::write(strange.data().join("objects/mine"), "mine").unwrap();
    refuses(&command(&from, &strange.config()).output().unwrap(), "has objects in it");
    source.restart(&[]);
}

#[test]
fn what_is_lost_or_damaged_in_the_source_is_told_and_the_rest_is_copied() {
    for (engine, storage) in [(Engine::Sqlite, Storage::Disk), (Engine::Sqlite, Storage::S3(S3Kind::InProcess))] {
        let (mut source, target) = (Server::start(Engine::Sqlite).unwrap(), Place::new(engine, storage).unwrap());
        let mut repository = Repository::new(&source.host, "team/kit");
        let contents = [b"the lost one".to_vec(), b"the short one".to_vec(), Content::new(3, 11 * MIB).to_vec()];
        let layers: Vec<_> = contents.iter().map(Vec::as_slice).chain([b"the good one".as_slice()]).collect();
        repository.artifact("1", &layers);
        source.terminate();
        source.wait();
        for object in objects(source.place()) {
            let file = source.data().join("objects").join(&object);
            let mut bytes = fs::read(&file).unwrap();
            match contents.iter().position(|content| *content == bytes) {
                Some(0) => fs::remove_file(file).unwrap(),
                Some(1) => fs::write(file, "short").unwrap(),
                Some(2) => {
                    bytes[9 * MIB] ^= 1;
                    fs::write(file, bytes).unwrap();
                }
                _ => {}
            }
        }
        let said = copied(&command(&source.place().config(), &target.config()).output().unwrap(), 1);
        let damaged = said["copied"]["damaged"].as_array().unwrap();
        for (content, why) in contents.iter().zip(["is lost", "has 5 bytes", "has the bytes of"]) {
            let digest = sha256(content);
            let told = damaged.iter().find(|damage| damage["digest"] == digest.as_str()).unwrap();
            assert!(told["why"].as_str().unwrap().contains(why), "{told}");
        }
        assert_eq!((damaged.len(), &said["copied"]["objects"]), (3, &json!(2)), "{said:#}");
        assert_eq!(objects(&target).len(), 2, "nothing is there that is not what it is called");
        // A push heals what a push can heal, on both sides.
        source.restart(&[]);
        let copy = target.serve();
        for server in [&source, &copy] {
            let mut repository = Repository::new(&server.host, "team/kit");
            for content in &contents {
                repository.blob("", content);
            }
        }
        for layer in layers {
            let path = format!("/blobs/{}", sha256(layer));
            let mut repository = Repository::new(&copy.host, "team/kit");
            assert!(repository.send("GET", &path, &[], b"").expect(200).body == layer);
        }
        // A push does not look into an object that has its size; the source keeps that one damaged.
        for object in objects(source.place()) {
            let file = source.data().join("objects").join(&object);
            if fs::metadata(&file).unwrap().len() == 11 * MIB as u64 {
                fs::write(file, &contents[2]).unwrap();
            }
        }
    }
}

/// `pedigree copy`, in an environment that is another server's.
fn command(from: &Path, to: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(["copy", "--json", "--from"]).arg(from).arg("--to").arg(to);
    command.envs([("PEDIGREE_DATABASE", "postgres://127.0.0.1:1/other"), ("PEDIGREE_STORAGE", "/nowhere/at/all")]);
    command.env("PEDIGREE_LOG", "warn").stdout(std::process::Stdio::piped());
    command
}

/// What a copy says that ends with this code.
#[track_caller]
fn copied(output: &Output, code: i32) -> Value {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refuses(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains(why), "{why} in {:?}: {said}", output.status);
}

#[track_caller]
fn until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "the copy makes no progress");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The names of the objects in a store, the mark apart, with their sizes.
fn sizes(place: &Place) -> BTreeMap<String, u64> {
    let Some(bucket) = place.bucket() else {
        let root = place.data().join("objects");
        let files = files(&root).into_iter();
        // What is being written may have another name in a moment.
        let sizes = files
            .filter_map(|file| Some((file.strip_prefix(&root).unwrap().to_owned(), fs::metadata(&file).ok()?.len())));
        return sizes.map(|(name, size)| (name.to_str().unwrap().to_owned(), size)).filter(is_object).collect();
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = bucket.client();
    let listed = client.list(None).map_ok(|object| (object.location.to_string(), object.size));
    let listed: Vec<_> = runtime.block_on(listed.try_collect()).unwrap();
    listed.into_iter().filter(is_object).collect()
}

fn is_object((name, _): &(String, u64)) -> bool {
    name.contains("blobs/")
}

fn objects(place: &Place) -> Vec<String> {
    sizes(place).into_keys().collect()
}

fn bytes_in(place: &Place) -> u64 {
    sizes(place).values().sum()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

/// Everything that a registry has: the fixtures' story, tags that moved and went, deletions, a referrer, an index, a digest
/// of another algorithm, blobs in several parts, an open upload.
fn fill(host: &str) {
    for name in REPOSITORIES {
        push_layout(host, name);
    }
    let mut repository = Repository::new(host, "team/kit");
    let old = repository.kit("1", b"old weights", b"leaked data");
    let kit = repository.kit("latest", b"new weights", b"leaked data");
    repository.bytes("2", MANIFEST, &Wire::new(host).get("/v2/team/kit/manifests/latest", MANIFEST).expect(200).body);
    repository.kit("latest", b"newest weights", b"clean data");
    repository.send("DELETE", "/manifests/2", &[], b"").expect(202);
    repository.delete(&old);
    repository.child("child", "localhost:5000/team/kit:latest");
    repository.child("waiting", "localhost:5000/team/kit:to-come");
    let config = repository.blob("application/vnd.oci.empty.v1+json", b"{}");
    let size = Wire::new(host).get(&format!("/v2/team/kit/manifests/{kit}"), MANIFEST).expect(200).body.len();
    let subject = json!({"mediaType": MANIFEST, "digest": kit, "size": size});
    let referrer = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.test.report", "config": config,
        "layers": [], "subject": subject, "annotations": {"odd": "\u{0}\u{1F40E}"},
    });
    repository.manifest("", &referrer);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [subject]});
    repository.bytes("index", INDEX, index.to_string().as_bytes());
    repository.artifact("large", &[&Content::new(1, 12 * MIB).to_vec(), b"", b"a small one"]);
    let other = b"of another algorithm";
    let digest = format!("sha512:{}", hex::encode(<sha2::Sha512 as sha2::Digest>::digest(other)));
    repository.send("POST", &format!("/blobs/uploads/?digest={digest}"), &[], other).expect(201);
    let started = repository.send("POST", "/blobs/uploads/", &[], b"").expect(202);
    let location = started.header("location").unwrap().to_owned();
    let path = &location[location.find("/blobs/").unwrap()..];
    repository.send("PATCH", path, &[], b"an upload that never ends").expect(202);
}

/// Pushes, moves and deletes on a copy: nothing of what is new may meet what was copied.
fn go_on(host: &str, number: usize) {
    let mut repository = Repository::new(host, "team/kit");
    let weights = format!("weights after copy {number}");
    let kit = repository.kit("latest", weights.as_bytes(), b"leaked data");
    // What waited since the first stop meets its target on the second.
    repository.kit(
        if number == 1 { "to-come" } else { "more" },
        weights.as_bytes(),
        format!("data {number}").as_bytes(),
    );
    repository.child(&format!("child{number}"), "localhost:5000/team/kit:latest");
    repository.delete(&kit);
    Repository::new(host, &format!("new/{number}"))
        .artifact("1", &[weights.as_bytes(), &Content::new(number as u64, 6 * MIB).to_vec()]);
    repository.blob("", format!("in no manifest {number}").as_bytes());
}

/// What a server answers to everything that can be asked.
fn answers(server: &Server) -> BTreeMap<String, Vec<u8>> {
    let mut asked = Asked { wire: Wire::new(&server.host), answers: BTreeMap::new() };
    let file = |name: &str| sha256(&fs::read(workspace().join("tests/fixtures/files").join(name)).unwrap());
    let leaked = [file("customers.csv"), file("transactions-2026.csv"), sha256(b"leaked data"), sha256(b"a small one")];
    // Until everything is scanned.
    server.api(&format!("/impact?file={}&wait=30", leaked[0]), 200);
    for digest in &leaked {
        asked.get(&format!("/api/v1/impact?file={digest}"));
        asked.get(&format!("/api/v1/holders?file={digest}"));
    }
    asked.get("/api/v1/repositories");
    let catalog = asked.get("/v2/_catalog?n=1000");
    for name in strings(&catalog["repositories"]) {
        asked.repository(&name);
    }
    asked.answers
}

struct Asked {
    wire: Wire,
    answers: BTreeMap<String, Vec<u8>>,
}

impl Asked {
    /// The answer as JSON, if it is that.
    fn get(&mut self, path: &str) -> Value {
        let reply = self.wire.get(path, "*/*");
        let headers = ["content-type", "docker-content-digest", "link"]
            .map(|name| reply.header(name).unwrap_or_default().to_owned());
        let mut json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let mut body = reply.body;
        // The moment of the question is the one thing that differs.
        if let Some(moment) = json.pointer_mut("/query/as_of") {
            moment.take();
            body = json.to_string().into_bytes();
        }
        self.answers.insert(path.to_owned(), [format!("{} {headers:?}\n", reply.status).into_bytes(), body].concat());
        json
    }

    fn repository(&mut self, name: &str) {
        self.get(&format!("/api/v1/repositories/{name}/-/versions"));
        let tags = self.get(&format!("/v2/{name}/tags/list"));
        for tag in strings(&tags["tags"]) {
            self.get(&format!("/api/v1/repositories/{name}/-/kits/{tag}"));
            self.get(&format!("/api/v1/impact?ref={name}:{tag}"));
            let manifest = self.get(&format!("/v2/{name}/manifests/{tag}"));
            self.parts(name, &manifest);
        }
    }

    /// What a manifest names, and what names those.
    fn parts(&mut self, name: &str, manifest: &Value) {
        let lists = ["layers", "manifests"].iter().filter_map(|list| manifest[list].as_array()).flatten();
        let named = lists.chain([&manifest["config"], &manifest["subject"]]);
        let named: Vec<_> = named.filter_map(|descriptor| descriptor["digest"].as_str().map(str::to_owned)).collect();
        for digest in named {
            self.get(&format!("/v2/{name}/blobs/{digest}"));
            self.get(&format!("/v2/{name}/referrers/{digest}"));
            self.get(&format!("/api/v1/impact?ref={name}@{digest}"));
            self.get(&format!("/api/v1/impact?layer={digest}"));
            let path = format!("/v2/{name}/manifests/{digest}");
            if !self.answers.contains_key(&path) {
                let child = self.get(&path);
                self.parts(name, &child);
            }
        }
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn assert_same(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) {
    assert!(before.keys().eq(after.keys()), "other questions");
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(3000)]).into_owned();
    for (path, answer) in before {
        assert!(*answer == after[path], "{path}\n{}\n{}", text(answer), text(&after[path]));
    }
}
