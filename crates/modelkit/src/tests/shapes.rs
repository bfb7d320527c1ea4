//! ModelKits and ModelPacks that the fixtures do not have: other clients and versions, broken and hostile bytes.

use serde_json::{Value, json};

use super::{assert_renders, digest, file, kit, kit_manifest, layer, manifest};
use crate::{CONFIG_LIMIT, Config, Kit, Role, Target, config_needed, understand};

const DATASET: &str = "application/vnd.kitops.modelkit.dataset.v1.tar";
const MODEL: &str = "application/vnd.kitops.modelkit.model.v1.tar+gzip";
const WEIGHT: &str = "application/vnd.cncf.model.weight.v1.raw";

fn layers_of(kit: &Kit, role: Role) -> Vec<(Option<&str>, &[usize])> {
    kit.of_role(role).map(|component| (component.name.as_deref(), &component.layers[..])).collect()
}

#[test]
fn a_kit_of_every_section() {
    let media_type = |base: &str| format!("application/vnd.kitops.modelkit.{base}");
    let mut prompt = layer(&media_type("code.v1.tar"), '7');
    prompt["annotations"] = json!({"ml.kitops.modelkit.layer-subtype": "prompt"});
    let layers = json!([
        layer(&media_type("model.v1.tar"), '1'),
        layer(&media_type("modelpart.v1.tar+gzip"), '2'),
        layer(&media_type("code.v1.raw"), '3'),
        layer(&media_type("dataset.v1.raw+zstd"), '4'),
        layer(&media_type("dataset.v1.tar+zstd"), '5'),
        layer(&media_type("docs.v1.tar"), '6'),
        prompt,
        layer(&media_type("mcpb.v1.raw"), '8'),
    ]);
    let kitfile = json!({
        "manifestVersion": "1.0.0",
        "package": {"name": "churn", "version": "1.2.0", "license": "Apache-2.0", "authors": ["Ada", "Lin"], "owner": 1},
        "model": {
            "name": "churn-clf", "path": "model.safetensors", "framework": "pytorch", "digest": digest('1'),
            "parts": [{"name": "tokenizer", "path": "tokenizer.json", "type": "tokenizer", "digest": digest('2')}],
            "parameters": {"lr": 0.001, "epochs": 3},
        },
        "code": [{"path": "src", "license": "MIT", "digest": digest('3')}],
        "datasets": [
            {"name": "train", "path": "data/train", "parameters": [1], "digest": digest('4')},
            {"name": "val", "path": "data/val.csv", "digest": digest('5')},
        ],
        "docs": [{"path": "docs/README.md", "description": "readme", "digest": digest('6')}],
        "prompts": [{"name": "sys", "path": "system.prompt.md", "digest": digest('7')}],
        "mcpServers": [{"name": "tools", "path": "tools.mcpb", "digest": digest('8')}],
        "futureSection": [{"digest": 3}],
    });
    let expected = [
        "modelkit, a model",
        r#"package ["churn", "1.2.0", "Apache-2.0", "Ada", "Lin"]"#,
        r#"model 0 [0] name=churn-clf path=model.safetensors framework=pytorch parameters={"epochs":3,"lr":0.001}"#,
        "part 0 [1] name=tokenizer path=tokenizer.json type=tokenizer",
        "code 0 [2] path=src licence=MIT",
        "dataset 0 [3] name=train path=data/train parameters=[1]",
        "dataset 1 [4] name=val path=data/val.csv",
        "docs 0 [5] path=docs/README.md description=readme",
        "prompt 0 [6] name=sys path=system.prompt.md",
        "mcp 0 [7] name=tools path=tools.mcpb",
    ];
    assert_renders(&kit(&layers, &kitfile), &expected);
    // Before kit 0.5 nothing but the order tells.
    let digests: Vec<String> = ('1'..='8').map(digest).collect();
    let old = digests.iter().fold(kitfile.to_string(), |text, digest| text.replace(digest, ""));
    let kit = understand(&kit_manifest(&layers), Config::Bytes(old.as_bytes()));
    assert_renders(&kit, &expected);
}

