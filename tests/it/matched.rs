//! Models that nobody says are affected, and that have weights of one that is.

use serde_json::json;

use crate::{
    push::Repository,
    sample::{Dice, sha256},
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
}
