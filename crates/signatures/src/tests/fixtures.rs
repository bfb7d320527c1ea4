//! What real clients pushed, signed with `tests/fixtures/cosign.pub`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use oci::{Algorithm, Manifest};

use crate::{Artifact, Signed, Signer, Trust, Unverified, bundle, envelope, simple};

#[test]
fn what_cosign_signed_verifies_and_nothing_else_does() {
    let (trust, nobody) = (trust(), Trust::none());
    let mut seen = Vec::new();
    for manifest in manifests() {
        for layer in &manifest.0.layers {
            let bytes = std::fs::read(blob(&manifest.1, &layer.digest.hex())).unwrap();
            let look =
                |trust: &Trust, bytes: &[u8], annotations: &BTreeMap<String, String>| match layer.media_type.as_str() {
                    "application/vnd.dev.cosign.simplesigning.v1+json" => Some(Ok(simple(trust, bytes, annotations))),
                    "application/vnd.dsse.envelope.v1+json" => Some(envelope(trust, bytes, annotations)),
                    "application/vnd.dev.sigstore.bundle.v0.3+json" => Some(bundle(trust, bytes, Artifact::Unknown)),
                    _ => None,
                };
            let Some(looked) = look(&trust, &bytes, &layer.annotations) else { continue };
            let looked = looked.unwrap();
            let signer = Signer::Key { name: "cosign".to_owned(), fingerprint: trust.keys().next().unwrap().1 };
            assert_eq!(looked.outcome, Ok(Signed { signer, at: None }));
            assert!(!looked.payload.is_empty());
            seen.push((layer.media_type.clone(), looked.payload_type));
            let unknown = look(&nobody, &bytes, &layer.annotations).unwrap().unwrap();
            assert_eq!(unknown.outcome, Err(Unverified::NothingTrusted));
            assert_eq!(unknown.payload, looked.payload);
            // No bit can be changed: not in the payload, its type or the signature.
            for at in (0..bytes.len()).step_by(7) {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1;
                if let Some(Ok(changed)) = look(&trust, &bytes, &layer.annotations)
                    && changed.outcome.is_ok()
                {
                    assert_eq!(changed.payload, looked.payload, "{at}");
                }
            }
        }
    }
    seen.sort();
    let in_toto = "application/vnd.in-toto+json".to_owned();
    let bundle = ("application/vnd.dev.sigstore.bundle.v0.3+json".to_owned(), in_toto.clone());
    let simple = "application/vnd.dev.cosign.simplesigning.v1+json".to_owned();
    let envelope = ("application/vnd.dsse.envelope.v1+json".to_owned(), in_toto);
    assert_eq!(seen, [(simple.clone(), simple), bundle.clone(), bundle, envelope]);
}

fn trust() -> Trust {
    let mut trust = Trust::none();
    trust.add_key("cosign", &std::fs::read(root().join("cosign.pub")).unwrap()).unwrap();
    trust
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

fn blob(layout: &Path, hex: &str) -> PathBuf {
    layout.join("blobs/sha256").join(hex)
}

/// The manifests of the repositories with signatures, and the folders of these.
fn manifests() -> Vec<(Manifest, PathBuf)> {
    let mut manifests = Vec::new();
    for repository in ["fraud/detector", "fraud/disputes", "risk/scoring"] {
        let layout = root().join("oci").join(repository);
        for entry in std::fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            if let Ok(manifest) = Manifest::parse(bytes, None, Algorithm::Sha256) {
                manifests.push((manifest, layout.clone()));
            }
        }
    }
    manifests
}
