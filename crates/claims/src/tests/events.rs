use serde_json::json;

use super::*;
use crate::openlineage::{Dataset, Event, Kind, State, event};

const RUN: &str = "0193f0a8-7b1e-7c31-9d0a-3f6f4a1c2b11";

fn run(inputs: Value, outputs: Value) -> Value {
    json!({
        "eventTime": "2026-11-20T09:14:03.120Z",
        "producer": "https://registry.example.com/modelkit-registry/0.1.0",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "eventType": "COMPLETE",
        "run": {"runId": RUN, "facets": {}},
        "job": {"namespace": "oci://registry.example.com", "name": "ml/fraud.train", "facets": {}},
        "inputs": inputs,
        "outputs": outputs,
    })
}

fn dataset(namespace: &str, name: &str, version: &str) -> Value {
    let facet = json!({"_producer": "x", "_schemaURL": "y", "datasetVersion": version});
    json!({"namespace": namespace, "name": name, "facets": {"version": facet}})
}

fn lines(datasets: &[Dataset]) -> Vec<String> {
    let line = |dataset: &Dataset| {
        let aliases: String = dataset.aliases.iter().map(|alias| format!(" = {}", told(alias))).collect();
        let model = if dataset.is_model { " model" } else { "" };
        format!("{}{model} {}{aliases}", dataset.relation, told(&dataset.target)).replace(A, "A").replace(B, "B")
    };
    datasets.iter().map(line).collect()
}

#[test]
fn a_run_reads_and_writes() {
    let mut input = dataset("oci://registry.example.com", "ml/transactions", &format!("sha256:{A}"));
    input["facets"]["modelkitRegistry_contentIdentity"] =
        json!({"role": "train", "fileCount": 48, "manifestDigest": format!("sha256:{A}")});
    let mut output = dataset("oci://registry.example.com", "ml/fraud", "1.3");
    output["facets"]["datasetType"] = json!({"datasetType": "MODEL"});
    let event = event(&run(json!([input]), json!([output]))).unwrap();
    assert_eq!(event.kind, Kind::Run(State::Complete));
    assert_eq!(event.run_id.as_deref(), Some(RUN));
    assert_eq!(event.job.as_ref().unwrap().name, "ml/fraud.train");
    assert_eq!(moment(event.occurred_at), "2026-11-20T09:14:03.12Z");
    assert_eq!(lines(&event.inputs), ["trained_on artifact registry.example.com/ml/transactions@sha256:A"]);
    assert_eq!(lines(&event.outputs), ["unstated model artifact registry.example.com/ml/fraud:1.3"]);
    assert_eq!((event.problems, event.incomplete), (Vec::new(), false));
}

#[test]
fn versions_of_artifacts() {
    for (namespace, name, version, target) in [
        ("oci://h.example:5000", "a", format!("@sha256:{A}"), "artifact h.example:5000/a@sha256:A"),
        ("oci://h.example", "a/b", format!("a/b@sha256:{A}"), "artifact h.example/a/b@sha256:A"),
        ("oci://h.example/", "/a/b", format!("h.example/a/b@sha256:{A}"), "artifact h.example/a/b@sha256:A"),
        ("OCI://me:pw@H.example", "a", "a:1.0".to_owned(), "artifact h.example/a:1.0"),
        ("oci://registry", "a", "latest".to_owned(), "artifact registry/a:latest"),
        ("oci://h.example", &format!("a@sha256:{A}"), String::new(), "artifact h.example/a@sha256:A"),
        ("oci://h.example", "a", String::new(), "artifact h.example/a"),
        ("oci://h.example", "a", "not a tag".to_owned(), "artifact h.example/a"),
        ("oci://h.example", "Not a name", String::new(), "external oci://h.example/Not a name"),
        ("oci://", "a", String::new(), "external oci:/a"),
    ] {
        let event = event(&run(json!([dataset(namespace, name, &version)]), Value::Null)).unwrap();
        assert_eq!(lines(&event.inputs), [format!("unstated {target}")], "{namespace} {name} {version}");
    }
}

#[test]
fn other_namespaces_are_external() {
    for (namespace, name, version, target) in [
        ("s3://bucket", "path/key", "", "s3://bucket/path/key"),
        ("s3://bucket", "/path/key", "v 1", "s3://bucket/path/key?versionId=v%201*"),
        ("gs://bucket", "key", "17", "gs://bucket/key#17*"),
        ("hf://datasets", "org/d", COMMIT, "hf://datasets/org/d@4a1b0c6a7f0d1e2c3b4a5968778695a4b3c2d1e0*"),
        ("postgres://me:pw@DB.example:5432", "shop.public.orders", "", "postgres://db.example:5432/shop.public.orders"),
        ("bigquery", "project.set.table", "17", "bigquery/project.set.table?version=17*"),
        ("file", "/data/train.csv", "", "file:///data/train.csv"),
        ("abfss://data@account.example.com", "x", "", "abfss://data@account.example.com/x"),
        ("food_delivery", "public.orders", "", "food_delivery/public.orders"),
    ] {
        let event = event(&run(Value::Null, json!([dataset(namespace, name, version)]))).unwrap();
        assert_eq!(lines(&event.outputs), [format!("unstated external {target}")]);
        assert!(!format!("{event:?}").contains("pw"));
    }
}

