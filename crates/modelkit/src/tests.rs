//! What real and broken artifacts mean.

mod arbitrary;
mod fixtures;
mod neighbours;
mod shapes;

use std::fmt::Write as _;

use oci::{Algorithm, Manifest};
use serde_json::{Value, json};

use crate::{Component, Config, Kit, Target, understand};

fn manifest(body: &Value) -> Manifest {
    Manifest::parse(body.to_string().into_bytes(), None, Algorithm::Sha256).unwrap()
}

/// A digest of 64 equal digits.
fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// A layer whose digest is 64 times `digit`.
fn layer(media_type: &str, digit: char) -> Value {
    json!({"mediaType": media_type, "digest": digest(digit), "size": 1})
}

/// The same with ModelPack's annotation.
fn file(media_type: &str, digit: char, path: &str) -> Value {
    let mut layer = layer(media_type, digit);
    layer["annotations"] = json!({"org.cncf.model.filepath": path});
    layer
}

/// A ModelKit of the shape that kit wrote until 1.9.
fn kit_manifest(layers: &Value) -> Manifest {
    manifest(&json!({
        "schemaVersion": 2,
        "config": layer("application/vnd.kitops.modelkit.config.v1+json", 'c'),
        "layers": layers,
    }))
}

fn kit(layers: &Value, kitfile: &Value) -> Kit {
    understand(&kit_manifest(layers), Config::Bytes(kitfile.to_string().as_bytes()))
}

#[track_caller]
fn assert_renders(kit: &Kit, lines: &[&str]) {
    assert_eq!(render(kit).lines().map(str::trim).collect::<Vec<_>>(), lines);
}

/// All that a kit says, a line each, leaving out what is absent.
fn render(kit: &Kit) -> String {
    let mut text = format!("{}{}\n", kit.kind, if kit.is_model() { ", a model" } else { "" });
    let package = &kit.package;
    let facts = [&package.name, &package.version, &package.description, &package.family];
    let facts: Vec<_> = facts.into_iter().flatten().chain(&package.licences).chain(&package.authors).collect();
    if !facts.is_empty() {
        writeln!(text, "  package {facts:?}").unwrap();
    }
    for component in &kit.components {
        writeln!(text, "  {}", line(component)).unwrap();
    }
    for source in &kit.sources {
        writeln!(text, "  {} {} {:?}", source.relation, source.text, source.revision).unwrap();
    }
    for variant in &kit.variants {
        writeln!(text, "  variant {} {}", variant.child, variant.metadata).unwrap();
    }
    if let Some(problem) = &kit.problem {
        writeln!(text, "  problem: {problem}").unwrap();
    }
    text
}

fn line(component: &Component) -> String {
    let Component { role, position, layers, .. } = component;
    let mut text = format!("{role} {position} {layers:?}");
    for (label, value) in [
        ("name", &component.name),
        ("path", &component.path),
        ("description", &component.description),
        ("licence", &component.licence),
        ("version", &component.version),
        ("framework", &component.framework),
        ("format", &component.format),
        ("type", &component.declared_type),
        ("parameters", &component.parameters_text()),
    ] {
        if let Some(value) = value {
            write!(text, " {label}={value}").unwrap();
        }
    }
    if let Some(remote) = &component.remote {
        match &remote.target {
            Target::Registry(reference) => write!(text, " registry={reference}").unwrap(),
            Target::External(external) => write!(text, " external={external}").unwrap(),
        }
        if let Some(hash) = &remote.hash {
            write!(text, " hash={hash}").unwrap();
        }
    }
    text
}
