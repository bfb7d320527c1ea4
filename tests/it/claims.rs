//! What is claimed about artifacts: by statements that are attached to them, and by people; and what is retracted.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::{
    documents,
    events::post,
    push::{MANIFEST, Repository, models},
    sample::{gzip, sha256, tar},
    server::{Server, on_both_engines},
    wire::Wire,
};

/// Attaches a statement to an artifact, as `oras attach` does. The referrer's digest.
fn attach(repository: &mut Repository, subject: &str, media_type: &str, statement: &[u8]) -> String {
    let config = repository.blob("application/vnd.oci.empty.v1+json", b"{}");
    let layer = repository.blob(media_type, statement);
    repository.manifest(
        "",
        &json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": media_type, "config": config, "layers": [layer],
            "subject": {"mediaType": MANIFEST, "digest": subject, "size": 2},
        }),
    )
}

/// A statement that the subject was made from these, in November.
fn provenance(subject: &str, dependencies: &Value) -> Vec<u8> {
    documents::provenance(subject, dependencies, "2026-11-20T09:14:03Z").to_string().into_bytes()
}

const IN_TOTO: &str = "application/vnd.in-toto+json";

fn by_digest(name: &str, digest: &str) -> Value {
    json!([{"name": "data", "uri": format!("oci://localhost:5000/{name}@{digest}"), "digest": {"sha256": &digest[7..]}}])
}

/// (repository, distance, grade) of whoever is affected by a file.
fn affected(server: &Server, file: &[u8], query: &str) -> Vec<(String, u64, String)> {
    let answer = server.api(&format!("/impact?file={}&wait=30{query}", sha256(file)), 200);
    models(&answer).into_iter().map(|(name, _, distance, grade)| (name, distance, grade)).collect()
}

fn declared(name: &str, distance: u64) -> (String, u64, String) {
    (name.into(), distance, "declared".into())
}

