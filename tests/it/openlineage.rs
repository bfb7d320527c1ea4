//! The real OpenLineage client tells of a run, as the integrations of Airflow and others do through it.

use serde_json::{Value, json};

use crate::{
    clients::{Bin, Client, Target},
    push::Repository,
    server::{Server, on_both_engines},
    wire::Wire,
};

const RUN: &str = "0193f0a8-7b1e-7c31-9d0a-3f6f4a1c2b11";

on_both_engines! {
    fn a_run_that_the_client_tells_of_makes_edges(server: Server) {
        let Some(bin) = Bin::wanted("openlineage-python") else { return };
        let data = Repository::new(&server.host, "data/cards").artifact("1", &[b"cards"]);
        let model = Repository::new(&server.host, "team/model").kit("1", b"weights", b"data");
        let target = Target { host: server.host.clone(), authority: None, referrers: true };
        let client = Client::new(&bin, &target);
        let program = client.file("program.py", include_bytes!("../clients/openlineage-python.py"));
        let arguments = |state: &str, inputs: &Value, outputs: &Value| {
            format!("{} http://{} {state} {RUN} {inputs} {outputs}", program.display(), server.host)
        };
        let (registry, none) = ("oci://localhost:5000", json!([]));
        let inputs = json!([[registry, "data/cards", data], ["s3://lake", "raw/cards.csv"]]);
        let outputs = json!([[registry, "team/model", model]]);
        let edges = || {
            let answer = server.api("/lineage?ref=team/model:1&direction=ancestors", 200);
            let edges = answer["edges"].as_array().unwrap().iter();
            let mut edges: Vec<_> = edges
                .map(|edge| {
                    let claim = &edge["claim"]["kind"];
                    json!([edge["kind"], edge["to"], edge["grade"], claim, edge["occurred_at"]]).to_string()
                })
                .collect();
            edges.sort();
            edges
        };

        client.run(&arguments("START", &inputs, &none));
        assert!(edges().is_empty(), "what has begun has made nothing");
        // The client leaves out what is empty: this event has no inputs at all.
        client.run(&arguments("COMPLETE", &none, &outputs));
        // What is no artifact of the registry may be data, code or anything.
        let expected = [("depends_on", "s3://lake/raw/cards.csv"), ("trained_on", &data)]
            .map(|(kind, to)| json!([kind, to, "declared", "event", "2026-11-20T09:14:03.12Z"]).to_string());
        assert_eq!(edges(), expected);

        // The events are kept as the client sent them, with its facets.
        let kept = ["1", "2"].map(|id| {
            let reply = Wire::new(&server.host).get(&format!("/api/v1/claims/{id}/statement"), "*/*").expect(200);
            serde_json::from_slice::<Value>(&reply.body).unwrap()
        });
        assert_eq!((&kept[0]["eventType"], &kept[1]["eventType"]), (&"START".into(), &"COMPLETE".into()));
        let facet = &kept[0]["inputs"][0]["facets"]["version"];
        assert_eq!(facet["datasetVersion"], data.as_str());
        let schema = facet["_schemaURL"].as_str().unwrap();
        assert!(schema.starts_with("https://openlineage.io/spec/facets/"), "{schema}");

        // Told again it counts once.
        client.run(&arguments("COMPLETE", &none, &outputs));
        assert_eq!(edges(), expected);
        // What is no event is refused, and the client says so.
        let wrong = arguments("COMPLETE", &none, &outputs).replace(RUN, "0193f0a8-7b1e-7c31-9d0a-3f6f4a1c2b1");
        assert!(!client.fails(&wrong).is_empty());
    }
}
