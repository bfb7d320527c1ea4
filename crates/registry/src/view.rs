//! Answers as they are written: plain structs that serialise to the JSON of `/api/v1`.

mod audit;
mod pulls;

use std::collections::BTreeSet;

use index::{Reader, completeness};
use oci::Digest;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

pub use self::{
    audit::{Audit, Record},
    pulls::{Pull, PullOf, Pulls},
};

/// Who is affected by content, with evidence, and how sure that is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Impact {
    /// The question as it was understood.
    pub query: Value,
    /// Whether everything was asked, or only what the caller may read.
    pub scope: Scope,
    /// What the answer could know.
    pub completeness: Completeness,
    /// Asked-for files that are in so many repositories that they make no match by themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ubiquitous: Vec<Ubiquitous>,
    /// The models affected. If one page holds all, by distance, repository and digest; else first those that hold the content,
    /// in the order in which they came to, and then the others by distance, repository and digest.
    pub models: Vec<Model>,
    /// If asked for, and the page holds all models: those that are not affected as far as anybody says, and have the same
    /// weights as one that is, share at least half of their tensors with it, or are adapters of it, or it is one of them. The
    /// first hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<Vec<Matched>>,
    /// The other artifacts that hold the content, the first hundred of them, with the first page.
    pub holders: Vec<Holder>,
    /// How many more artifacts hold it, on the first page and if that was counted; `/api/v1/holders` has them all.
    pub more_holders: Option<u64>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// All models that are affected, by their digests alone.
#[derive(Debug, Clone)]
pub struct Affected {
    /// The question as it was understood.
    pub query: Value,
    /// Whether everything was asked, or only what the caller may read.
    pub scope: Scope,
    /// What the answer could know.
    pub completeness: Completeness,
    /// As in [`Impact`].
    pub ubiquitous: Vec<Ubiquitous>,
    /// The models and their distances, in no order.
    pub models: Vec<(Digest, u32)>,
    /// The other artifacts that hold the content.
    pub holders: BTreeSet<Digest>,
}

/// Whose registry an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Every repository.
    All,
    /// The repositories that the caller may read.
    Readable,
}

impl Scope {
    pub(crate) fn of(reader: Reader) -> Self {
        if reader == Reader::ALL { Self::All } else { Self::Readable }
    }
}

/// What an answer could know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Completeness {
    /// Whether nothing is missing in the registry.
    pub exact: bool,
    /// Layers by how far the registry has come with them.
    pub layers: LayerCounts,
    /// References that should name something in this registry and do not.
    pub unresolved_references: u64,
    /// Uses of artifacts of this registry that do not say which version.
    pub unknown_versions: u64,
    /// Kits of which something could not be understood (their `problem` says what): they may be made from anything.
    pub incomplete_kits: u64,
    /// Claims whose statement says more than could be read of it (their `problem` says what).
    pub incomplete_claims: u64,
    /// What lies outside this registry and was not looked at.
    pub outside: Outside,
}

impl From<completeness::Counts> for Completeness {
    fn from(counts: completeness::Counts) -> Self {
        Self {
            exact: counts.missing() == 0,
            layers: counts.into(),
            unresolved_references: counts.unresolved_references,
            unknown_versions: counts.unknown_versions,
            incomplete_kits: counts.incomplete_kits,
            incomplete_claims: counts.incomplete_claims,
            outside: Outside { remote_datasets: counts.remote_datasets, external_parents: counts.external_parents },
        }
    }
}

/// Layers by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LayerCounts {
    /// Wholly known.
    pub indexed: u64,
    /// Still to be scanned.
    pub pending: u64,
    /// Known in part.
    pub partial: u64,
    /// Not to be looked into.
    pub opaque: u64,
    /// Failed for now.
    pub failed: u64,
    /// Gone before they were scanned.
    pub purged: u64,
    /// Known, but by an older scanner.
    pub outdated: u64,
}

impl From<completeness::Counts> for LayerCounts {
    fn from(counts: completeness::Counts) -> Self {
        let completeness::Counts { indexed, pending, partial, opaque, failed, purged, outdated, .. } = counts;
        Self { indexed, pending, partial, opaque, failed, purged, outdated }
    }
}

/// What lies outside the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Outside {
    /// Datasets that kits refer to.
    pub remote_datasets: u64,
    /// Models that kits were made from.
    pub external_parents: u64,
}

