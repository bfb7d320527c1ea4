//! What is not of KitOps or ModelPack, and how all kinds are told apart.

use serde_json::{Value, json};

use super::{assert_renders, file, layer, manifest};
use crate::{Config, Kind, config_needed, understand};

#[test]
fn docker_models() {
    let media_type = |kind: &str| format!("application/vnd.docker.ai.{kind}");
    let model = manifest(&json!({
        "schemaVersion": 2,
        "config": layer(&media_type("model.config.v0.2+json"), 'c'),
        "layers": [
            file(&media_type("safetensors"), '1', "model-1.safetensors"),
            file(&media_type("model.file"), '2', "config.json"),
            layer(&media_type("mmproj"), '3'),
            layer(&media_type("gguf.v3.lora"), '4'),
            layer(&media_type("chat.template.jinja"), '5'),
            layer(&media_type("license"), '6'),
            layer(&media_type("license"), '7'),
            layer(&media_type("vllm.config.tar"), '8'),
        ],
    }));
    let config = br#"{"config":{"format":"safetensors","quantization":"F16"},"descriptor":{"created":"2026-01-01"}}"#;
    assert_renders(
        &understand(&model, Config::Bytes(config)),
        &[
            "docker-model, a model",
            r#"model 0 [0, 2, 3] format=safetensors parameters={"format":"safetensors","quantization":"F16"}"#,
            "part 0 [1] name=config.json path=config.json type=model.file",
            "prompt 0 [4] name=chat.template.jinja type=chat.template.jinja",
            "docs 0 [5] name=license type=license",
            "docs 1 [6] name=license type=license",
            "part 1 [7] name=vllm.config.tar type=vllm.config.tar",
        ],
    );
    let broken = understand(&model, Config::Bytes(br#"{"config":5}"#));
    assert_eq!(broken.problem.as_deref(), Some("config is not an object"));
    assert!(broken.is_model());
}

#[test]
fn ollama_models() {
    let media_type = |kind: &str| format!("application/vnd.ollama.image.{kind}");
    let mut weights = layer(&media_type("model"), '1');
    weights["from"] = "llama3:8b".into();
    let mut tensor = layer(&media_type("tensor"), '2');
    tensor["name"] = "blk.0".into();
    let mut json = layer(&media_type("json"), '3');
    json["name"] = "config.json".into();
    let kinds = ["adapter", "projector", "template", "system", "params", "messages", "license"];
    let mut layers = vec![weights, tensor, json];
    layers.extend(kinds.iter().zip(('4'..='9').chain('a'..='f')).map(|(kind, digit)| layer(&media_type(kind), digit)));
    let model = manifest(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": layer("application/vnd.docker.container.image.v1+json", 'c'),
        "layers": layers,
    }));
    let config = br#"{"model_format":"gguf","model_family":"llama","base_name":"llama3","architecture":"amd64"}"#;
    assert_renders(
        &understand(&model, Config::Bytes(config)),
        &[
            "ollama, a model",
            r#"package ["llama"]"#,
            r#"model 0 [0, 1] format=gguf parameters={"model_family":"llama","model_format":"gguf"}"#,
            "part 0 [2] name=config.json type=json",
            "part 1 [3] name=adapter type=adapter",
            "part 2 [4] name=projector type=projector",
            "prompt 0 [5] name=template type=template",
            "prompt 1 [6] name=system type=system",
            "part 3 [7] name=params type=params",
            "prompt 2 [8] name=messages type=messages",
            "docs 0 [9] name=license type=license",
            "base llama3 None",
            "base llama3:8b None",
        ],
    );
}

#[test]
fn kinds() {
    let image = "application/vnd.oci.image.config.v1+json";
    let tar = "application/vnd.oci.image.layer.v1.tar";
    let bom = "application/vnd.cyclonedx+json";
    let kit = "application/vnd.kitops.modelkit.config.v1+json";
    let subject = layer("application/vnd.oci.image.manifest.v1+json", 'a');
    let of = |artifact_type: Option<&str>, config: &str, layers: &[&str], subject: Option<&Value>| {
        let layers: Vec<_> = layers.iter().map(|media_type| layer(media_type, '1')).collect();
        manifest(&json!({
            "schemaVersion": 2, "artifactType": artifact_type, "config": layer(config, 'c'), "layers": layers,
            "subject": subject,
        }))
    };
    for (manifest, kind, needed) in [
        (of(None, image, &[tar], None), Kind::Image, false),
        (of(None, image, &[tar], Some(&subject)), Kind::Attachment, false),
        (of(None, image, &["application/vnd.dsse.envelope.v1+json"], None), Kind::Attachment, false),
        (of(None, image, &["application/vnd.in-toto+json", bom], None), Kind::Attachment, false),
        (of(None, "application/vnd.cncf.notary.signature", &[], None), Kind::Attachment, false),
        (of(Some("application/vnd.dev.sigstore.bundle.v0.3+json"), "", &[], None), Kind::Attachment, false),
        (of(None, "", &[bom, tar], None), Kind::Artifact, false),
        (of(None, "application/vnd.cncf.helm.config.v1+json", &[tar], None), Kind::Artifact, false),
        (of(None, kit, &[], Some(&subject)), Kind::ModelKit, true),
        (of(Some("application/vnd.kitops.modelkit.manifest.v1+json"), "", &[], None), Kind::ModelKit, true),
        (of(None, "application/vnd.jozu.model.config.v1+json", &[tar], None), Kind::ModelKit, false),
        (of(None, "application/vnd.cnai.model.config.v1+json", &[], None), Kind::ModelPack, true),
        (of(None, "application/vnd.docker.ai.model.config.v0.1+json", &[], None), Kind::DockerModel, true),
        (of(None, image, &["application/vnd.ollama.image.model"], None), Kind::Ollama, true),
    ] {
        let kit = understand(&manifest, Config::Unavailable("gone"));
        assert_eq!((kit.kind, config_needed(&manifest).is_some()), (kind, needed), "{manifest:?}");
        assert_eq!(kit.is_model(), kind == Kind::Ollama);
        let legacy = kit.problem.as_deref().is_some_and(|problem| problem.contains("older than 0.1"));
        assert_eq!(kit.problem.is_some(), needed || legacy);
    }
}

#[test]
fn a_kit_index_describes_its_children() {
    let mut described = layer("application/vnd.oci.image.manifest.v1+json", '2');
    described["modelMetadata"] = json!({"quantization": "int8"});
    let plain = layer("application/vnd.oci.image.manifest.v1+json", '1');
    let index = |children: Value| {
        manifest(&json!({
            "schemaVersion": 2,
            "mediaType": oci::media_type::OCI_INDEX,
            "artifactType": oci::media_type::KIT_INDEX,
            "manifests": children,
        }))
    };
    let kit = understand(&index(json!([plain, described])), Config::None);
    assert_renders(&kit, &["modelkit-index", r#"variant 1 {"quantization":"int8"}"#]);
    assert_renders(&understand(&index(json!([])), Config::None), &["modelkit-index"]);
}
