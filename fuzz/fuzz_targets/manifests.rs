//! A manifest and its config, of any bytes: `content type NUL manifest NUL config`, the config up to the end. The
//! manifest is refused or kept byte for byte, and always understood in some way.

#![no_main]

use libfuzzer_sys::fuzz_target;
use modelkit::{Config, config_needed, understand};
use oci::{Algorithm, Hasher, Manifest, Shape};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |&byte| byte == 0);
    let content_type = parts.next().and_then(|text| std::str::from_utf8(text).ok()).filter(|text| !text.is_empty());
    let body = parts.next().unwrap_or_default();
    let config = parts.next().unwrap_or_default();
    let manifest = match Manifest::parse(body.to_vec(), content_type, Algorithm::Sha256) {
        Ok(manifest) => manifest,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(manifest.bytes, body);
    assert_eq!(manifest.digest, Hasher::digest(Algorithm::Sha256, body));
    match manifest.shape {
        Shape::Image => assert!(manifest.config.is_some() && manifest.manifests.is_empty()),
        Shape::Index => assert!(manifest.config.is_none() && manifest.layers.is_empty()),
    }
    let _ = manifest.effective_artifact_type();
    let _ = config_needed(&manifest);
    for config in [Config::Bytes(config), Config::None, Config::Unavailable("it was purged")] {
        let kit = understand(&manifest, config);
        assert!(!kit.incomplete || kit.problem.is_some());
        let layers = manifest.layers.len();
        for component in &kit.components {
            assert!(component.layers.iter().all(|&layer| layer < layers), "{component:?}");
        }
        assert_eq!(understand(&manifest, config), kit);
    }
});