on_both_engines! {
    fn a_statement_counts_in_its_repository_whatever_comes_first(server: Server) {
        let mut data = Repository::new(&server.host, "data/cards");
        let leaked = data.artifact("1", &[b"leaked"]);
        // The same model in two repositories, and a statement in one of them, before the model is there.
        let mut kit = Repository::new(&server.host, "team/model");
        let push = |repository: &mut Repository| {
            let layer = repository.blob("application/vnd.kitops.modelkit.model.v1.raw", b"weights");
            let model = json!({"name": "m", "path": "m.bin", "digest": layer["digest"]});
            repository.kit_of("1", &json!({"manifestVersion": "1.0.0", "model": model}), &[layer])
        };
        let model = push(&mut Repository::new(&server.host, "elsewhere/model"));
        let statement = provenance(&model, &by_digest("data/cards", &leaked));
        let referrer = attach(&mut kit, &model, IN_TOTO, &statement);
        assert!(affected(&server, b"leaked", "").is_empty());
        assert_eq!(push(&mut kit), model);
        assert_eq!(affected(&server, b"leaked", ""), [declared("team/model", 0)]);
        // Said once more it counts once, and stays when what carried it is deleted.
        attach(&mut kit, &model, IN_TOTO, &statement);
        let answer = server.api(&format!("/impact?file={}", sha256(b"leaked")), 200);
        let evidence = answer["models"][0]["evidence"].as_array().unwrap();
        assert_eq!(evidence.len(), 1, "{answer:#}");
        assert_eq!((&evidence[0]["edge"], &evidence[0]["named"]), (&"trained_on".into(), &"data".into()));
        assert_eq!(evidence[0]["occurred_at"], "2026-11-20T09:14:03Z");
        kit.delete(&referrer);
        assert_eq!(affected(&server, b"leaked", ""), [declared("team/model", 0)]);
        // It is kept as it was sent.
        let claims = server.api("/claims?ref=team/model:1", 200);
        let claim = claims["claims"].as_array().unwrap().iter().find(|claim| claim["kind"] == "statement").unwrap();
        assert_eq!((&claim["format"], &claim["statement"]["digest"]), (&"in-toto".into(), &sha256(&statement).into()));
        let id = &claim["id"];
        let raw = Wire::new(&server.host).get(&format!("/api/v1/claims/{id}/statement"), "*/*").expect(200);
        assert_eq!(raw.body, statement);
    }

    fn a_statement_of_ten_thousand_dependencies_says_what_each_is(server: Server) {
        let mut data = Repository::new(&server.host, "data/cards");
        let leaked = data.artifact("1", &[b"leaked"]);
        let mut kit = Repository::new(&server.host, "team/model");
        let model = kit.kit("1", b"weights", b"data");
        let content = |i: u32| sha256(&i.to_be_bytes());
        let dependency = |i: u32| match i {
            0..5000 => json!({"digest": {"sha256": &content(i)[7..]}}),
            5000..7000 => json!({"uri": format!("s3://lake/cards/{i}.csv?versionId={i}")}),
            7000..9000 => json!({"uri": format!("oci://localhost:5000/data/cards@{}", content(i))}),
            // These are named twice.
            9000..9998 => json!({"digest": {"sha256": &content(i / 2)[7..]}}),
            9998 => json!({"uri": format!("oci://localhost:5000/data/cards@{leaked}")}),
            _ => json!({"uri": "oci://localhost:5000/data/cards:2"}),
        };
        let dependencies: Value = (0..10_000).map(dependency).collect();
        let statement = provenance(&model, &dependencies);
        for _ in 0..2 {
            attach(&mut kit, &model, IN_TOTO, &statement);
            assert_eq!(server.count("select count(*) from reference where state = 1"), 2001);
            assert_eq!(server.count("select count(*) from edge"), 9001, "all but what a tag names that is not here");
        }
        assert_eq!(affected(&server, b"leaked", ""), [declared("team/model", 0)]);
        for question in [
            "external=s3://lake/cards/6999.csv%3FversionId=6999",
            &format!("file={}", content(0)),
            &format!("file={}", content(4999)),
            &format!("external={}", content(8999)),
        ] {
            let answer = server.api(&format!("/impact?{question}"), 200);
            assert_eq!(models(&answer).len(), 1, "{question}: {answer:#}");
        }
        data.artifact("2", &[b"late"]);
        assert_eq!(affected(&server, b"late", ""), [declared("team/model", 0)]);
    }

    fn a_statement_about_something_else_claims_nothing(server: Server) {
        let mut data = Repository::new(&server.host, "data/cards");
        let leaked = data.artifact("1", &[b"leaked"]);
        let mut kit = Repository::new(&server.host, "team/model");
        let model = kit.kit("1", b"weights", b"data");
        let other = sha256(b"another artifact");
        attach(&mut kit, &model, IN_TOTO, &provenance(&other, &by_digest("data/cards", &leaked)));
        for broken in [&b"not json"[..], b"{}", b"[]", b"{\"_type\":7}", b""] {
            attach(&mut kit, &model, IN_TOTO, broken);
            attach(&mut kit, &model, "application/vnd.dsse.envelope.v1+json", broken);
            attach(&mut kit, &model, "application/vnd.dev.sigstore.bundle.v0.3+json", broken);
        }
        assert!(affected(&server, b"leaked", "").is_empty());
        let claims = server.api("/claims?ref=team/model:1", 200);
        let problems = claims["claims"].as_array().unwrap().iter().filter_map(|claim| claim["problem"].as_str());
        assert!(problems.clone().any(|problem| problem.contains("another artifact")), "{claims:#}");
        assert!(problems.count() > 5, "each says what is wrong with it: {claims:#}");
    }

    fn what_a_dependency_is_decides_what_it_was(server: Server) {
        // Neither the parent nor the dataset is there yet: the statement does not say which is which.
        let mut kit = Repository::new(&server.host, "team/model");
        let model = kit.kit("1", b"weights", b"data");
        let mut parent = Repository::new(&server.host, "team/parent");
        let mut hidden = Repository::new(&server.host, "hidden/copies");
        let parent_digest = hidden.kit("1", b"parent weights", b"leaked");
        hidden.delete(&parent_digest);
        let data_digest = sha256(b"a manifest that comes later");
        let commit = "a63be2a1b2c3d4e5f60718293a4b5c6d7e8f9012";
        let dependencies = json!([
            {"uri": format!("oci://localhost:5000/team/parent@{parent_digest}"), "digest": {"sha256": &parent_digest[7..]}},
            {"uri": format!("oci://localhost:5000/data/later@{data_digest}"), "digest": {"sha256": &data_digest[7..]}},
            {"uri": "git+https://git.example.com/team/code", "digest": {"gitCommit": commit}},
        ]);
        attach(&mut kit, &model, IN_TOTO, &provenance(&model, &dependencies));
        let code = server.api(&format!("/impact?external=git%2Bhttps://git.example.com/team/code@{commit}"), 200);
        assert_eq!(code["models"][0]["evidence"][0]["edge"], "built_from", "{code:#}");
        parent.kit("1", b"parent weights", b"leaked");
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"leaked")), 200);
        let found: Vec<_> = models(&answer).into_iter().map(|(name, _, distance, _)| (name, distance)).collect();
        let expected = [("hidden/copies", 0), ("team/parent", 0), ("team/model", 1)];
        assert_eq!(found, expected.map(|(name, distance)| (name.to_owned(), distance)), "{answer:#}");
        assert_eq!(answer["models"][2]["evidence"][0]["edge"], "derived_from");
    }

    fn bills_of_materials_say_what_a_model_was_trained_on(server: Server) {
        let mut data = Repository::new(&server.host, "data/cards");
        let leaked = data.artifact("1", &[b"leaked"]);
        let tested = data.artifact("2", &[b"tested"]);
        let mut kit = Repository::new(&server.host, "team/cyclonedx");
        let model = kit.kit("1", b"weights", b"data");
        let bom = documents::cyclonedx(&leaked, &tested);
        attach(&mut kit, &model, "application/vnd.cyclonedx+json; version=1.6", bom.to_string().as_bytes());
        // By nothing but the hash of a file in it, and by SPDX.
        let mut other = Repository::new(&server.host, "team/spdx");
        let model = other.kit("1", b"other weights", b"data");
        let spdx = documents::spdx(b"leaked");
        attach(&mut other, &model, "application/spdx+json", spdx.to_string().as_bytes());
        assert_eq!(affected(&server, b"leaked", ""), [declared("team/cyclonedx", 0), declared("team/spdx", 0)]);
        assert!(affected(&server, b"tested", "").is_empty(), "tested is not trained");
        let lines = Wire::new(&server.host).get(&format!("/api/v1/impact?file={}", sha256(b"leaked")), "application/x-ndjson");
        let lines = String::from_utf8(lines.expect(200).body).unwrap();
        assert!(lines.ends_with("{\"models\":2}\n"), "all at once says the same: {lines}");
    }

    fn people_assert_and_retract(server: Server) {
        let mut data = Repository::new(&server.host, "data/cards");
        data.artifact("1", &[b"leaked"]);
        let mut kit = Repository::new(&server.host, "team/model");
        kit.kit("1", b"weights", b"data");
        let assertion = json!({
            "subject": "team/model:1", "relation": "trained_on", "target": "localhost:5000/data/cards:1",
            "occurred_at": "2026-03-03T00:00:00Z",
        });
        let claim = post(&server, "/claims", &assertion, 201);
        assert_eq!((&claim["kind"], &claim["uses"][0]["state"]), (&"assertion".into(), &"resolved".into()));
        assert_eq!(affected(&server, b"leaked", ""), [declared("team/model", 0)]);
        let then = server.api(&format!("/impact?file={}", sha256(b"leaked")), 200);
        let as_of = then["query"]["as_of"].as_str().unwrap();

        let id = &claim["id"];
        post(&server, &format!("/claims/{id}/retract"), &json!({"reason": " "}), 400);
        let retracted = post(&server, &format!("/claims/{id}/retract"), &json!({"reason": "it was another one"}), 200);
        assert_eq!(retracted["retracted"]["reason"], "it was another one");
        post(&server, &format!("/claims/{id}/retract"), &json!({"reason": "again"}), 409);
        assert!(affected(&server, b"leaked", "").is_empty());
        assert_eq!(affected(&server, b"leaked", &format!("&as_of={as_of}")), [declared("team/model", 0)]);
        // What is wrong is said.
        for (member, value, status) in [
            ("relation", "knows", 400),
            ("target", "", 400),
            ("target", "nothing", 400),
            ("subject", "team/model", 400),
            ("subject", "team/model:none", 404),
            ("occurred_at", "yesterday", 400),
        ] {
            let mut wrong = assertion.clone();
            wrong[member] = value.into();
            post(&server, "/claims", &wrong, status);
        }
        // The pages of other sites post nothing.
        let body = assertion.to_string();
        for path in ["/claims", "/lineage", "/lineage/batch", &format!("/claims/{id}/retract")] {
            let head = format!(
                "POST /api/v1{path} HTTP/1.1\r\nHost: {}\r\nOrigin: https://elsewhere.example\r\nContent-Length: {}",
                server.host,
                body.len()
            );
            Wire::new(&server.host).send(&head, [body.as_bytes()]).expect(403);
        }
        server.api("/claims/999999", 404);
        server.api("/claims/x", 404);
        server.api("/claims?ref=no/such:1", 404);
    }

    fn model_cards_name_what_a_model_was_made_from(server: Server) {
        let mut base = Repository::new(&server.host, "team/base");
        base.kit("1", b"base weights", b"leaked");
        let card = |text: &str| {
            let readme = ("docs/README.md".to_owned(), text.as_bytes().to_vec());
            let other = ("docs/deep/README.md".to_owned(), b"---\nbase_model: org/other\n---\n".to_vec());
            tar([other, readme, ("docs/config.yaml".to_owned(), b"---\ndatasets: [org/none]\n---\n".to_vec())])
        };
        let text = "---\nbase_model: localhost:5000/team/base:1\ndatasets:\n- org/cards\nlicense: mit\n---\n# Tuned\n";
        let push = |name: &str, weights: &[u8]| {
            let mut kit = Repository::new(&server.host, name);
            let model = kit.blob("application/vnd.kitops.modelkit.model.v1.raw", weights);
            let docs = kit.blob("application/vnd.kitops.modelkit.docs.v1.tar", &card(text));
            let kitfile = json!({
                "manifestVersion": "1.0.0", "model": {"name": "m", "path": "m.bin", "digest": model["digest"]},
                "docs": [{"path": "docs", "digest": docs["digest"]}],
            });
            kit.kit_of("1", &kitfile, &[model, docs])
        };
        push("team/first", b"tuned");
        let expected = |names: &[&str]| {
            let models = names.iter().map(|name| declared(name, 1));
            let base = ("team/base".to_owned(), 0, "packaged".to_owned());
            std::iter::once(base).chain(models.map(|(name, distance, _)| (name, distance, "packaged".into()))).collect::<Vec<_>>()
        };
        assert_eq!(affected(&server, b"leaked", ""), expected(&["team/first"]));
        // Whoever comes when the layer is known is told of too.
        push("team/second", b"tuned otherwise");
        assert_eq!(affected(&server, b"leaked", ""), expected(&["team/first", "team/second"]));
        let answer = server.api("/impact?external=hf://datasets/org/cards", 200);
        assert_eq!(answer["models"].as_array().unwrap().len(), 2, "{answer:#}");
        assert_eq!(answer["models"][0]["evidence"][0]["claim"]["kind"], "model_card");
        for other in ["hf://org/other", "hf://datasets/org/none"] {
            assert!(models(&server.api(&format!("/impact?external={other}"), 200)).is_empty(), "{other}");
        }
    }

    fn a_model_card_may_be_a_layer_that_the_manifest_names(server: Server) {
        const PATH: &str = "org.cncf.model.filepath";
        const TITLE: &str = "org.opencontainers.image.title";
        let (mut gzip, text) = (GzEncoder::new(Vec::new(), Compression::fast()), "---\nbase_model: org/gzip\n---\n");
        gzip.write_all(text.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let named = |layer: &Value, name: &str, path: &str| {
            let mut layer = layer.clone();
            layer["annotations"] = json!({name: path});
            layer
        };
        let pack = |name: &str, annotation: (&str, &str), card: &[u8]| {
            let mut pack = Repository::new(&server.host, name);
            let config = pack.blob("application/vnd.cncf.model.config.v1+json", b"{}");
            let weights = pack.blob("application/vnd.cncf.model.weight.v1.raw", name.as_bytes());
            let card = pack.blob("application/vnd.cncf.model.doc.v1.raw", card);
            let layers = [named(&weights, PATH, "model.bin"), named(&card, annotation.0, annotation.1)];
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.cncf.model.manifest.v1+json",
                "config": config, "layers": layers,
            });
            pack.manifest("1", &manifest);
        };
        let kit = |name: &str, media_type: &str, path: &str, card: &[u8]| {
            let mut kit = Repository::new(&server.host, name);
            let model = kit.blob("application/vnd.kitops.modelkit.model.v1.raw", name.as_bytes());
            let docs = kit.blob(&format!("application/vnd.kitops.modelkit.docs.v1.{media_type}"), card);
            let kitfile = json!({
                "manifestVersion": "1.0.0", "model": {"name": "m", "path": "m.bin", "digest": model["digest"]},
                "docs": [{"path": path, "digest": docs["digest"]}],
            });
            kit.kit_of("1", &kitfile, &[model, docs]);
        };
        let from = |base: &str| {
            let answer = server.api(&format!("/impact?external=hf://{base}&wait=30"), 200);
            models(&answer).into_iter().map(|(name, ..)| name).collect::<Vec<_>>()
        };
        let raw = b"---\nbase_model: org/raw\n---\n# Card\n";
        pack("pack/path", (PATH, "README.md"), raw);
        assert_eq!(from("org/raw"), ["pack/path"]);
        // Whoever comes when the layer is known is told of too, as far as the name is that of a card.
        pack("pack/title", (TITLE, "docs/readme.MD"), raw);
        pack("pack/other", (PATH, "notes.md"), raw);
        kit("kit/raw", "raw", "./README.md", raw);
        kit("kit/other", "raw", "docs/notes.md", raw);
        assert_eq!(from("org/raw"), ["kit/raw", "pack/path", "pack/title"]);
        kit("kit/gzip", "tar+gzip", "README.md", &gzip);
        assert_eq!(from("org/gzip"), ["kit/gzip"]);
        // What editors leave in front hides nothing.
        pack("pack/marked", (PATH, "README.md"), b"\xef\xbb\xbf\r\n \n--- \r\nbase_model: org/marked\r\n---\r\n");
        assert_eq!(from("org/marked"), ["pack/marked"]);
    }

    fn a_signature_of_files_has_to_be_of_the_artifact_s(server: Server) {
        let mut server = server;
        let signer = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let file = server.data().join("release.pub");
        std::fs::write(&file, signer.public_key_pem()).unwrap();
        server.restart_with("PEDIGREE_TRUSTED_KEYS", file.to_str().unwrap());
        let mut kit = Repository::new(&server.host, "team/model");
        let model = kit.kit("1", b"weights", b"data");
        server.api(&format!("/impact?file={}&wait=30", sha256(b"weights")), 200);
        let mut sign = |files: &[&[u8]]| {
            attach(&mut kit, &model, ENVELOPE, &signed(&signer, files));
            let answer = server.api(&format!("/impact?file={}", sha256(b"weights")), 200);
            answer["models"][0]["signed_by"].clone()
        };
        assert_eq!(sign(&[b"weights", b"of another model"]), json!([]));
        assert_eq!(sign(&[]), json!([]));
        assert_eq!(sign(&[b"weights", b"data"]), json!(["the key release"]));
        // Whoever signs as soon as the model is pushed need not wait for its layers to be scanned.
        let weights = vec![7; 24 << 20];
        let second = kit.kit("2", &weights, b"other data");
        attach(&mut kit, &second, ENVELOPE, &signed(&signer, &[&weights, b"other data"]));
        let another = kit.kit("3", &[8; 24 << 20], b"other data");
        attach(&mut kit, &another, ENVELOPE, &signed(&signer, &[&weights, b"other data"]));
        let answer = server.api(&format!("/impact?file={}&wait=60", sha256(b"other data")), 200);
        let told = |digest: &Value| {
            let rows = answer["models"].as_array().unwrap();
            rows.iter().find(|row| row["digest"] == *digest).unwrap_or_else(|| panic!("{answer:#}"))["signed_by"].clone()
        };
        assert_eq!(told(&json!(second)), json!(["the key release"]));
        assert_eq!(told(&json!(another)), json!([]));
        let claims = server.api("/claims?ref=team/model:3", 200);
        let why = &claims["claims"][0]["problem"];
        assert_eq!(*why, "it signs files that the artifact does not have", "{claims:#}");
        let claims = server.api("/claims?ref=team/model:2", 200);
        assert_eq!(claims["claims"][0]["problem"], Value::Null, "{claims:#}");
    }

    fn what_names_the_content_counts_however_it_is_asked(server: Server) {
        let archive = tar([("data/a.csv".to_owned(), b"leaked".to_vec()), ("data/b.csv".to_owned(), b"other".to_vec())]);
        let mut data = Repository::new(&server.host, "data/set");
        data.artifact("archive", &[&archive]);
        let mut raw = Repository::new(&server.host, "data/raw");
        raw.kit("1", b"holder", b"leaked");
        for (name, target) in [
            ("by-file", sha256(b"leaked")), ("by-lfs", format!("lfs:{}", sha256(b"leaked"))), ("by-archive", sha256(&archive)),
        ] {
            Repository::new(&server.host, &format!("team/{name}")).kit("1", name.as_bytes(), b"nothing else");
            let claim = json!({"subject": format!("team/{name}:1"), "relation": "trained_on", "target": target});
            post(&server, "/claims", &claim, 201);
        }
        let names = |answer: &Value| models(answer).into_iter().map(|row| row.0).collect::<Vec<_>>();
        let all = ["data/raw", "team/by-archive", "team/by-file", "team/by-lfs"];
        assert_eq!(names(&server.api(&format!("/impact?file={}&wait=30", sha256(b"leaked")), 200)), all);
        assert_eq!(names(&post(&server, "/impact", &json!({"files": [sha256(b"leaked")]}), 200)), all);
        assert_eq!(names(&post(&server, "/impact", &json!({"files": [sha256(b"leaked"), sha256(b"other")]}), 200)), all);
        let by_file = ["data/raw", "team/by-file", "team/by-lfs"];
        assert_eq!(names(&server.api(&format!("/impact?layer={}", sha256(b"leaked")), 200)), by_file);
        let dataset = server.api("/impact?ref=data/raw:1&dataset=train", 200);
        assert_eq!(names(&dataset), by_file, "{dataset:#}");
        // Half of its files are in the other one, too, and used by those who name them. A third would not be enough.
        assert_eq!(names(&server.api("/impact?ref=data/set:archive", 200)), all);
        assert_eq!(names(&server.api(&format!("/impact?layer={}", sha256(&archive)), 200)), all);
        let archive = tar([("a", "leaked"), ("b", "more"), ("c", "most")].map(|(name, bytes)| (name.to_owned(), bytes.into())));
        data.artifact("larger", &[&archive]);
        assert_eq!(names(&server.api("/impact?ref=data/set:larger&wait=30", 200)), [""; 0]);
        assert_eq!(names(&server.api("/impact?ref=data/set:larger&min_overlap=0.3", 200)), ["data/raw", "team/by-file", "team/by-lfs"]);
        // One that is compressed counts as what is in it.
        let archive = tar([("a.gz".to_owned(), gzip(b"packed"))]);
        data.artifact("packed", &[&archive]);
        let claim = json!({"subject": "team/by-file:1", "relation": "trained_on", "target": sha256(&gzip(b"packed"))});
        post(&server, "/claims", &claim, 201);
        assert_eq!(names(&server.api("/impact?ref=data/set:packed&wait=30", 200)), ["team/by-file"]);
    }

    fn what_names_an_archive_inside_of_a_layer_counts_for_its_files(server: Server) {
        let file = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
        let inner = tar([file("b/train.csv", b"leaked"), file("b/dev.csv", b"other")]);
        let shard = tar([file("deep.tar", &inner), file("a.csv", b"shallow")]);
        let archive = tar([file("data/shard.tar", &shard), file("data/shard.tar.txt", b"beside")]);
        let data = Repository::new(&server.host, "data/set").artifact("1", &[&archive]);
        Repository::new(&server.host, "data/raw").kit("1", b"holder", b"leaked");
        for (name, target) in [("shard", &shard), ("inner", &inner), ("beside", &b"beside".to_vec())] {
            Repository::new(&server.host, &format!("team/{name}")).kit("1", name.as_bytes(), b"nothing else");
            let claim = json!({"subject": format!("team/{name}:1"), "relation": "trained_on", "target": sha256(target)});
            post(&server, "/claims", &claim, 201);
        }
        let names = |answer: &Value| models(answer).into_iter().map(|row| row.0).collect::<Vec<_>>();
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"leaked")), 200);
        let all = ["data/raw", "team/inner", "team/shard"];
        assert_eq!(names(&answer), all);
        let evidence = &answer["models"][1]["evidence"][0];
        assert_eq!((&evidence["edge"], &evidence["claim"]["kind"]), (&"trained_on".into(), &"assertion".into()), "{answer:#}");
        assert_eq!(names(&server.api(&format!("/impact?file={}", sha256(b"shallow")), 200)), ["team/shard"]);
        assert_eq!(names(&server.api(&format!("/impact?file={}", sha256(b"beside")), 200)), ["team/beside"]);
        assert_eq!(names(&post(&server, "/impact", &json!({"files": [sha256(b"other"), sha256(b"leaked")]}), 200)), all);
        assert_eq!(names(&server.api(&format!("/impact?layer={}", sha256(b"leaked")), 200)), all);
        assert_eq!(names(&server.api("/impact?ref=data/raw:1&dataset=train", 200)), all);
        let lines = Wire::new(&server.host).get(&format!("/api/v1/impact?file={}", sha256(b"leaked")), "application/x-ndjson");
        assert!(String::from_utf8(lines.expect(200).body).unwrap().ends_with("{\"models\":3}\n"));
        Repository::new(&server.host, "data/set").delete(&data);
        assert_eq!(names(&server.api(&format!("/impact?file={}", sha256(b"leaked")), 200)), all, "evidence outlives data");
    }

    fn what_cannot_be_read_makes_answers_inexact(server: Server) {
        let mut kit = Repository::new(&server.host, "team/model");
        let model = kit.kit("1", b"weights", b"data");
        let question = format!("/impact?file={}&wait=30", sha256(b"data"));
        let missing = || {
            let known = server.api(&question, 200)["completeness"].clone();
            (known["exact"].as_bool().unwrap(), known["incomplete_claims"].as_u64().unwrap())
        };
        assert_eq!(missing(), (true, 0));
        // Any JSON may be attached, and says nothing of what a model was made from.
        attach(&mut kit, &model, "application/json", b"{ not even JSON");
        attach(&mut kit, &model, "application/json", br#"{"some": "thing"}"#);
        assert_eq!(missing(), (true, 0));
        attach(&mut kit, &model, "application/vnd.in-toto+json", b"{ not even JSON");
        assert_eq!(missing(), (false, 1));
        let coverage = server.api("/coverage", 200);
        let [gap] = &coverage["gaps"].as_array().unwrap()[..] else { panic!("{coverage:#}") };
        assert_eq!(coverage["completeness"]["incomplete_claims"], 1, "{coverage:#}");
        assert_eq!((&gap["state"], &gap["places"][0]["tag"]), (&json!("unread"), &json!("1")), "{coverage:#}");
        assert_eq!(gap["digest"], sha256(b"{ not even JSON"));
        // A run with more pairs of inputs and outputs than make edges.
        let sets = |kind: &str| (0..150).map(|n| json!({"namespace": "s3://lake", "name": format!("{kind}/{n}")})).collect::<Vec<_>>();
        let event = json!({
            "eventType": "COMPLETE", "eventTime": "2026-11-20T09:14:03Z", "producer": "https://example.com",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
            "run": {"runId": "00000000-0000-7000-8000-000000000001"}, "job": {"namespace": "it", "name": "train"},
            "inputs": sets("in"), "outputs": sets("out"),
        });
        post(&server, "/lineage", &event, 200);
        assert_eq!(missing(), (false, 2));
        // Whoever has looked at it says so.
        let claims = server.api("/claims?ref=team/model:1", 200)["claims"].as_array().unwrap().clone();
        for claim in claims.iter().filter(|claim| claim["problem"].is_string()) {
            post(&server, &format!("/claims/{}/retract", claim["id"]), &json!({"reason": "it says nothing"}), 200);
        }
        assert_eq!(missing(), (false, 1));
    }

    fn what_happened_stays_when_keys_change(server: Server) {
        let mut server = server;
        let signer = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let file = server.data().join("release.pub");
        std::fs::write(&file, signer.public_key_pem()).unwrap();
        let base = Repository::new(&server.host, "team/base").kit("1", b"base", b"data");
        let mut kit = Repository::new(&server.host, "team/model");
        let model = kit.kit("1", b"weights", b"more data");
        let dependency = json!([{"uri": "localhost:5000/team/base", "digest": {"sha256": &base[7..]}}]);
        let mut statement = documents::provenance(&model, &dependency, "2026-11-20T09:14:03Z");
        statement["predicate"]["runDetails"].as_object_mut().unwrap().remove("metadata");
        attach(&mut kit, &model, ENVELOPE, &enveloped(&signer, &statement));
        let then = server.api("/impact?ref=team/base:1", 200)["query"]["as_of"].as_str().unwrap().to_owned();
        let ask = |server: &Server, kind: &str| {
            let answer = server.api(&format!("/impact?ref=team/base:1&as_of={then}&as_of_kind={kind}"), 200);
            models(&answer).into_iter().map(|(name, .., grade)| (name, grade)).collect::<Vec<_>>()
        };
        let told = |grade: &str| vec![("team/base".to_owned(), "packaged".to_owned()), ("team/model".to_owned(), grade.to_owned())];
        assert_eq!((ask(&server, "recorded"), ask(&server, "occurred")), (told("declared"), told("declared")));
        server.restart_with("PEDIGREE_TRUSTED_KEYS", file.to_str().unwrap());
        for _ in 0..100 {
            if ask(&server, "occurred") == told("attested") {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert_eq!(ask(&server, "occurred"), told("attested"));
        assert_eq!(ask(&server, "recorded"), told("declared"));
        let lineage = server.api(&format!("/lineage?ref=team/model:1&as_of={then}&as_of_kind=occurred"), 200);
        assert_eq!(lineage["edges"].as_array().unwrap().len(), 1, "{lineage:#}");
    }
}

const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// A signature of files, as OpenSSF's model signing makes them.
fn signed(signer: &rcgen::KeyPair, files: &[&[u8]]) -> Vec<u8> {
    enveloped(signer, &documents::model_signing(files))
}

/// A statement in the envelope of its signature.
fn enveloped(signer: &rcgen::KeyPair, statement: &Value) -> Vec<u8> {
    let (kind, statement) = ("application/vnd.in-toto+json", statement.to_string());
    let signed = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
    let signature = rcgen::SigningKey::sign(signer, signed.as_bytes()).unwrap();
    let envelope = json!({
        "payloadType": kind, "payload": STANDARD.encode(&statement), "signatures": [{"sig": STANDARD.encode(&signature)}],
    });
    envelope.to_string().into_bytes()
}