#[test]
fn a_reference_needs_no_layers() {
    let kitfile = json!({"package": {"name": "ft"}, "model": {"name": "ft", "path": "localhost:5001/team/churn:v1"}});
    let kit = kit(&Value::Null, &kitfile);
    assert_renders(
        &kit,
        &["modelkit, a model", r#"package ["ft"]"#, "model 0 [] name=ft registry=localhost:5001/team/churn:v1"],
    );
    assert_eq!(kit.parents().count(), 1);
}

#[test]
fn a_path_is_a_reference_only_without_bytes() {
    let layers = json!([layer(MODEL, '1')]);
    let with = |model: Value| kit(&layers, &json!({ "model": model }));
    // Its bytes are here, so it is a file with a strange name.
    let local = with(json!({"path": "weights:v1", "digest": digest('1')}));
    assert_renders(&local, &["modelkit, a model", "model 0 [0] path=weights:v1"]);
    // Positions are never given to references; the layer stays visible.
    let referred = with(json!({"path": "weights:v1"}));
    assert_renders(&referred, &["modelkit, a model", "model 0 [] registry=weights:v1", "model 1 [0]"]);
    let url = with(json!({"path": "hf://org/model"}));
    assert!(matches!(&url.parents().next().unwrap().1.target, Target::External(text) if text == "hf://org/model"));
}

#[test]
fn a_model_may_be_parts_alone() {
    let part = layer("application/vnd.kitops.modelkit.modelpart.v1.tar", '1');
    let kit = kit(&json!([part]), &json!({"model": {"name": "m", "parts": [{"path": "lora", "type": "lora"}]}}));
    assert_renders(&kit, &["modelkit, a model", "model 0 [] name=m", "part 0 [0] path=lora type=lora"]);
}

#[test]
fn entries_may_share_a_layer() {
    let entries = json!({"datasets": [{"name": "a", "digest": digest('1')}, {"name": "b", "digest": digest('1')}]});
    let once = kit(&json!([layer(DATASET, '1')]), &entries);
    assert_eq!(layers_of(&once, Role::Dataset), [(Some("a"), &[0][..]), (Some("b"), &[0])]);
    assert_eq!(once.problem, None);
    let twice = kit(&json!([layer(DATASET, '1'), layer(DATASET, '1')]), &entries);
    assert_eq!(layers_of(&twice, Role::Dataset), [(Some("a"), &[0][..]), (Some("b"), &[1])]);
    // More layers of the same bytes are no further components.
    let thrice = kit(&json!([layer(DATASET, '1'), layer(DATASET, '1'), layer(DATASET, '1')]), &entries);
    assert_eq!(thrice.components.len(), 2);
    // The layer of the right role, and if there is none the bytes all the same.
    let docs = "application/vnd.kitops.modelkit.docs.v1.tar";
    let roles = kit(
        &json!([layer(DATASET, '1'), layer(docs, '1'), layer("text/csv", '2')]),
        &json!({"docs": [{"path": "d", "digest": digest('1')}], "code": [{"path": "c", "digest": digest('2')}]}),
    );
    assert_renders(&roles, &["modelkit", "code 0 [2] path=c", "docs 0 [1] path=d", "dataset 0 [0]"]);
}

#[test]
fn positions_skip_what_has_no_layer() {
    let layers = json!([layer(DATASET, '1'), layer(DATASET, '2'), file(DATASET, '3', "late.csv")]);
    let kit = kit(
        &layers,
        &json!({"datasets": [
            {"name": "first"},
            {"name": "remote", "remotePath": "s3://bucket/key", "remoteHash": "etag"},
            {"name": "known", "digest": digest('1')},
            {"name": "lost", "digest": digest('9')},
            {"name": "unreadable", "digest": "sha384:00"},
        ]}),
    );
    assert_renders(
        &kit,
        &[
            "modelkit",
            "dataset 0 [1] name=first",
            "dataset 1 [] name=remote external=s3://bucket/key hash=etag",
            "dataset 2 [0] name=known",
            "dataset 3 [] name=lost",
            "dataset 4 [] name=unreadable",
            "dataset 5 [2] name=late.csv path=late.csv",
            "problem: datasets[4].digest is not a digest; datasets[3] is in no layer; datasets[4] is in no layer",
        ],
    );
}

#[test]
fn a_kit_without_its_kitfile_keeps_its_layers() {
    let manifest = kit_manifest(&json!([file(MODEL, '1', "model.bin"), layer(DATASET, '2'), layer("text/csv", '3')]));
    let large = vec![b' '; usize::try_from(CONFIG_LIMIT).unwrap() + 1];
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!(r#"{{"model":{{"parameters":{deep}}}}}"#);
    for (config, problem) in [
        (Config::None, "the config was not read"),
        (Config::Unavailable("purged"), "the config is not available: purged"),
        (Config::Bytes(&large), "the config has 4194305 bytes, too many to read"),
        (Config::Bytes(b"[]"), "the config is not a JSON object"),
        (Config::Bytes(b""), "the config is not JSON: EOF while parsing a value at line 1 column 0"),
        (Config::Bytes(deep.as_bytes()), "the config is not JSON: recursion limit exceeded at line 1 column 149"),
    ] {
        let problem = format!("problem: {problem}");
        let lines = ["modelkit, a model", "model 0 [0] name=model.bin path=model.bin", "dataset 0 [1]", &problem];
        assert_renders(&understand(&manifest, config), &lines);
    }
}

#[test]
fn what_has_the_wrong_type_costs_nothing_else() {
    let kit = kit(
        &json!([layer(MODEL, '1')]),
        &json!({
            "package": {"name": 5, "version": "1", "authors": ["Ada", 7], "license": null},
            "model": {"name": "m", "parts": {}, "version": ["1"], "parameters": null, "digest": digest('1')},
            "datasets": [3, {"name": "d", "remotePath": "a.b/c:1"}],
            "code": "src",
        }),
    );
    assert_renders(
        &kit,
        &[
            "modelkit, a model",
            r#"package ["1", "Ada"]"#,
            "model 0 [0] name=m",
            "dataset 0 [] name=d registry=a.b/c:1",
            "problem: package.name is not text; package.authors holds what is not text; model.parts is not a list; \
             model.version is not text; code is not a list; datasets[0] is not an object",
        ],
    );
}

#[test]
fn strange_texts_survive() {
    let manifest = kit_manifest(&json!([]));
    let nul = understand(&manifest, Config::Bytes(br#"{"package":{"name":"a\u0000b","name":"c\u0000d"}}"#));
    assert_eq!(nul.package.name.as_deref(), Some("c\0d"));
    let latin1 = understand(&manifest, Config::Bytes(b"{\"package\":{\"name\":\"caf\xe9\"}}"));
    assert_eq!(latin1.package.name.as_deref(), Some("caf\u{fffd}"));
    assert_eq!(latin1.problem.unwrap(), "the config holds characters that are not Unicode; they are replaced");
    assert!(!understand(&manifest, Config::Bytes(br#"{"model":{}}"#)).is_model());
}

#[test]
fn a_million_entries_are_not_read() {
    let kitfile = format!(r#"{{"datasets":[{}{{}}]}}"#, "{},".repeat(100_000));
    let kit = understand(&kit_manifest(&json!([])), Config::Bytes(kitfile.as_bytes()));
    assert_eq!(kit.components.len(), 20_000);
    let problem = kit.problem.unwrap();
    assert!(
        problem.starts_with("datasets has 100001 entries, 20000 are read; datasets[0] is in no layer"),
        "{problem}"
    );
    assert!(problem.ends_with("and 19991 more"), "{problem}");
}

fn modelpack(layers: &Value, annotations: &Value) -> oci::Manifest {
    manifest(&json!({
        "schemaVersion": 2,
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": layer("application/vnd.cncf.model.config.v1+json", 'c'),
        "layers": layers,
        "annotations": annotations,
    }))
}

#[test]
fn a_modelpack_of_kit_is_its_annotation() {
    let mut prompt = file("application/vnd.cncf.model.code.v1.tar", '2', "system.md");
    prompt["annotations"]["ml.kitops.modelkit.layer-subtype"] = "prompt".into();
    let layers = json!([layer("application/vnd.cncf.model.weight.v1.tar", '1'), prompt]);
    let kitfile = json!({"package": {"name": "churn"}, "model": {"path": "m", "digest": digest('1')}, "prompts": [{}]});
    let kitfile_text = kitfile.to_string();
    let kitfile = |text: String| modelpack(&layers, &json!({ "ml.kitops.modelkit.kitfile": text }));
    let config = br#"{"descriptor":{"name":"other","licenses":["MIT"]},"modelfs":{"diffIds":["sha256:garbage"]},
        "config":{"format":"safetensors"}}"#;
    let kit = |text: String, config| understand(&kitfile(text), config);
    let lines = ["modelpack, a model", r#"package ["churn"]"#, "model 0 [0] path=m", "prompt 0 [1] path=system.md"];
    assert_renders(&kit(kitfile_text.clone(), Config::Unavailable("absent")), &lines);
    assert_renders(
        &kit(kitfile_text.clone(), Config::Bytes(config)),
        &[lines[0], lines[1], "model 0 [0] path=m format=safetensors", lines[3]],
    );
    // A broken annotation leaves the config.
    assert_renders(
        &kit("{".into(), Config::Bytes(config)),
        &[
            "modelpack, a model",
            r#"package ["other", "MIT"]"#,
            r#"model 0 [0] name=other format=safetensors parameters={"format":"safetensors"}"#,
            "prompt 0 [1] name=system.md path=system.md",
            "problem: the kitfile annotation is not JSON: EOF while parsing an object at line 1 column 1",
        ],
    );
}

#[test]
fn a_modelpack_of_others_is_its_layers() {
    let layers = json!([
        file("application/vnd.cncf.model.weight.v1.raw", '1', "m-1.safetensors"),
        file("application/vnd.cnai.model.weight.config.v1.tar", '2', "config.json"),
        file(WEIGHT, '3', "m-2.safetensors"),
        file("application/vnd.cncf.model.dataset.v1.tar+zstd", '4', "train.csv"),
        file("application/vnd.cncf.model.doc.v1.raw", '5', "README.md"),
    ]);
    let config = json!({"descriptor": {
        "title": "Tiny", "version": "2", "licenses": "MIT", "authors": ["Ada"], "family": "llama3",
        "sourceURL": "https://git/x", "revision": "abc-dirty", "datasetsURL": ["https://data/1", "https://data/2"],
    }});
    let kit = understand(&modelpack(&layers, &json!({})), Config::Bytes(config.to_string().as_bytes()));
    assert_renders(
        &kit,
        &[
            "modelpack, a model",
            r#"package ["Tiny", "2", "llama3", "MIT", "Ada"]"#,
            "model 0 [0, 2] name=Tiny version=2",
            "part 0 [1] name=config.json path=config.json",
            "dataset 0 [3] name=train.csv path=train.csv",
            "docs 0 [4] name=README.md path=README.md",
            r#"origin https://git/x Some("abc-dirty")"#,
            "dataset https://data/1 None",
            "dataset https://data/2 None",
        ],
    );
}

#[test]
fn first_modelpacks_and_those_of_ramalama() {
    let mut marked = layer("application/vnd.cnai.model.layer.v1.tar", '1');
    marked["annotations"] = json!({"org.cnai.model.model": "true", "org.cnai.model.config": "false"});
    let mut titled = layer("application/octet-stream", '2');
    titled["annotations"] = json!({"org.opencontainers.image.title": "sha256-4d2396"});
    let draft = manifest(&json!({
        "schemaVersion": 2,
        "artifactType": "application/vnd.cnai.model.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": oci::EMPTY_JSON, "size": 2},
        "layers": [marked, titled, file("text/plain", '3', "a/chat_template"), file("text/plain", '4', "LICENSE")],
    }));
    assert_eq!(config_needed(&draft), None);
    assert_renders(
        &understand(&draft, Config::None),
        &[
            "modelpack, a model",
            "model 0 [0, 1]",
            "part 0 [2] name=a/chat_template path=a/chat_template",
            "docs 0 [3] name=LICENSE path=LICENSE",
        ],
    );
}
