//! The same content, however it was packed (DESIGN section 3, the identity ladder).

use serde_json::{Value, json};

use crate::{
    push::{Repository, holders, models},
    sample::{gzip, sha256, tar},
    server::{Engine, Server, on_both_engines},
    wire::Wire,
};

const TRAIN: &[u8] = b"amount,fraud\n12,0\n4111,1\n";
const NOTES: &[u8] = b"What the columns mean.\n";

fn files(names: [&str; 2]) -> [(String, Vec<u8>); 2] {
    let [train, notes] = names;
    [(train.to_owned(), TRAIN.to_vec()), (notes.to_owned(), NOTES.to_vec())]
}

/// Pushes a kit whose dataset `train` is this layer. The layer's digest.
fn kit(server: &Server, name: &str, dataset: &[u8]) -> String {
    let mut repository = Repository::new(&server.host, name);
    let model =
        repository.blob("application/vnd.kitops.modelkit.model.v1.tar", format!("weights of {name}").as_bytes());
    let dataset = repository.blob("application/vnd.kitops.modelkit.dataset.v1.tar", dataset);
    let kitfile = json!({
        "manifestVersion": "1.0.0", "package": {"name": name, "version": "1"},
        "model": {"name": "m", "path": "m.bin", "digest": model["digest"]},
        "datasets": [{"name": "train", "path": "data/train", "digest": dataset["digest"]}],
    });
    repository.kit_of("1", &kitfile, &[model, dataset.clone()]);
    dataset["digest"].as_str().unwrap().to_owned()
}

/// Pushes an artifact of two layers that are files, by these names.
fn titled(server: &Server, name: &str, names: [&str; 2]) {
    let mut repository = Repository::new(&server.host, name);
    let config = repository.blob("application/vnd.oci.empty.v1+json", b"{}");
    let layers: Vec<_> = files(names)
        .iter()
        .map(|(name, bytes)| {
            let mut layer = repository.blob("text/plain", bytes);
            layer["annotations"] = json!({"org.opencontainers.image.title": name});
            layer
        })
        .collect();
    repository.manifest(
        "1",
        &json!({
            "schemaVersion": 2, "mediaType": crate::push::MANIFEST, "artifactType": "application/vnd.test",
            "config": config, "layers": layers,
        }),
    );
}

/// Each model's repository, and the rungs of its first evidence.
fn rungs(answer: &Value) -> Vec<(String, String)> {
    rungs_of(&answer["models"])
}

