//! The story that real clients pushed (fixtures/README.md): every manifest of it, as one text.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use oci::{Algorithm, Manifest};
use serde_json::Value;

use super::render;
use crate::{Config, Kit, Role, Target, config_needed, understand};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/oci")
}

fn blob(layout: &Path, digest: &str) -> Vec<u8> {
    fs::read(layout.join("blobs").join(digest.replace(':', "/"))).unwrap()
}

/// The (tags, media type, digest) of a layout, each digest once.
fn entries(layout: &Path) -> Vec<(Vec<String>, String, String)> {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let mut entries: Vec<(Vec<String>, String, String)> = Vec::new();
    for entry in index["manifests"].as_array().unwrap() {
        let digest = entry["digest"].as_str().unwrap().to_owned();
        let tag = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().map(str::to_owned);
        match entries.iter_mut().find(|(.., known)| *known == digest) {
            Some((tags, ..)) => tags.extend(tag),
            None => {
                let media_type = entry["mediaType"].as_str().unwrap().to_owned();
                entries.push((tag.into_iter().collect(), media_type, digest));
            }
        }
    }
    entries
}

fn read(layout: &Path, media_type: &str, digest: &str) -> Kit {
    let manifest = Manifest::parse(blob(layout, digest), Some(media_type), Algorithm::Sha256).unwrap();
    match config_needed(&manifest) {
        Some(config) => understand(&manifest, Config::Bytes(&blob(layout, &config.digest.to_string()))),
        None => understand(&manifest, Config::None),
    }
}

fn tagged(repository: &str, tag: &str) -> Kit {
    let layout = root().join(repository);
    let entries = entries(&layout);
    let (_, media_type, digest) = entries.iter().find(|(tags, ..)| tags.iter().any(|known| known == tag)).unwrap();
    read(&layout, media_type, digest)
}

#[test]
fn every_fixture_means_what_it_should() {
    let mut layouts = BTreeSet::new();
    for group in fs::read_dir(root()).unwrap() {
        layouts.extend(fs::read_dir(group.unwrap().path()).unwrap().map(|layout| layout.unwrap().path()));
    }
    let mut text = String::new();
    for layout in layouts {
        let repository = layout.strip_prefix(root()).unwrap().display();
        for (tags, media_type, digest) in entries(&layout) {
            let tags = if tags.is_empty() { "(no tag)".to_owned() } else { tags.join(" ") };
            writeln!(text, "{repository} {tags} {}", &digest[7..15]).unwrap();
            writeln!(text, "{}", render(&read(&layout, &media_type, &digest))).unwrap();
        }
    }
    // Shown whole when they differ, so that the golden file can be replaced after reading it.
    assert!(text == include_str!("fixtures.txt"), "{text}");
}

#[test]
fn kits_of_all_ages_are_the_same_kit() {
    let names = |kit: &Kit| -> Vec<_> {
        let entries = kit.components.iter();
        entries.map(|c| (c.role, c.position, c.name.clone(), c.path.clone(), c.layers.clone())).collect()
    };
    let today = tagged("fraud/detector", "1.0");
    assert_eq!(tagged("fraud/detector-kit17", "1.0"), today);
    assert_eq!(names(&tagged("fraud/detector-kit04", "1.0")), names(&today));
}

#[test]
fn lineage_of_the_story() {
    let disputes = tagged("fraud/disputes", "1.0");
    let parents: Vec<_> = disputes.parents().map(|(_, remote)| remote.text.as_str()).collect();
    assert_eq!(parents, ["localhost:5000/fraud/detector:1.1"]);
    assert_eq!(disputes.of_role(Role::Part).count(), 1);
    assert!(tagged("fraud/alias", "1.0").is_model());

    let streaming = tagged("fraud/streaming", "2.0");
    assert_eq!(streaming.parents().count(), 0);
    let remotes: Vec<_> = streaming.remote_datasets().collect();
    assert!(matches!(&remotes[0].1.target, Target::External(text) if text.starts_with("s3://lake/")));
    assert!(matches!(&remotes[1].1.target, Target::Registry(reference) if reference.digest.is_some()));

    // Holds the leaked file, but is no model.
    assert!(!tagged("data/customers", "2025.10").is_model());
    assert_eq!(tagged("fraud/detector", "1.2").parameters().unwrap()["training"]["epochs"], 5);
}