/// As the Spark integration names a table: by its place, and by the catalog as a symbolic link.
#[test]
fn symbolic_links_are_aliases() {
    let mut table = dataset("s3a://warehouse", "shop/orders", "5");
    table["facets"]["symlinks"] = json!({"identifiers": [{"namespace": "hive://metastore:9083", "name": "shop.orders", "type": "TABLE"}, {"name": 1}]});
    table["inputFacets"] = json!({"custom_use": {"role": "validation"}, "statistics": {"rowCount": 5}});
    let event = event(&run(json!([table]), json!([]))).unwrap();
    assert_eq!(
        lines(&event.inputs),
        ["tested_on external s3://warehouse/shop/orders?versionId=5* = external hive://metastore:9083/shop.orders"]
    );
}

/// As openlineage-python of Airflow sends it: offsets, null members, no `inputs` for a start.
#[test]
fn lenient_where_nothing_is_lost() {
    let mut start = run(Value::Null, Value::Null);
    start["eventType"] = json!("START");
    start["eventTime"] = json!("2026-11-20T10:14:03.120456+01:00");
    start["run"]["runId"] = json!(RUN.to_uppercase());
    start["schemaURL"] = Value::Null;
    let read = event(&start).unwrap();
    assert_eq!(
        (read.kind, moment(read.occurred_at)),
        (Kind::Run(State::Start), "2026-11-20T09:14:03.120456Z".to_owned())
    );
    assert_eq!(read.run_id.as_deref(), Some(RUN));
    start["eventTime"] = json!("2026-11-20T10:14:03.120456");
    start["eventType"] = Value::Null;
    let read = event(&start).unwrap();
    assert_eq!(
        (read.kind, moment(read.occurred_at)),
        (Kind::Run(State::Other), "2026-11-20T10:14:03.120456Z".to_owned())
    );
    assert!(State::Fail.is_final() && !State::Other.is_final());
}

#[test]
fn other_events_are_kept_and_join_nothing() {
    let time = json!("2026-11-20T09:14:03Z");
    let data = event(&json!({"eventTime": time, "dataset": dataset("s3://b", "k", "")})).unwrap();
    assert_eq!((data.kind, data.run_id, data.job), (Kind::Dataset, None, None));
    let job =
        json!({"eventTime": time, "job": {"namespace": "n", "name": "j"}, "inputs": [dataset("s3://b", "k", "")]});
    let job = event(&job).unwrap();
    assert_eq!((job.kind, job.inputs.len(), job.job.unwrap().name.as_str()), (Kind::Job, 0, "j"));
}

#[test]
fn what_is_refused_says_where_and_what_to_do() {
    let changed = |path: &str, value: Value| {
        let mut document = run(json!([dataset("s3://b", "k", "")]), json!([]));
        *document.pointer_mut(path).unwrap() = value;
        event(&document).unwrap_err().to_string()
    };
    for (path, value, error) in [
        ("", json!([]), "event: send a JSON object: a RunEvent, a DatasetEvent or a JobEvent"),
        ("/run", Value::Null, "run: add the run, or the job or dataset that this event is about"),
        ("/run/runId", json!("1"), "run.runId: write a UUID, such as 0193f0a8-7b1e-7c31-9d0a-3f6f4a1c2b11"),
        ("/job", json!(7), "job.namespace: add it, as text that is not empty"),
        ("/job/name", json!(""), "job.name: add it, as text that is not empty"),
        ("/eventTime", json!("yesterday"), "eventTime: write the moment as 2026-11-20T09:14:03.120Z"),
        (
            "/eventType",
            json!("DONE"),
            "eventType: write one of START, RUNNING, COMPLETE, ABORT, FAIL, OTHER, or leave it out",
        ),
        ("/inputs", json!({}), "inputs: write a list of datasets, or leave it out"),
        ("/inputs/0", json!("x"), "inputs[0].namespace: add it, as text that is not empty"),
        ("/inputs/0/name", Value::Null, "inputs[0].name: add it, as text that is not empty"),
    ] {
        assert_eq!(changed(path, value), error);
    }
}

#[test]
fn what_is_doubtful_is_said() {
    let read = |dataset: Value| -> Event { event(&run(json!([dataset]), Value::Null)).unwrap() };
    let mut data = dataset("oci://h.example", "a", &format!("sha256:{A}"));
    data["facets"]["modelkitRegistry_contentIdentity"] = json!({"manifestDigest": format!("sha256:{B}")});
    let contradictory = read(data);
    assert!(contradictory.incomplete && contradictory.inputs.is_empty());
    let mut data = dataset("oci://h.example", "a", "no tag");
    data["facets"]["x"] = json!({"role": "train"});
    data["facets"]["y"] = json!({"role": "test"});
    let disagreeing = read(data);
    assert_eq!(lines(&disagreeing.inputs), ["unstated artifact h.example/a"]);
    assert_eq!(disagreeing.problems.len(), 2);
    assert!(!disagreeing.incomplete);
}