/// A model that is affected.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Model {
    /// Where it is, or was.
    pub repository: String,
    /// Its digest.
    pub digest: String,
    /// What it is: `modelkit`, `modelpack`, `docker-model`, `ollama`.
    pub kind: String,
    /// The name in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `tagged`, `untagged` or `deleted`.
    pub state: &'static str,
    /// The tags that name it.
    pub tags: Vec<String>,
    /// The tags that named it once.
    pub past_tags: Vec<String>,
    /// The indexes of the repository that list it.
    pub indexes: Vec<String>,
    /// When it was pushed (RFC 3339).
    pub pushed_at: String,
    /// Who pushed it.
    pub pushed_by: String,
    /// Who signed it.
    pub signed_by: Vec<String>,
    /// How many derivations away from the content it is; 0 holds or uses it itself.
    pub distance: u32,
    /// The grade of its nearest path, the best one of these: `attested`, `declared`, `packaged` or `matched`. One that is longer may
    /// have a better grade: a question with `grade` has only such.
    pub grade: &'static str,
    /// Every way at distance 0, else one best path from the model to the content; the first hundred steps.
    pub evidence: Vec<Evidence>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_evidence: u64,
    /// Who pulled its manifest, with `pulls=true`: the newest ten. Who pulled only blobs that it has is not named, for other
    /// manifests have them too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulls: Option<Vec<Pull>>,
    /// How many more pulls are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_pulls: Option<u64>,
}

/// Another artifact that holds the content.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Holder {
    /// Where it is, or was.
    pub repository: String,
    /// Its digest.
    pub digest: String,
    /// What it is, for example `modelkit` (of a dataset), `image`, `artifact`.
    pub kind: String,
    /// The name in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `tagged`, `untagged` or `deleted`.
    pub state: &'static str,
    /// The tags that name it.
    pub tags: Vec<String>,
    /// The tags that named it once.
    pub past_tags: Vec<String>,
    /// When it was pushed (RFC 3339).
    pub pushed_at: String,
    /// Who pushed it.
    pub pushed_by: String,
    /// How it holds the content, the first hundred ways.
    pub evidence: Vec<Evidence>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_evidence: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One step of evidence: content that is held, or an edge that somebody declared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Evidence {
    /// How good it is; a holder's has no grade, for nothing says that the content was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<&'static str>,
    /// `packaged_with`, `trained_on`, `derived_from`, `built_from`, or `depends_on` where nobody says how; what is no model only `holds` the content; what was asked about `is` it.
    pub edge: &'static str,
    /// The rungs of identity that hold, the strongest first: `layer`, `tar`, `tree`, `contents`, `file`, `overlap`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rungs: Vec<&'static str>,
    /// How many files are shared, where files were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// The file, where many were asked for, or one by another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The MD5 of the file, where that alone says that it is what was asked for: somebody may have made two files of one MD5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// The component that has it, or that declares the edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentName>,
    /// The layer that holds the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The file's path in the layer, else what the manifest calls the layer; bytes that are not UTF-8 are shown as U+FFFD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The reference as it was declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// How the statement calls what is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// Whether the target came after the reference.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Whether the reference names no host and was tried here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub assumed: bool,
    /// What is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// What is used, where that is in no registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<String>,
    /// When it happened, by the producer's word (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<String>,
    /// Who says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
}

/// What something was made from, and what was made from it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Lineage {
    /// The question as it was understood.
    pub query: Value,
    /// The `id` of the node that was asked about.
    pub id: String,
    /// Whether everything was asked, or only what the caller may read.
    pub scope: Scope,
    /// What the answer could know.
    pub completeness: Completeness,
    /// What the edges of this page lead from and to, the nearest first; on the first page also what was asked about.
    pub nodes: Vec<LineageNode>,
    /// Who was made from what: first the edges to ancestors, then those from descendants, each by their steps.
    pub edges: Vec<LineageEdge>,
    /// How many edges all pages have together.
    pub all_edges: u64,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Something in a lineage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LineageNode {
    /// Its digest, or its identity outside of the registry.
    pub id: String,
    /// What it is, for example `modelkit`, `image`; `external` where it is in no registry, `unknown` where nothing of this digest is
    /// here or may be read.
    pub kind: String,
    /// Whether it is a model.
    pub is_model: bool,
    /// The name in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it is, or was; the first five places.
    pub places: Vec<LineagePlace>,
    /// In how many more repositories it is, or was.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_places: u64,
    /// The datasets that a model has beside it, in its own layers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packaged_with: Vec<ComponentName>,
    /// Who signed it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
    /// How many steps up to it, if it is an ancestor; 0 is what was asked about. What an index lists is no step away from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<u32>,
    /// How many steps down to it, if it is a descendant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<u32>,
    /// How many edges of all pages lead from it, to what it was made from.
    pub edges_from: u64,
    /// How many lead to it.
    pub edges_to: u64,
}

