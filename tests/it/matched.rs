//! Models that nobody says are affected, and that have weights of one that is.

use serde_json::{Value, json};

use crate::{
    push::Repository,
    sample::{Dice, sha256, tar},
    server::{Server, on_both_engines},
};

/// A file of weights (safetensors) with these tensors.
fn weights(tensors: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, bytes) in tensors {
        let begin = data.len();
        data.extend_from_slice(bytes);
        header.insert(
            (*name).into(),
            json!({"dtype": "U8", "shape": [bytes.len()], "data_offsets": [begin, data.len()]}),
        );
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// A file of weights with tensors of these shapes, all of them like no other.
fn shaped(seed: u64, tensors: &[(&str, [usize; 2])]) -> Vec<u8> {
    let (mut header, mut data, mut dice) = (serde_json::Map::new(), Vec::new(), Dice::of(seed));
    for (name, shape) in tensors {
        let begin = data.len();
        data.extend(dice.bytes(shape[0] * shape[1] * 4));
        header.insert((*name).into(), json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]}));
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

const QUERY: &str = "model.layers.0.self_attn.q_proj";

/// Pushes an adapter of what it calls `base`, with weights for a projection from `into` to `out` if there are any.
fn adapter(server: &Server, name: &str, base: &str, weights: Option<(usize, usize)>) -> String {
    let config = json!({
        "alpha_pattern": {}, "base_model_name_or_path": base, "peft_type": "LORA", "r": 8, "revision": null,
        "target_modules": ["q_proj"],
    });
    let mut files = vec![("adapter/adapter_config.json".to_owned(), config.to_string().into_bytes())];
    if let Some((out, into)) = weights {
        let [a, b] = ["A", "B"].map(|letter| format!("base_model.model.{QUERY}.lora_{letter}.weight"));
        let seed = name.bytes().map(u64::from).sum();
        let weights = shaped(seed, &[(&a, [8, into]), (&b, [out, 8])]);
        files.push(("adapter/adapter_model.safetensors".to_owned(), weights));
    }
    let mut repository = Repository::new(&server.host, name);
    let mut layer = repository.blob("application/vnd.kitops.modelkit.model.v1.tar", &tar(files));
    layer["annotations"] = json!({"org.cncf.model.filepath": "adapter"});
    let data = repository.blob("application/vnd.kitops.modelkit.dataset.v1.raw", name.as_bytes());
    let entry = |layer: &Value| json!({"name": "it", "path": "x", "digest": layer["digest"]});
    let kitfile = json!({
        "manifestVersion": "1.0.0", "package": {"name": "an adapter"}, "model": entry(&layer), "datasets": [entry(&data)],
    });
    repository.kit_of("1", &kitfile, &[layer, data])
}

/// (repository, digest of the affected one, what it is, by what) of everything that is matched.
fn pairs(answer: &Value) -> Vec<(String, String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |row: &Value| {
        let by: Vec<_> = row["adapter"]["by"].as_array().unwrap().iter().map(text).collect();
        (text(&row["repository"]), text(&row["with"]), text(&row["adapter"]["this_is"]), by.join(" "))
    };
    answer["matched"].as_array().unwrap().iter().map(row).collect()
}

