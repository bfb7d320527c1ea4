//! Whatever is pushed, `understand` answers.

use std::collections::BTreeSet;

use oci::{Algorithm, Manifest};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::digest;
use crate::{Config, Kind, Role, config_needed, understand};

/// Words that mean something somewhere, so that the readers are reached.
const NAMES: [&str; 27] = [
    "package",
    "model",
    "name",
    "path",
    "parts",
    "parameters",
    "code",
    "datasets",
    "docs",
    "prompts",
    "mcpServers",
    "digest",
    "remotePath",
    "remoteHash",
    "license",
    "authors",
    "version",
    "type",
    "descriptor",
    "config",
    "format",
    "sourceURL",
    "datasetsURL",
    "revision",
    "base_name",
    "model_format",
    "licenses",
];
const TYPES: [&str; 20] = [
    "application/vnd.kitops.modelkit.manifest.v1+json",
    "application/vnd.kitops.modelkit.config.v1+json",
    "application/vnd.kitops.modelkit.model.v1.tar",
    "application/vnd.kitops.modelkit.modelpart.v1.raw",
    "application/vnd.kitops.modelkit.dataset.v1.tar+gzip",
    "application/vnd.kitops.modelkit.code.v1.tar",
    "application/vnd.jozu.model.config.v1+json",
    "application/vnd.cncf.model.manifest.v1+json",
    "application/vnd.cncf.model.config.v1+json",
    "application/vnd.cncf.model.weight.v1.raw",
    "application/vnd.cncf.model.weight.config.v1.tar",
    "application/vnd.cnai.model.dataset.v1.tar",
    "application/vnd.docker.ai.model.config.v0.1+json",
    "application/vnd.docker.ai.gguf.v3",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.ollama.image.model",
    "application/vnd.ollama.image.template",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.dsse.envelope.v1+json",
    "",
];

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        "[a-z.:/@]{0,20}",
        select(vec!['1', '2', '3', '9']).prop_map(digest),
        Just("localhost:5000/a/b:1".to_owned()),
        Just("s3://bucket/key".to_owned()),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), texts().prop_map(Value::from)];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let member = (prop_oneof![9 => select(&NAMES[..]).prop_map(str::to_owned), 1 => ".{0,5}"], inner.clone());
        let object = vec(member, 0..6).prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()));
        prop_oneof![object, vec(inner, 0..5).prop_map(Value::from)]
    })
}

prop_compose! {
    fn manifests()(
        artifact_type in prop::option::of(select(&TYPES[..])),
        config in select(&TYPES[..]),
        layers in vec((select(&TYPES[..]), select(vec!['1', '2', '3']), texts()), 0..6),
        annotation in prop::option::of(prop_oneof![".{0,8}", values().prop_map(|value| value.to_string())]),
    ) -> Manifest {
        let layers = layers.into_iter().map(|(media_type, digit, path)| super::file(media_type, digit, &path));
        let layers: Vec<_> = layers.collect();
        super::manifest(&json!({
            "schemaVersion": 2, "artifactType": artifact_type, "config": super::layer(config, 'c'), "layers": layers,
            "annotations": {"ml.kitops.modelkit.kitfile": annotation},
        }))
    }
}

/// What holds for every kit.
fn check(manifest: &Manifest, config: Config<'_>) -> Result<(), TestCaseError> {
    let kit = understand(manifest, config);
    for role in Role::ALL {
        let positions: Vec<_> = kit.of_role(*role).map(|component| component.position).collect();
        prop_assert_eq!(&positions, &(0..positions.len()).collect::<Vec<_>>());
    }
    for component in &kit.components {
        prop_assert!(component.layers.iter().all(|&layer| layer < manifest.layers.len()));
        prop_assert!(component.layers.is_sorted());
    }
    // Whatever the config says, no layer of a known type is lost: its bytes are in some component.
    if matches!(kit.kind, Kind::ModelKit | Kind::ModelPack) && !crate::detect::is_legacy(manifest) {
        let held: BTreeSet<_> =
            kit.components.iter().flat_map(|c| &c.layers).map(|&i| manifest.layers[i].digest).collect();
        for layer in manifest.layers.iter().filter(|layer| crate::layer::role(layer).is_some()) {
            prop_assert!(held.contains(&layer.digest), "{}", layer.media_type);
        }
    }
    prop_assert_eq!(understand(manifest, config), kit);
    Ok(())
}

proptest! {
    #[test]
    fn any_json_is_understood(manifest in manifests(), config in values()) {
        check(&manifest, Config::Bytes(config.to_string().as_bytes()))?;
    }

    #[test]
    fn any_bytes_are_understood(manifest in manifests(), config in vec(any::<u8>(), 0..64)) {
        check(&manifest, Config::Bytes(&config))?;
        check(&manifest, if config_needed(&manifest).is_some() { Config::Unavailable("gone") } else { Config::None })?;
    }

    #[test]
    fn any_manifest_is_understood(body in values(), config in values()) {
        let mut body = body;
        if let Value::Object(members) = &mut body {
            members.insert("schemaVersion".into(), 2.into());
            members.entry("config").or_insert_with(|| super::layer("application/vnd.cncf.model.config.v1+json", 'c'));
        }
        if let Ok(manifest) = Manifest::parse(body.to_string().into_bytes(), None, Algorithm::Sha256) {
            check(&manifest, Config::Bytes(config.to_string().as_bytes()))?;
        }
    }
}