/// A repository that has, or had, something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LineagePlace {
    /// Its name.
    pub repository: String,
    /// The tags that name it there.
    pub tags: Vec<String>,
    /// `tagged`, `untagged` or `deleted`.
    pub state: &'static str,
}

/// That something was made from something else, by somebody's word; or that an index lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LineageEdge {
    /// What was made, or the index: the `id` of its node.
    pub from: String,
    /// What it was made from, or is listed.
    pub to: String,
    /// `trained_on`, `derived_from`, `built_from`, or `depends_on` where nobody says how; `tested_on` and `packaged_with`, which are not
    /// followed further; `lists` for what is in an index.
    pub kind: &'static str,
    /// How good the evidence is: `attested`, `declared`, `packaged` or `matched`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<&'static str>,
    /// The component that declares it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentName>,
    /// How the statement calls what is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// The reference as it was declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    /// Whether the target came after the reference.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Whether the reference names no host and was tried here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub assumed: bool,
    /// When the registry came to know of it (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<String>,
    /// When it happened, by the producer's word (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<String>,
    /// Who says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
}

/// All of a lineage, without what explains it.
#[derive(Debug, Clone)]
pub struct WholeLineage {
    /// The question as it was understood.
    pub query: Value,
    /// What was asked about.
    pub id: String,
    /// Whether everything was asked, or only what the caller may read.
    pub scope: Scope,
    /// What the answer could know.
    pub completeness: Completeness,
    /// The nodes.
    pub nodes: Vec<WholeNode>,
    /// The edges, in the order of [`Lineage`].
    pub edges: Vec<WholeEdge>,
}

/// As in [`LineageNode`].
#[derive(Debug, Clone, Serialize)]
pub struct WholeNode {
    /// Its digest or identity.
    #[serde(rename = "node")]
    pub id: String,
    /// Whether it is a model.
    pub is_model: bool,
    /// How many steps up to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<u32>,
    /// How many steps down to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<u32>,
}

/// As in [`LineageEdge`].
#[derive(Debug, Clone, Copy)]
pub struct WholeEdge {
    /// The number of the node that it leads from.
    pub from: usize,
    /// The number of the one that it leads to.
    pub to: usize,
    /// What it says.
    pub kind: &'static str,
    /// How good the evidence is.
    pub grade: Option<&'static str>,
}

/// Files that were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Files {
    /// Each in each layer that has it.
    pub files: Vec<File>,
    /// How many layers are still to be scanned, in which there may be more.
    pub layers_pending: u64,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// A file in a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct File {
    /// Its SHA-256.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its path in the layer, with `!` before what is inside of a file; where the layer is the file, what a manifest calls it.
    pub path: String,
    /// The layer.
    pub layer: String,
    /// Some of the manifests that have the layer.
    pub holders: Vec<Place>,
    /// How many more have it.
    pub more_holders: u64,
}

/// A file that nearly everybody has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Ubiquitous {
    /// Its SHA-256.
    pub file: String,
    /// In how many repositories it is, at least.
    pub repositories: u64,
}

/// How much of what was asked for is there. Ubiquitous files that were asked for do not count.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Overlap {
    /// How many distinct files both have. Of an archive or a compressed file what is in it counts, and not the file itself.
    pub common: u64,
    /// How many were asked for.
    pub asked: u64,
    /// How many the component has, or the artifact outside of components.
    pub candidate: u64,
    /// The share of those asked for, from 0 to 1.
    pub of_asked: f64,
    /// The share of those that the component has.
    pub of_candidate: f64,
}

/// What an edge points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Target {
    /// Its digest.
    pub digest: String,
}