on_both_engines! {
    fn shared_tensors_are_worth_telling(server: Server) {
        let [frozen, head, other] = [1, 2, 3].map(|seed| Dice::of(seed).bytes(4096));
        let zeros = [0; 16384];
        let base = weights(&[("frozen", &frozen), ("head", &head), ("zeros", &zeros)]);
        let push = |name: &str, weights: &[u8], data: &[u8]| Repository::new(&server.host, name).kit("1", weights, data);
        let leaked = push("team/base", &base, b"leaked");
        push("team/tuned", &weights(&[("frozen", &frozen), ("head", &other)]), b"data");
        // What all have by chance, and a little of it, say nothing.
        push("team/zeros", &weights(&[("zeros", &zeros), ("other", &other)]), b"data");
        push("team/little", &weights(&[("frozen", &frozen), ("a", &Dice::of(4).bytes(8192))]), b"data");
        let question = format!("/impact?file={}&wait=30", sha256(b"leaked"));
        assert!(server.api(&question, 200).get("matched").is_none(), "it is told when it is asked for");
        let answer = server.api(&format!("{question}&matched=true"), 200);
        let found: Vec<_> = answer["matched"].as_array().unwrap().iter().map(|row| {
            assert_eq!((&row["with"], &row["grade"]), (&leaked.as_str().into(), &"matched".into()), "{row}");
            (row["repository"].as_str().unwrap(), row["share"].as_f64().unwrap())
        }).collect();
        assert_eq!(found, [("team/tuned", 0.5)], "{answer:#}");
        server.api(&format!("{question}&matched=perhaps"), 400);
    }

    fn an_adapter_goes_with_the_base_that_it_names_and_fits(server: Server) {
        let weights = shaped(1, &[(&format!("{QUERY}.weight"), [64, 32]), ("lm_head.weight", [10, 32])]);
        let base = Repository::new(&server.host, "models/tiny-llama").kit("1", &weights, b"leaked");
        let fitting = Some((64, 32));
        let named = adapter(&server, "a/named", "Models/Tiny-Llama", fitting);
        adapter(&server, "a/path", "/data/models/Tiny_Llama/", fitting);
        adapter(&server, "a/alone", "models/tiny-llama", None);
        // Neither of these: another shape, another name, a path that is too little by itself.
        adapter(&server, "b/larger", "models/tiny-llama", Some((128, 32)));
        adapter(&server, "b/other", "models/small-llama", fitting);
        adapter(&server, "b/folder", "/tmp/tiny-llama", None);

        let question = format!("/impact?file={}&matched=true&wait=30", sha256(b"leaked"));
        let row = |name: &str, with: &str, what: &str, by: &str| (name.into(), with.into(), what.into(), by.into());
        let answer = server.api(&question, 200);
        assert_eq!(pairs(&answer), [
            row("a/alone", &base, "adapter", "name"),
            row("a/named", &base, "adapter", "name shapes"),
            row("a/path", &base, "adapter", "short_name shapes"),
        ], "{answer:#}");
        assert_eq!(answer["matched"][1]["adapter"]["base"], "Models/Tiny-Llama");
        assert!(answer["matched"][1].get("share").is_none(), "nothing of the weights is the same");
        let as_of = answer["query"]["as_of"].as_str().unwrap().to_owned();

        // The other way round.
        let answer = server.api(&format!("/impact?file={}&matched=true", sha256(b"a/named")), 200);
        assert_eq!(pairs(&answer), [row("models/tiny-llama", &named, "base", "name shapes")], "{answer:#}");
        let answer = server.api(&format!("/impact?file={}&matched=true", sha256(b"b/other")), 200);
        assert!(pairs(&answer).is_empty(), "its base is not here: {answer:#}");
        let (text, code) = server.asked(&["impact", "--file", &sha256(b"a/named"), "--matched"]);
        assert!(text.contains("the base of it, an adapter, by name and shapes (Models/Tiny-Llama)") && code == 1, "{text}");

        // A kit's own name will do, and what is deleted is told as that.
        let mut elsewhere = Repository::new(&server.host, "store/blob-7");
        let mut layer = elsewhere.blob("application/vnd.kitops.modelkit.model.v1.raw", &weights);
        layer["annotations"] = json!({"org.cncf.model.filepath": "small.safetensors"});
        let model = json!({"name": "m", "path": "x", "digest": layer["digest"]});
        let kitfile = json!({"manifestVersion": "1.0.0", "package": {"name": "Small-Llama"}, "model": model});
        let small = elsewhere.kit_of("1", &kitfile, &[layer]);
        let other = server.api(&format!("/impact?file={}&matched=true&wait=30", sha256(b"b/other")), 200);
        assert_eq!(pairs(&other)[0].3, "short_name shapes", "{other:#}");
        elsewhere.delete(&small);
        let other = server.api(&format!("/impact?file={}&matched=true", sha256(b"b/other")), 200);
        assert_eq!(other["matched"][0]["state"], "deleted", "{other:#}");
        let then = server.api(&format!("/impact?file={}&matched=true&as_of={as_of}", sha256(b"b/other")), 200);
        assert!(pairs(&then).is_empty(), "{then:#}");
    }

    fn an_adapter_says_what_it_derives_from(server: Server) {
        adapter(&server, "a/named", "org/Base-7B", None);
        adapter(&server, "a/path", "/data/models/base", None);
        server.api(&format!("/impact?file={}&wait=30", sha256(b"a/named")), 200);
        let answer = server.api("/impact?external=hf://org/Base-7B", 200);
        let models = answer["models"].as_array().unwrap();
        assert_eq!(models.len(), 1, "{answer:#}");
        assert_eq!((&models[0]["repository"], &models[0]["grade"]), (&"a/named".into(), &"declared".into()));
        let evidence = &models[0]["evidence"][0];
        assert_eq!((&evidence["edge"], &evidence["reference"]), (&"derived_from".into(), &"org/Base-7B".into()));
        assert_eq!((&evidence["claim"]["kind"], &evidence["claim"]["format"]), (&"adapter_config".into(), &"adapter-config".into()));
        let claims = server.api("/claims?ref=a/path:1", 200);
        assert!(claims["claims"].as_array().unwrap().iter().all(|claim| claim["kind"] == "kitfile"), "{claims:#}");
    }
}