fn rungs_of(rows: &Value) -> Vec<(String, String)> {
    let rungs = |row: &Value| {
        let rungs = row["evidence"][0]["rungs"].as_array().unwrap().iter();
        rungs.map(|rung| rung.as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    rows.as_array().unwrap().iter().map(|row| (row["repository"].as_str().unwrap().to_owned(), rungs(row))).collect()
}

fn ask(server: &Server, question: &Value, query: &str) -> Value {
    let head = format!(
        "POST /api/v1/impact?wait=30{query} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}",
        server.host,
        question.to_string().len()
    );
    let reply = Wire::new(&server.host).send(&head, [question.to_string().as_bytes()]).expect(200);
    serde_json::from_slice(&reply.body).unwrap()
}

on_both_engines! {
    fn a_dataset_is_recognised_however_it_was_packed(server: Server) {
        let plain = tar(files(["data/train.csv", "data/notes.md"]));
        let [train, notes] = files(["data/train.csv", "data/notes.md"]);
        let asked = kit(&server, "team/plain", &plain);
        kit(&server, "team/gzip", &gzip(&plain));
        kit(&server, "team/order", &tar([notes, train]));
        kit(&server, "team/moved", &tar(files(["other/train.csv", "other/notes.md"])));
        kit(&server, "team/renamed", &tar(files(["data/a.csv", "data/notes.md"])));
        kit(&server, "team/edited", &tar([("t/train.csv".to_owned(), TRAIN.to_vec()), ("t/n.md".to_owned(), b"new".to_vec())]));
        kit(&server, "team/other", &tar([("data/train.csv".to_owned(), b"another".to_vec())]));
        let answer = server.api(&format!("/impact?layer={asked}&wait=30"), 200);
        let expected = [
            ("team/edited", "overlap"),
            ("team/gzip", "tar tree contents overlap"),
            ("team/moved", "tree contents overlap"),
            ("team/order", "tree contents overlap"),
            ("team/plain", "layer tar tree contents overlap"),
            ("team/renamed", "contents overlap"),
        ];
        let expected: Vec<_> = expected.map(|(name, rungs)| (name.to_owned(), rungs.to_owned())).into();
        assert_eq!(rungs(&answer), expected, "{answer:#}");
        let edited = &answer["models"][0]["evidence"][0];
        assert_eq!(edited["overlap"], json!({"common": 1, "asked": 2, "candidate": 2, "of_asked": 0.5, "of_candidate": 0.5}));
        assert_eq!(edited["component"]["name"], "train");
        assert_eq!(rungs(&server.api("/impact?ref=team/plain:1&dataset=train", 200)), expected);

        // One rung, or a larger share.
        let names = |query: &str| {
            let answer = server.api(&format!("/impact?layer={asked}{query}"), 200);
            rungs(&answer).into_iter().map(|(name, _)| name.trim_start_matches("team/").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("&rung=layer"), ["plain"]);
        assert_eq!(names("&rung=tar"), ["gzip", "plain"]);
        assert_eq!(names("&rung=tree"), ["gzip", "moved", "order", "plain"]);
        assert_eq!(names("&rung=contents"), ["gzip", "moved", "order", "plain", "renamed"]);
        assert_eq!(names("&rung=overlap"), ["edited", "gzip", "moved", "order", "plain", "renamed"]);
        assert_eq!(names("&min_overlap=0.6"), ["gzip", "moved", "order", "plain", "renamed"]);
        for wrong in ["rung=sha1", "min_overlap=2", "min_overlap=x"] {
            server.api(&format!("/impact?layer={asked}&{wrong}"), 400);
        }
    }

    fn a_dataset_in_several_layers_is_the_same_contents(server: Server) {
        let asked = kit(&server, "team/one", &tar(files(["data/train.csv", "data/notes.md"])));
        let mut repository = Repository::new(&server.host, "team/two");
        let layers = [TRAIN, NOTES].map(|bytes| repository.blob("application/vnd.cncf.model.dataset.v1.raw", bytes));
        let config = json!({"descriptor": {"name": "two"}, "modelfs": {"type": "layers", "diffIds": []}, "config": {}});
        let config = repository.blob("application/vnd.cncf.model.config.v1+json", config.to_string().as_bytes());
        repository.manifest("1", &json!({
            "schemaVersion": 2, "mediaType": crate::push::MANIFEST,
            "artifactType": "application/vnd.cncf.model.manifest.v1+json", "config": config, "layers": layers,
        }));
        let answer = server.api(&format!("/holders?layer={asked}&wait=30"), 200);
        assert_eq!(holders(&answer), ["team/one", "team/two"], "{answer:#}");
        let evidence = answer["holders"][1]["evidence"].as_array().unwrap();
        assert!(evidence.iter().all(|way| way["overlap"].is_object()), "{answer:#}");
    }

    fn several_layers_are_compared_as_one(server: Server) {
        let files = || files(["data/train.csv", "data/notes.md"]);
        let one = kit(&server, "team/one", &tar(files()));
        let [train, notes] = files().map(|file| tar([file]));
        Repository::new(&server.host, "data/two").artifact("1", &[&train, &notes]);
        Repository::new(&server.host, "data/unnamed").artifact("1", &[TRAIN, NOTES]);
        Repository::new(&server.host, "data/half").artifact("1", &[&train, b"other"]);
        titled(&server, "data/named", ["x/train.csv", "x/notes.md"]);
        titled(&server, "data/renamed", ["x/train.csv", "y.md"]);
        // A file that is in two of them is the later one.
        let before = tar([("data/train.csv".to_owned(), b"before".to_vec())]);
        Repository::new(&server.host, "data/later").artifact("1", &[&before, &train, &notes]);
        Repository::new(&server.host, "data/earlier").artifact("1", &[&train, &notes, &before]);
        // What a layer of an image says about others is not looked at.
        let mut image = Repository::new(&server.host, "data/image");
        let config = image.blob("application/vnd.oci.image.config.v1+json", br#"{"architecture":"amd64","os":"linux"}"#);
        let layers = [&train, &notes].map(|layer| image.blob("application/vnd.oci.image.layer.v1.tar", layer));
        image.manifest("1", &json!({"schemaVersion": 2, "mediaType": crate::push::MANIFEST, "config": config, "layers": layers}));

        let answer = server.api(&format!("/impact?layer={one}&wait=30"), 200);
        let expected = [
            ("data/earlier", "overlap"), ("data/half", "overlap"), ("data/image", "overlap"), ("data/later", "overlap"),
            ("data/named", "tree contents overlap"), ("data/renamed", "contents overlap"),
            ("data/two", "tree contents overlap"), ("data/unnamed", "contents overlap"),
        ];
        let expected = expected.map(|(name, rungs)| (name.to_owned(), rungs.to_owned()));
        assert_eq!(rungs_of(&answer["holders"]), expected, "{answer:#}");
        assert_eq!(holders(&server.api(&format!("/impact?layer={one}&rung=tree"), 200)), ["data/named", "data/two"]);
        let contents = ["data/named", "data/renamed", "data/two", "data/unnamed"];
        assert_eq!(holders(&server.api(&format!("/impact?layer={one}&rung=contents"), 200)), contents);

        // The other way around, and by their files.
        let by = |name: &str| rungs(&server.api(&format!("/impact?ref=data/{name}:1"), 200)).into_iter().map(|(_, rungs)| rungs).collect::<Vec<_>>();
        for (name, rungs) in [("two", "tree contents overlap"), ("named", "tree contents overlap"), ("later", "tree contents overlap"), ("renamed", "contents overlap"), ("unnamed", "contents overlap"), ("earlier", "overlap"), ("image", "overlap")] {
            assert_eq!(by(name), [rungs], "{name}");
        }
        // Each layer is asked about as well.
        let halves = server.api("/impact?ref=data/half:1&rung=layer", 200);
        assert_eq!(holders(&halves), ["data/earlier", "data/half", "data/image", "data/later", "data/two"], "{halves:#}");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train.csv"), TRAIN).unwrap();
        std::fs::write(folder.path().join("notes.md"), NOTES).unwrap();
        let (said, _) = server.asked(&["trace", folder.path().to_str().unwrap(), "--json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        let trees: Vec<_> = rungs_of(&said["holders"]).into_iter().filter(|(_, rungs)| rungs.starts_with("tree")).collect();
        assert_eq!(trees.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["data/named", "data/two"], "{said:#}");
    }

    fn a_component_of_several_layers_has_the_version_of_one(server: Server) {
        let mut repository = Repository::new(&server.host, "team/pack");
        let files = |last: &str| [("m/a.bin".to_owned(), b"first".to_vec()), ("m/b.bin".to_owned(), last.as_bytes().to_vec())];
        let mut push = |tag: &str, layers: &[(&str, Vec<u8>)]| {
            let layers: Vec<_> = layers.iter().map(|(path, bytes)| {
                let mut layer = repository.blob("application/vnd.cncf.model.weight.v1.raw", bytes);
                layer["annotations"] = json!({"org.cncf.model.filepath": path});
                layer
            }).collect();
            let config = json!({"descriptor": {"name": "pack"}, "modelfs": {"type": "layers", "diffIds": []}, "config": {}});
            let config = repository.blob("application/vnd.cncf.model.config.v1+json", config.to_string().as_bytes());
            repository.manifest(tag, &json!({
                "schemaVersion": 2, "mediaType": crate::push::MANIFEST,
                "artifactType": "application/vnd.cncf.model.manifest.v1+json", "config": config, "layers": layers,
            }))
        };
        push("1", &[("m", tar(files("last")))]);
        let two = push("2", &[("a.bin", b"first".to_vec()), ("b.bin", b"last".to_vec())]);
        push("3", &[("a.bin", b"first".to_vec()), ("b.bin", b"another".to_vec())]);
        push("4", &[("m", tar(files("another")))]);
        push("5", &[("a.bin", b"last".to_vec()), ("b.bin", b"first".to_vec())]);
        let layer = format!("/impact?layer={}&rung=tree&wait=30", sha256(&tar(files("last"))));
        let answer = server.api(&layer, 200);
        let digests: Vec<_> = answer["models"].as_array().unwrap().iter().map(|model| model["tags"][0].as_str().unwrap()).collect();
        assert_eq!(digests.len(), 2, "{answer:#}");
        assert!(answer["models"].as_array().unwrap().iter().any(|model| model["digest"] == *two), "{answer:#}");
        let answer = server.api("/repositories/team/pack/-/versions", 200);
        assert_eq!(answer["matrix"][0]["versions"], json!(["v3", "v2", "v2", "v1", "v1"]), "{answer:#}");
    }

    fn files_are_found_inside_of_files(server: Server) {
        let packed = tar([("data/train.csv.gz".to_owned(), gzip(TRAIN)), ("data/x.tar".to_owned(), tar(files(["a", "b"])))]);
        kit(&server, "team/packed", &packed);
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(TRAIN)), 200);
        let mut paths: Vec<_> = answer["models"][0]["evidence"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["data/train.csv.gz!train.csv", "data/x.tar!a"]);

        // By what they hold, and by what they are called.
        Repository::new(&server.host, "adhoc/files").artifact("1", &[NOTES]);
        let mut named = Repository::new(&server.host, "adhoc/named");
        let config = named.blob("application/vnd.oci.empty.v1+json", b"{}");
        let mut layer = named.blob("text/csv", b"a,b\n");
        layer["annotations"] = json!({"org.opencontainers.image.title": "Train.CSV"});
        named.manifest("1", &json!({
            "schemaVersion": 2, "mediaType": crate::push::MANIFEST, "artifactType": "application/vnd.test",
            "config": config, "layers": [layer],
        }));
        server.api(&format!("/impact?file={}&wait=30", sha256(NOTES)), 200);
        let found = |query: &str| {
            let answer = server.api(&format!("/files?{query}"), 200);
            let files = answer["files"].as_array().unwrap().clone();
            files.iter().map(|file| format!("{} {}", file["holders"][0]["repository"].as_str().unwrap(), file["path"].as_str().unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(found(&format!("sha256={}", &sha256(NOTES)[7..])), ["team/packed data/x.tar!b", "adhoc/files "]);
        assert_eq!(found("name=train.csv"), ["team/packed data/train.csv.gz!train.csv", "adhoc/named Train.CSV"]);
        assert_eq!(found("name=nothing.csv"), [""; 0]);
        let page = server.api("/files?name=train.csv&limit=1", 200);
        let next = page["next"].as_str().unwrap();
        let rest = server.api(&format!("/files?name=train.csv&limit=1&cursor={next}"), 200);
        assert_eq!((page["files"][0]["path"].as_str(), rest["files"][0]["path"].as_str()), (Some("data/train.csv.gz!train.csv"), Some("Train.CSV")));
        for wrong in ["", "sha256=12", "name=a&sha256=b", "name=a&cursor=x"] {
            server.api(&format!("/files?{wrong}"), 400);
        }
    }

    fn what_is_in_an_archive_counts_instead_of_it(server: Server) {
        let names: Vec<_> = (1..=6).map(|n| format!("data/{n}.csv")).collect();
        let own = |name: &String| (name.clone(), name.as_bytes().to_vec());
        let archive = |name: &String| gzip(&tar([own(name)]));
        let plain = tar(names.iter().map(own));
        let packed = tar(names.iter().map(|name| (format!("{name}.tar.gz"), archive(name))));
        // One in another: what is deeper than anybody looks is a file like any other.
        let nested = tar([("all.tar".to_owned(), packed.clone())]);
        let half = tar([("half.tar.gz".to_owned(), gzip(&tar(names[..3].iter().map(own)))), own(&"more".to_owned())]);
        let layers = [("plain", &plain), ("packed", &packed), ("nested", &nested), ("half", &half)];
        let digests = layers.map(|(name, layer)| kit(&server, &format!("team/{name}"), layer));
        // The repository, and how many files are in both, were asked for, and are there.
        let overlaps = |answer: &Value| {
            let models = answer["models"].as_array().unwrap().iter();
            let overlap = |model: &Value| ["common", "asked", "candidate"].map(|count| model["evidence"][0]["overlap"][count].as_u64().unwrap());
            models.map(|model| (model["repository"].as_str().unwrap().to_owned(), overlap(model))).collect::<Vec<_>>()
        };
        let of = |name: &str, counts: [u64; 3]| (format!("team/{name}"), counts);
        let all = [of("half", [3, 6, 4]), of("nested", [6, 6, 6]), of("packed", [6, 6, 6]), of("plain", [6, 6, 6])];
        let answer = server.api(&format!("/impact?layer={}&wait=30", digests[0]), 200);
        for asked in &digests[..3] {
            assert_eq!(overlaps(&server.api(&format!("/impact?layer={asked}"), 200)), all, "{asked}");
        }
        assert_eq!(rungs(&answer), ["overlap", "overlap", "overlap", "layer tar tree contents overlap"].into_iter().zip(&all).map(|(rungs, (name, _))| (name.clone(), rungs.to_owned())).collect::<Vec<_>>());
        let by_half = [of("half", [4, 4, 4]), of("nested", [3, 4, 6]), of("packed", [3, 4, 6]), of("plain", [3, 4, 6])];
        assert_eq!(overlaps(&server.api(&format!("/impact?layer={}", digests[3]), 200)), by_half);
        // An archive is a file all the same.
        let one = archive(&names[0]);
        let by_file = server.api(&format!("/impact?file={}", sha256(&one)), 200);
        assert_eq!(models(&by_file).iter().map(|model| &*model.0).collect::<Vec<_>>(), ["team/nested", "team/packed"]);

        // Of a folder, too, and where the body of a question says so.
        for (packing, name) in [(false, "plain"), (true, "packed")] {
            let folder = tempfile::tempdir().unwrap();
            for name in &names {
                let name_of_file = name.replace("data/", "");
                let written = if packing { (format!("{name_of_file}.tar.gz"), archive(name)) } else { (name_of_file, own(name).1) };
                std::fs::write(folder.path().join(written.0), written.1).unwrap();
            }
            let (said, _) = server.asked(&["trace", folder.path().to_str().unwrap(), "--json"]);
            assert_eq!(overlaps(&serde_json::from_str(&said).unwrap()), all, "{name}: {said}");
        }
        let leaves: Vec<_> = names.iter().map(|name| sha256(name.as_bytes())).collect();
        let archives: Vec<_> = names.iter().map(|name| sha256(&archive(name))).collect();
        let files = [&leaves[..], &archives[..]].concat();
        let said = ask(&server, &json!({"files": files, "containers": archives}), "&rung=overlap");
        assert_eq!(overlaps(&said), all);
        assert_eq!((&said["query"]["files"], &said["query"]["containers"]), (&json!(12), &json!(6)));
        // Who does not say so asks about twelve.
        assert_eq!(overlaps(&ask(&server, &json!({"files": files}), "&rung=overlap"))[0], of("nested", [12, 12, 6]));
        let body = json!({"files": leaves, "containers": archives}).to_string();
        let head = format!("POST /api/v1/impact HTTP/1.1\r\nHost: h\r\nContent-Length: {}", body.len());
        Wire::new(&server.host).send(&head, [body.as_bytes()]).expect(400);
    }

    fn a_leak_of_many_files_is_one_question(server: Server) {
        kit(&server, "team/one", &tar(files(["data/train.csv", "data/notes.md"])));
        kit(&server, "team/two", &tar([("d/notes.md".to_owned(), NOTES.to_vec()), ("d/x".to_owned(), b"x".to_vec())]));
        Repository::new(&server.host, "adhoc/files").artifact("1", &[TRAIN]);
        let mut leak: Vec<_> = (0..10_000).map(|n: u32| sha256(&n.to_be_bytes())).collect();
        leak.extend([sha256(TRAIN), sha256(NOTES)]);
        let answer = ask(&server, &json!({"files": leak}), "");
        assert_eq!(models(&answer).iter().map(|model| &*model.0).collect::<Vec<_>>(), ["team/one", "team/two"], "{answer:#}");
        assert_eq!(holders(&answer), ["adhoc/files"]);
        let evidence = &answer["models"][0]["evidence"];
        assert_eq!(evidence.as_array().unwrap().len(), 2);
        assert_eq!((&evidence[0]["rungs"], &evidence[0]["path"]), (&json!(["file"]), &json!("data/train.csv")));
        assert_eq!(evidence[0]["file"], sha256(TRAIN));

        // Page by page it is the same.
        let page = ask(&server, &json!({"files": leak}), "&limit=1");
        let next = page["next"].as_str().unwrap();
        let rest = ask(&server, &json!({"files": leak}), &format!("&limit=1&cursor={next}"));
        assert_eq!((models(&page).len(), models(&rest)), (1, models(&answer)[1..].to_vec()));
        for (body, status) in [("{", 400), (r#"{"files":["x"]}"#, 400), (r#"{"other":1}"#, 400), (r#"{"files":[]}"#, 200)] {
            let head = format!("POST /api/v1/impact HTTP/1.1\r\nHost: h\r\nContent-Length: {}", body.len());
            Wire::new(&server.host).send(&head, [body.as_bytes()]).expect(status);
        }
    }

    fn the_pages_of_an_answer_are_one_answer(server: Server) {
        // In layers that are the file, that several models share, that only one has, and in two of one model.
        let shared = tar(files(["a.csv", "b.md"]));
        let (other, third) = (tar([("c.csv".to_owned(), TRAIN.to_vec())]), tar([("d".to_owned(), TRAIN.to_vec()), ("e".to_owned(), TRAIN.to_vec())]));
        let mut pushed = Vec::new();
        for (name, layers) in [("raw", vec![TRAIN]), ("one", vec![&*shared]), ("two", vec![&*other, &*shared]), ("three", vec![&*third, TRAIN, &*shared]), ("four", vec![&*third]), ("five", vec![&*shared])] {
            let mut repository = Repository::new(&server.host, &format!("team/{name}"));
            let layers: Vec<_> = [name.as_bytes()].into_iter().chain(layers).map(|bytes| repository.blob("application/vnd.kitops.modelkit.dataset.v1.tar", bytes)).collect();
            let kitfile = json!({"manifestVersion": "1.0.0", "model": {"name": name, "path": "m", "digest": layers[0]["digest"]}});
            pushed.push(repository.kit_of("1", &kitfile, &layers));
            if name == "one" {
                // The same manifest in more repositories.
                for copy in ["team/copy", "all/copy"] {
                    let mut copy = Repository::new(&server.host, copy);
                    for bytes in [name.as_bytes(), &shared] {
                        copy.blob("", bytes);
                    }
                    copy.kit_of("1", &kitfile, &layers);
                }
            }
        }
        let child = Repository::new(&server.host, "team/child").child("1", &format!("localhost:5000/team/four@{}", pushed[4]));
        Repository::new(&server.host, "team/grandchild").child("1", &format!("localhost:5000/team/child@{child}"));
        Repository::new(&server.host, "data/raw").artifact("1", &[TRAIN]);

        let question = format!("/impact?file={}&wait=30", sha256(TRAIN));
        let whole = server.api(&question, 200);
        let expected = ["all/copy", "team/copy", "team/five", "team/four", "team/one", "team/raw", "team/three", "team/two", "team/child", "team/grandchild"];
        assert_eq!(models(&whole).iter().map(|model| &*model.0).collect::<Vec<_>>(), expected, "{whole:#}");
        assert_eq!((holders(&whole), &whole["more_holders"]), (vec!["data/raw"], &json!(0)));
        let pages = || for (question, list) in [(question.clone(), "models"), (question.replace("/impact", "/holders"), "holders")] {
            let whole = server.api(&question, 200);
            for limit in 1..=4 {
                let (mut all, mut cursor) = (Vec::new(), String::new());
                loop {
                    let page = server.api(&format!("{question}&limit={limit}{cursor}"), 200);
                    all.extend(page[list].as_array().unwrap().clone());
                    let Some(next) = page["next"].as_str() else { break };
                    cursor = format!("&cursor={next}");
                }
                let distances: Vec<_> = all.iter().map(|row| row["distance"].as_u64()).collect();
                assert!(distances.is_sorted(), "{distances:?}");
                let key = |row: &Value| (row["distance"].as_u64(), row["repository"].as_str().unwrap().to_owned(), row["digest"].as_str().unwrap().to_owned());
                all.sort_by_key(key);
                assert_eq!(&json!(all), &whole[list], "{list}, {limit} at once");
            }
        };
        pages();

        // A cursor that nobody was given does no harm.
        let page = server.api(&format!("{question}&limit=1"), 200);
        let mut parts: Vec<_> = page["next"].as_str().unwrap().split('~').collect();
        let least = i64::MIN.to_string();
        (parts[4], parts[5]) = ("0", &least);
        server.api(&format!("{question}&limit=1&cursor={}", parts.join("~")), 200);

        // As lines it is each digest once, with its distance.
        for (floor, grade) in [("", None), ("&grade=packaged", None), ("&grade=declared", Some(0))] {
            let reply = Wire::new(&server.origin()).get(&format!("/api/v1{question}{floor}"), "application/x-ndjson").expect(200);
            let lines: Vec<Value> = String::from_utf8(reply.body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let [first, rest @ .., last] = &lines[..] else { panic!("{lines:?}") };
            assert_eq!((&first["completeness"]["exact"], last), (&json!(true), &json!({"models": rest.len()})));
            let mut told: Vec<_> = rest.iter().map(|line| (line["distance"].as_u64(), line["digest"].as_str().unwrap())).collect();
            let models = server.api(&format!("{question}{floor}"), 200)["models"].as_array().unwrap().clone();
            let mut expected: Vec<_> = models.iter().map(|model| (model["distance"].as_u64(), model["digest"].as_str().unwrap())).collect();
            told.sort_unstable();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(told, expected, "{floor}");
            assert_eq!(grade.unwrap_or(8), told.len(), "{floor}");
        }
        let lines = |path: &str| Wire::new(&server.origin()).get(path, "application/x-ndjson");
        lines(&format!("/api/v1{question}&limit=1&cursor=x")).expect(400);
        lines(&format!("/api/v1{question}&pulls=true")).expect(400);

        // With all that a page tells, too.
        let full = || {
            let reply = lines(&format!("/api/v1{question}&full=true&pulls=true")).expect(200);
            let lines: Vec<Value> = String::from_utf8(reply.body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let [first, rest @ .., last] = &lines[..] else { panic!("{lines:?}") };
            let whole = server.api(&format!("{question}&pulls=true"), 200);
            assert_eq!((&json!(rest), &first["holders"], last), (&whole["models"], &whole["holders"], &json!({"models": rest.len()})));
        };
        full();

        // Of what is held in more ways than can be found at once, the pages are one answer as well.
        let copies: Vec<_> = (0..=1000).map(|number| (format!("copies/{number}"), TRAIN.to_vec())).collect();
        let mut many = Repository::new(&server.host, "team/zz");
        let layers = [many.blob("application/vnd.kitops.modelkit.dataset.v1.tar", b"zz"), many.blob("application/vnd.kitops.modelkit.dataset.v1.tar", &tar(copies))];
        let kitfile = json!({"manifestVersion": "1.0.0", "model": {"name": "zz", "path": "m", "digest": layers[0]["digest"]}});
        many.kit_of("1", &kitfile, &layers);
        assert_eq!(models(&server.api(&question, 200)).len(), expected.len() + 1);
        pages();
        full();
    }

    fn a_folder_is_traced_as_what_it_would_be_in_a_kit(server: Server) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::fs::write(folder.path().join("data/train.csv"), TRAIN).unwrap();
        std::fs::write(folder.path().join("data/notes.md.gz"), gzip(NOTES)).unwrap();
        let same = tar([("x/train.csv".to_owned(), TRAIN.to_vec()), ("x/notes.md.gz".to_owned(), gzip(NOTES))]);
        kit(&server, "team/same", &same);
        kit(&server, "team/part", &tar([("a".to_owned(), NOTES.to_vec())]));
        let (said, code) = server.asked(&["trace", folder.path().to_str().unwrap(), "--json"]);
        let json: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(code, 1, "{said}");
        assert_eq!(json["inner_files"].as_array().unwrap().len(), 1, "{said}");
        let rungs: Vec<_> = json["models"].as_array().unwrap().iter().map(|model| (model["repository"].as_str().unwrap(), model["evidence"][0]["rungs"][0].as_str().unwrap())).collect();
        assert_eq!(rungs, [("team/part", "file"), ("team/same", "tree")], "{said}");
        let (said, _) = server.asked(&["trace", folder.path().to_str().unwrap()]);
        assert!(said.contains("the same tree"), "{said}");
    }
}

fn what_everybody_has_matches_nobody(engine: Engine) {
    let Some(server) = Server::start_with(engine, &[("PEDIGREE_UBIQUITOUS", "2")]) else { return };
    let licence = || ("LICENSE".to_owned(), b"Permission is hereby granted\n".to_vec());
    let own = |name: &str| (name.to_owned(), name.as_bytes().to_vec());
    let asked = kit(&server, "team/a", &tar([licence(), own("a")]));
    kit(&server, "team/b", &tar([licence(), own("b")]));
    kit(&server, "team/c", &tar([licence(), own("c")]));
    let answer = server.api(&format!("/impact?layer={asked}&wait=30"), 200);
    assert_eq!(models(&answer).len(), 1, "{answer:#}");
    let everywhere = sha256(b"Permission is hereby granted\n");
    assert_eq!(answer["ubiquitous"], json!([{"file": everywhere, "repositories": 3}]));
    let leak = ask(&server, &json!({"files": [everywhere, sha256(b"b")]}), "");
    assert_eq!(models(&leak).iter().map(|model| &*model.0).collect::<Vec<_>>(), ["team/b"]);
    assert_eq!(leak["ubiquitous"][0]["file"], everywhere);
    // In an archive it counts as little, and the archive does not count for it.
    let packed = tar([("all.tar".to_owned(), tar([licence(), own("a"), own("d")]))]);
    let packed = kit(&server, "team/packed", &packed);
    let answer = server.api(&format!("/impact?layer={packed}&wait=30"), 200);
    let overlap = &answer["models"][0]["evidence"][0]["overlap"];
    assert_eq!((models(&answer).len(), &models(&answer)[0].0), (2, &"team/a".to_owned()), "{answer:#}");
    assert_eq!((&overlap["common"], &overlap["asked"], &overlap["candidate"]), (&json!(1), &json!(2), &json!(2)));
    // Asked for by name it is a file like any other.
    assert_eq!(models(&server.api(&format!("/impact?file={everywhere}"), 200)).len(), 4);
}

#[test]
fn what_everybody_has_matches_nobody_sqlite() {
    what_everybody_has_matches_nobody(Engine::Sqlite);
}

#[test]
fn what_everybody_has_matches_nobody_postgres() {
    what_everybody_has_matches_nobody(Engine::Postgres);
}