/// Where an edge comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Claim {
    /// What kind of claim it is: `kitfile`, `statement`, `event`, `model_card`, `assertion`, `adapter_config`.
    pub kind: &'static str,
    /// Its number, by which `/api/v1/claims/{id}` shows it.
    pub id: i64,
    /// Who made it: whoever pushed or sent it.
    pub by: String,
    /// What its statement is written in: `in-toto`, `cyclonedx`, `spdx`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The type of the statement's predicate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
    /// Who signed the statement, where that is verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

/// A component, by role and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ComponentName {
    /// Its role: `model`, `part`, `dataset`, `code`, `docs`, `prompt`, `mcp`.
    pub role: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A page of repositories.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Repositories {
    /// The repositories, by name.
    pub repositories: Vec<Repository>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// A repository in a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// How many tags it has.
    pub tags: u64,
    /// How many manifests it has.
    pub manifests: u64,
    /// When its first push was (RFC 3339).
    pub created_at: String,
}

/// A page of what is in a repository, the latest push first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Versions {
    /// The repository.
    pub repository: String,
    /// As of when, if a moment was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// What is, or was, in it.
    pub versions: Vec<Version>,
    /// The components of all these, each with its version in each of them.
    pub matrix: Vec<ComponentRow>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// A component in the kits of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ComponentRow {
    /// What it is in a kit; `parameters` are a component too.
    pub role: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its path, where it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// In the order of the kits: `v1`, `v2`, …, `pending` while it is not scanned, or null where the kit has none.
    pub versions: Vec<Option<String>>,
}

/// Which version of a component a kit has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ComponentVersion {
    /// What it is in the kit; `parameters` are a component too.
    pub role: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its path, where it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `v1`, `v2`, …: which of the distinct contents that it ever had in this repository, in the order of their first push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it is still to be scanned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
}

/// One manifest of a repository.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Version {
    /// Its digest.
    pub digest: String,
    /// The tags that name it.
    pub tags: Vec<String>,
    /// What it is.
    pub kind: String,
    /// Whether it is a model.
    pub is_model: bool,
    /// The name in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it was pushed (RFC 3339).
    pub pushed_at: String,
    /// Who pushed it.
    pub pushed_by: String,
    /// Which versions of its components it has.
    pub component_versions: Vec<ComponentVersion>,
    /// Its components.
    pub components: Vec<Component>,
}

/// A component of a kit: role, name, path, parameters, and either layers (positions in the kit's list) or `remote`.
pub type Component = Value;

/// One kit, whole.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Kit {
    /// Where it is, or was.
    pub repository: String,
    /// Its digest.
    pub digest: String,
    /// The media type of its manifest.
    pub media_type: String,
    /// What it is.
    pub kind: String,
    /// Whether it is a model.
    pub is_model: bool,
    /// `tagged`, `untagged` or `deleted`.
    pub state: &'static str,
    /// The tags that name it.
    pub tags: Vec<String>,
    /// The tags that named it once.
    pub past_tags: Vec<String>,
    /// The indexes of the repository that list it.
    pub indexes: Vec<String>,
    /// What it says about itself: name, version, description, licences, authors.
    pub package: Value,
    /// Its components.
    pub components: Vec<Component>,
    /// Its layers and what is known of their inside.
    pub layers: Vec<KitLayer>,
    /// What of it could not be understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When it was pushed (RFC 3339).
    pub pushed_at: String,
    /// Who pushed it.
    pub pushed_by: String,
}

/// A layer of a kit.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KitLayer {
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// The media type that the manifest gives it.
    pub media_type: String,
    /// What the manifest calls the file or folder in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `indexed`, `pending`, `partial`, `opaque`, `failed` or `purged`.
    pub state: &'static str,
    /// Why it is in that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What its bytes are: `raw`, `tar`, `tar+gzip`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    /// The digest of its uncompressed bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<String>,
    /// Its tree identity (hexadecimal).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// Its contents identity (hexadecimal).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<String>,
    /// How many files are in it.
    pub files: u64,
    /// How many uncompressed bytes.
    pub bytes: u64,
    /// How many entries are links, devices or other odd things.
    pub skipped: u64,
}

