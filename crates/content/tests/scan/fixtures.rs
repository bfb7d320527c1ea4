//! What real clients pushed (`tests/fixtures`), against what is true of it.

use std::{collections::BTreeMap, fs, path::PathBuf};

use content::{Archive, Facts, State};
use serde_json::Value;

use crate::build::{Scan, scan, sha256};

const CUSTOMERS: &str = "0928bf1b1f52d179722b094f84c80ec2b859f0e1bd13796f8d8c5127755c8d22";
const TRANSACTIONS_2026: &str = "a40d27fe52a4cc5a0e0b0cfb8685ac82c61f2e8e26ce470712c3f5a9e9cab377";

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures"))
}

fn blob(repository: &str, digest: &str) -> Vec<u8> {
    let hash = digest.strip_prefix("sha256:").unwrap();
    fs::read(root().join("oci").join(repository).join("blobs/sha256").join(hash)).unwrap()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The manifests of a repository by tag; those without a tag by digest.
fn manifests(repository: &str) -> BTreeMap<String, Value> {
    let index = json(&fs::read(root().join("oci").join(repository).join("index.json")).unwrap());
    let entries = index["manifests"].as_array().unwrap().iter().map(|entry| {
        let digest = entry["digest"].as_str().unwrap();
        let tag = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or(digest);
        (tag.to_owned(), json(&blob(repository, digest)))
    });
    entries.collect()
}

/// The layers of an artifact.
fn layers(repository: &str, tag: &str) -> Vec<Scan> {
    let manifest = &manifests(repository)[tag];
    let layers = manifest["layers"].as_array().into_iter().flatten();
    layers.map(|layer| scan(&blob(repository, layer["digest"].as_str().unwrap()))).collect()
}

fn repositories() -> Vec<String> {
    let mut names = Vec::new();
    for group in fs::read_dir(root().join("oci")).unwrap() {
        let group = group.unwrap();
        for repository in fs::read_dir(group.path()).unwrap() {
            let name = repository.unwrap().file_name().into_string().unwrap();
            names.push(format!("{}/{name}", group.file_name().into_string().unwrap()));
        }
    }
    names.sort();
    names
}

/// Where a file is found: `repository:tag path`.
fn places(sha256: &str) -> Vec<String> {
    let mut places = Vec::new();
    for repository in repositories() {
        for tag in manifests(&repository).keys() {
            for layer in layers(&repository, tag) {
                let found = layer.files.iter().filter(|file| hex::encode(file.sha256) == sha256);
                places.extend(found.map(|file| format!("{repository}:{tag} {}", file.path.escape_ascii())));
            }
        }
    }
    places
}

#[test]
fn every_layer_is_indexed() {
    let mut seen = 0;
    for repository in repositories() {
        for tag in manifests(&repository).keys() {
            for layer in layers(&repository, tag) {
                assert_eq!(layer.facts.state, State::Indexed, "{repository}:{tag}");
                assert!(layer.facts.contents.is_some() && !layer.files.is_empty(), "{repository}:{tag}");
                assert_eq!(layer.facts.tree.is_some(), layer.facts.form.archive == Archive::Tar, "{repository}:{tag}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 80);
}

#[test]
fn the_leaked_file_is_found_wherever_it_is() {
    assert_eq!(hex::encode(sha256(fs::read(root().join("files/customers.csv")).unwrap())), CUSTOMERS);
    assert_eq!(
        places(CUSTOMERS),
        [
            "adhoc/customers:dump pii/customers.csv",
            "adhoc/customers:dump ",
            "data/customers:2025.10 customers/customers.csv",
            "data/customers:2025.10-gz customers/customers.csv",
            "data/customers:2025.10-mode customers/customers.csv",
            "fraud/detector:1.0 data/train/customers.csv",
            "fraud/detector:1.1 data/train/customers.csv",
            "fraud/detector:champion data/train/customers.csv",
            "fraud/detector:latest data/train/customers.csv",
            "fraud/detector-kit04:1.0 train/customers.csv",
            "fraud/detector-kit17:1.0 data/train/customers.csv",
            "risk/scoring:3.0 inputs/clients.csv",
        ]
    );
    assert_eq!(
        places(TRANSACTIONS_2026),
        [
            "fraud/detector:1.2 data/train/transactions-2026.csv",
            "fraud/detector:challenger data/train/transactions-2026.csv"
        ]
    );
}

fn rungs(facts: &Facts) -> (String, Option<String>, Option<String>) {
    (facts.diff_id.unwrap().to_string(), facts.tree.map(hex::encode), facts.contents.map(hex::encode))
}

#[test]
fn packings_of_one_dataset_agree_as_the_ladder_says() {
    let dataset = |repository, tag| rungs(&layers(repository, tag)[0].facts);
    let plain = dataset("data/customers", "2025.10");
    let gzip = dataset("data/customers", "2025.10-gz");
    let mode = dataset("data/customers", "2025.10-mode");
    let dump = dataset("adhoc/customers", "dump");
    // Computed by another implementation.
    assert_eq!(plain.1.as_deref(), Some("0c7c14103b4362938d80ad10da51a330fd21596ac0ad8a6c7250d541bc6d6466"));
    assert_eq!(plain.2.as_deref(), Some("76283ee82440557b7fe810b81f30254a429e6b4d2b9ec36e26d6ca72fa3dd38b"));
    // Another compression survives all of it, another mode or tool and a renamed folder what is below the tar.
    assert_eq!(gzip, plain);
    for other in [&mode, &dump] {
        assert_ne!(other.0, plain.0);
        assert_eq!((&other.1, &other.2), (&plain.1, &plain.2));
    }
}

#[test]
fn versions_of_the_client_agree_on_trees() {
    // kit 0.4 packs the same files at other paths.
    let (old, new) = (layers("fraud/detector-kit04", "1.0"), layers("fraud/detector", "1.0"));
    assert_eq!(old.len(), new.len());
    for (old, new) in old.iter().zip(&new) {
        assert_ne!(old.facts.diff_id, new.facts.diff_id);
        assert_eq!((old.facts.tree, old.facts.contents), (new.facts.tree, new.facts.contents));
    }
    // What was not touched between versions is the same layer, what was is another dataset.
    let train = |tag| layers("fraud/detector", tag)[3].facts.tree;
    assert_eq!(train("1.0"), train("1.1"));
    assert_ne!(train("1.1"), train("1.2"));
}

#[test]
fn raw_and_packed_weights_agree_on_contents() {
    let weights = |repository, tag, at: usize| layers(repository, tag)[at].facts.contents;
    let packed = weights("risk/scoring", "3.0", 0);
    assert_eq!(weights("risk/scoring-modctl", "3.0", 1), packed);
    assert_eq!(weights("risk/scoring-modctl", "3.0-tar", 1), packed);
    assert_eq!(weights("ai/tiny", "1B-Q4_0", 0), weights("library/tiny", "1b", 0));
}
