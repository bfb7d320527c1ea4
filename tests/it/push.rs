//! Pushing small artifacts of the tests' own making, and the fixtures' layouts.

use std::fs;

use serde_json::{Value, json};

use crate::{
    sample::{blobs_of, layout, sha256},
    wire::{Reply, Wire},
};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const KIT: &str = "application/vnd.kitops.modelkit.manifest.v1+json";
const KIT_CONFIG: &str = "application/vnd.kitops.modelkit.config.v1+json";

/// A client at work on one repository.
pub(crate) struct Repository {
    host: String,
    name: String,
    wire: Wire,
}

impl Repository {
    /// At `address:port`, or over TLS at `https://address:port`.
    pub(crate) fn new(origin: &str, name: &str) -> Self {
        let host = origin.trim_start_matches("https://");
        Self { host: host.into(), name: name.into(), wire: Wire::new(origin) }
    }

    /// Any request below the repository's name: `"DELETE", "/manifests/1.0"`.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let (name, host) = (&self.name, &self.host);
        let headers: String = headers.iter().map(|(name, value)| format!("\r\n{name}: {value}")).collect();
        let length = body.len();
        let head = format!("{method} /v2/{name}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}{headers}");
        self.wire.send(&head, [body])
    }

    /// Uploads a blob in one request, and says what a manifest says of it.
    pub(crate) fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        self.send("POST", &format!("/blobs/uploads/?digest={digest}"), &[], bytes).expect(201);
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Pushes a manifest as it stands. Its digest.
    pub(crate) fn bytes(&mut self, reference: &str, media_type: &str, bytes: &[u8]) -> String {
        let path = format!("/manifests/{}", if reference.is_empty() { sha256(bytes) } else { reference.into() });
        self.send("PUT", &path, &[("Content-Type", media_type)], bytes).expect(201);
        sha256(bytes)
    }

    /// Pushes an image manifest. Its digest.
    pub(crate) fn manifest(&mut self, reference: &str, manifest: &Value) -> String {
        self.bytes(reference, MANIFEST, manifest.to_string().as_bytes())
    }

    /// Pushes an artifact of raw layers, as `oras push` does. Its digest.
    pub(crate) fn artifact(&mut self, reference: &str, layers: &[&[u8]]) -> String {
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}");
        let layers: Vec<_> =
            layers.iter().map(|bytes| self.blob("application/vnd.oci.image.layer.v1.tar", bytes)).collect();
        self.manifest(
            reference,
            &json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.test",
                "config": config, "layers": layers,
            }),
        )
    }

    /// Pushes a ModelKit with a model layer of these bytes and a dataset `train` of those. Its digest.
    pub(crate) fn kit(&mut self, reference: &str, model: &[u8], dataset: &[u8]) -> String {
        self.kit_like(reference, &self.name.clone(), model, dataset)
    }

    /// The same as [`Repository::kit`] would push to another repository.
    pub(crate) fn kit_like(&mut self, reference: &str, name: &str, model: &[u8], dataset: &[u8]) -> String {
        let mut layer = |kind: &str, path: &str, bytes: &[u8]| {
            let mut layer = self.blob(&format!("application/vnd.kitops.modelkit.{kind}.v1.raw"), bytes);
            layer["annotations"] = json!({"org.cncf.model.filepath": path});
            layer
        };
        let model = layer("model", "model.bin", model);
        let dataset = layer("dataset", "train.csv", dataset);
        let entry =
            |name: &str, path: &str, layer: &Value| json!({"name": name, "path": path, "digest": layer["digest"]});
        let kitfile = json!({
            "manifestVersion": "1.0.0", "package": {"name": name, "version": "1"},
            "model": entry("m", "model.bin", &model), "datasets": [entry("train", "train.csv", &dataset)],
        });
        self.kit_of(reference, &kitfile, &[model, dataset])
    }

    /// Pushes a ModelKit with only this Kitfile, such as one that is made from another. Its digest.
    pub(crate) fn kit_of(&mut self, reference: &str, kitfile: &Value, layers: &[Value]) -> String {
        let config = self.blob(KIT_CONFIG, kitfile.to_string().as_bytes());
        self.manifest(
            reference,
            &json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": KIT, "config": config, "layers": layers,
            }),
        )
    }

    /// Pushes a model that is derived from `parent`. Its digest.
    pub(crate) fn child(&mut self, reference: &str, parent: &str) -> String {
        let kitfile = json!({"manifestVersion": "1.0.0", "model": {"name": "m", "path": parent}});
        self.kit_of(reference, &kitfile, &[])
    }

    pub(crate) fn delete(&mut self, reference: &str) {
        self.send("DELETE", &format!("/manifests/{reference}"), &[], b"").expect(202);
    }
}

/// Pushes an OCI layout of the fixtures as a client would: blobs, then manifests, children before the indexes that list
/// them. Each must come back byte for byte.
pub(crate) fn push_layout(host: &str, name: &str) {
    let layout = layout(name);
    let blobs = blobs_of(&layout);
    let mut repository = Repository::new(host, name);
    for bytes in blobs.values() {
        repository.blob("", bytes);
    }
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let mut entries = index["manifests"].as_array().unwrap().clone();
    let is_list =
        |entry: &Value| ["index", "list"].iter().any(|word| entry["mediaType"].as_str().unwrap().contains(word));
    entries.sort_by_key(is_list);
    for entry in &entries {
        let digest = entry["digest"].as_str().unwrap();
        let reference = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or(digest);
        repository.bytes(reference, entry["mediaType"].as_str().unwrap(), &blobs[digest]);
        let back = repository.send("GET", &format!("/manifests/{reference}"), &[], b"").expect(200);
        assert_eq!(back.header("docker-content-digest"), Some(digest));
        assert_eq!(back.body, blobs[digest], "{name}:{reference} is served byte for byte");
    }
}

/// (repository, tags, distance, grade) of every model, in the answer's order.
pub(crate) fn models(answer: &Value) -> Vec<(String, String, u64, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let models = answer["models"].as_array().unwrap().iter();
    let tags = |model: &Value| model["tags"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(" ");
    models.map(|m| (text(&m["repository"]), tags(m), m["distance"].as_u64().unwrap(), text(&m["grade"]))).collect()
}

/// The repositories of an answer's holders, in its order.
pub(crate) fn holders(answer: &Value) -> Vec<&str> {
    answer["holders"].as_array().unwrap().iter().map(|holder| holder["repository"].as_str().unwrap()).collect()
}