/// A page of what is not wholly known.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Coverage {
    /// Whether everything was looked at, or only what the caller may read.
    pub scope: Scope,
    /// All of it, counted.
    pub completeness: Completeness,
    /// The layers, kits and references that are not wholly known.
    pub gaps: Vec<Gap>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// A layer, a kit or a reference that is not wholly known.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Gap {
    /// Of a layer: `pending`, `partial`, `opaque`, `failed`, `purged`, or `indexed` when it is only outdated; of a kit
    /// `incomplete`; of a reference `unresolved`; of a claim `unread`.
    pub state: &'static str,
    /// The digest of the layer, of the manifest, or of the statement.
    pub digest: String,
    /// The size of a layer in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The reference as it was declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The claim, as `/api/v1/claims` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<i64>,
    /// Whether an older scanner saw the layer; a newer one will, unless its bytes are gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub outdated: bool,
    /// The version of the scanner that saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scanner: Option<i32>,
    /// Why it is in that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when: the last whole scan, or when the scan was asked for, or the push (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How often the scan that is to come was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// When it is due; missing while it is being done (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<String>,
    /// Where it is, or was: the first three.
    pub places: Vec<Place>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_places: u64,
}

/// An artifact in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Place {
    /// The repository.
    pub repository: String,
    /// The manifest's digest.
    pub digest: String,
    /// A tag that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whether it was deleted there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// What a search found.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Found {
    /// The question.
    pub query: String,
    /// Whether everything was searched, or only what the caller may read.
    pub scope: Scope,
    /// Kits that were pushed before there was a search and are not found by their words yet.
    pub kits_pending: u64,
    /// Kits with more words or parameters than are kept: they may not be found by the last ones.
    pub kits_cut: u64,
    /// Layers that are still to be scanned, where the question may name a file: what is in them is not found yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers_pending: Option<u64>,
    /// How many kits fit less well than the ten thousand that are shown page by page; a further word brings them in.
    pub unranked: u64,
    /// The kits: deleted ones last, then the best first, then the latest push.
    pub kits: Vec<FoundKit>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// A kit that a search found, in one repository.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FoundKit {
    /// Where it is, or was.
    pub repository: String,
    /// Its digest.
    pub digest: String,
    /// What it is.
    pub kind: String,
    /// Whether it is a model.
    pub is_model: bool,
    /// The name in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `tagged`, `untagged` or `deleted`.
    pub state: &'static str,
    /// The tags that name it.
    pub tags: Vec<String>,
    /// When it was pushed (RFC 3339).
    pub pushed_at: String,
    /// Who pushed it.
    pub pushed_by: String,
    /// What it was found by: `name`, `repository`, `author`, `licence`, `framework`, `family`, `format`, `version`,
    /// `component`, `description`, `parameter`, `file`, `digest`, `file_digest`.
    pub matched: Vec<&'static str>,
    /// How well it fits, to compare with the others of this answer.
    pub score: u32,
}

/// What is different between two artifacts.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Diff {
    /// The digest of the one.
    pub from: String,
    /// The digest of the other.
    pub to: String,
    /// How many of their layers are not wholly known: there may be more that is different, or less.
    pub layers_unknown: u64,
    /// What they say of themselves: name, version, licences, authors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Changes>,
    /// Where they say that they come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Changes>,
    /// Their components, those of the first one in its order, then those that are new.
    pub components: Vec<ComponentDiff>,
}

/// A component in one artifact or in both.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ComponentDiff {
    /// What it is in the kit.
    pub role: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `same`, `renamed`, `repacked`, `changed`, `added`, `removed`, or `pending` while it is not yet known. It is repacked, too,
    /// where its files went into archives or came out of them: then there is no rung, and `files` are those inside.
    pub change: &'static str,
    /// The same in words, where there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<&'static str>,
    /// The strongest rung of identity that still holds: `layer`, `tar`, `tree`, `contents`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rung: Option<&'static str>,
    /// How many bytes its layers had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_before: Option<u64>,
    /// How many bytes its layers have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_after: Option<u64>,
    /// What it referred to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_before: Option<String>,
    /// What it refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_after: Option<String>,
    /// Its files; missing where the layers are the same, or hold more than a million.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FileChanges>,
    /// Its parameters, by JSON pointer (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Changes>,
    /// Its tensors, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<Changes>,
}

/// A list of which the first entries are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Capped<T> {
    /// The first of them.
    pub shown: Vec<T>,
    /// How many there are.
    pub all: u64,
}

impl<T> Default for Capped<T> {
    fn default() -> Self {
        Self { shown: Vec::new(), all: 0 }
    }
}

impl<T> Capped<T> {
    pub(crate) fn add(&mut self, one: T, most: usize) {
        self.all += 1;
        if self.shown.len() < most {
            self.shown.push(one);
        }
    }
}

/// Files that are different.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct FileChanges {
    /// New ones.
    pub added: Capped<FileChange>,
    /// Those that are gone.
    pub removed: Capped<FileChange>,
    /// Those of the same path that hold something else.
    pub changed: Capped<FileChange>,
    /// The same ones at another path.
    pub renamed: Capped<FileChange>,
    /// How many are as they were.
    pub unchanged: u64,
}

/// A file that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// The path that it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its SHA-256, now or before it was gone.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Values that are different.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Changes {
    /// New ones.
    pub added: Capped<Change>,
    /// Those that are gone.
    pub removed: Capped<Change>,
    /// Those that are others now.
    pub changed: Capped<Change>,
}

/// A value that is different.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Change {
    /// Where it stands: a JSON pointer, or a name.
    pub at: String,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// A page of claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Claims {
    /// The latest first.
    pub claims: Vec<ClaimTold>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// That somebody says what something was made from, or who signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClaimTold {
    /// Its number.
    pub id: i64,
    /// `kitfile`, `statement`, `event`, `model_card`, `assertion`, `adapter_config`.
    pub kind: &'static str,
    /// Its repository; none where nothing that it is about is in this registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// What it is about: a digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The run, of an OpenLineage event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What its statement is written in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The type of the statement's predicate; of an event the state of its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
    /// What of it could not be read or is not believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Who pushed or sent it.
    pub by: String,
    /// When it happened, by the producer's word (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<String>,
    /// When it was recorded (RFC 3339).
    pub recorded_at: String,
    /// That it was retracted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retracted: Option<Retraction>,
    /// The statement, whose bytes `/api/v1/claims/{id}/statement` gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<Statement>,
    /// What became of its signature, if it has one, by the keys of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// What it says was used: the first hundred.
    pub uses: Vec<Used>,
}

/// That a claim was retracted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Retraction {
    /// When (RFC 3339).
    pub at: String,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A statement as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Statement {
    /// The SHA-256 of its bytes.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
}

/// What became of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Signature {
    /// Whether a trusted signer made it.
    pub verified: bool,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// Why nobody is known to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when that is known (RFC 3339).
    pub since: String,
}

/// Something that a claim says was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Used {
    /// What was made from it: a digest, or an identity outside.
    pub source: String,
    /// `trained_on`, `tested_on`, `derived_from`, `built_from`, `depends_on`.
    pub relation: &'static str,
    /// The statement's own word for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
    /// The name that the statement gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// As it was written.
    pub reference: String,
    /// `resolved`, `unresolved`, `outside`, `given_up`, `unversioned`.
    pub state: &'static str,
    /// What it names here: a digest, or an identity outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// A model that has weights of an affected one, or of which one of the two is an adapter of the other.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Matched {
    /// Where it is, or was.
    pub repository: String,
    /// Its digest.
    pub digest: String,
    /// What it is: `modelkit`, `modelpack`, …
    pub kind: String,
    /// The name in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version in its Kitfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `tagged`, `untagged` or `deleted`.
    pub state: &'static str,
    /// The tags that name it.
    pub tags: Vec<String>,
    /// When it was pushed (RFC 3339).
    pub pushed_at: String,
    /// Who pushed it.
    pub pushed_by: String,
    /// Always `matched`: which of the two was made from the other, if any, nobody says.
    pub grade: &'static str,
    /// The digest of the affected model with which it matches.
    pub with: String,
    /// The file of weights that both have; none where only tensors are shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Which part of its own weights both have, in bytes, from 0 to 1; none where they match as adapter and base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Where one of the two is an adapter, and the other may be its base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Adapter>,
}

/// How an adapter and its base were recognised.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Adapter {
    /// What the model of this row is of the two: `adapter` or `base`.
    pub this_is: &'static str,
    /// What the adapter calls its base, as its configuration has it.
    pub base: String,
    /// By what: `name` (organisation and name are those of the base's repository) or `short_name` (the name without
    /// organisation is that of the base's repository or kit), and `shapes` (each of the adapter's tensors fits a tensor of the
    /// base). Without `shapes` these could not be compared; where they do not fit, there is no match.
    pub by: Vec<&'static str>,
}
