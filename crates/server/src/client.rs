//! A blocking client of a running server: its API, and as much of the registry protocol as a push needs.

use std::{
    collections::{HashMap, HashSet},
    error::Error as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::tls;

/// Why a question got no answer. The text is for people.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{0:?} is not the address of a server; write https://HOST:PORT, http://HOST:PORT or HOST:PORT")]
    Address(String),
    #[error("--ca-cert: {} has no certificate that can be read: {why}", path.display())]
    Authorities { path: PathBuf, why: String },
    #[error(
        "{server} cannot prove that it is the server asked for: {error}; --ca-cert FILE or PEDIGREE_CA_CERT names the \
         authorities to trust"
    )]
    Untrusted { server: String, error: rustls::Error },
    #[error(
        "cannot reach {server}: {error}; is `pedigree serve` running there? (--server or PEDIGREE_SERVER names another)"
    )]
    Unreachable { server: String, error: Box<ureq::Error> },
    #[error("{server} answered {status}: {detail}")]
    Refused { server: String, status: u16, detail: String },
    #[error("{server} answered something that is not understood: {detail}")]
    Strange { server: String, detail: String },
}

/// A connection to one server.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
}

const ANSWER_LIMIT: u64 = 256 << 20;

impl Client {
    /// A client of `https://HOST:PORT`, `http://HOST:PORT` or `HOST:PORT`, which trusts the authorities in the PEM file
    /// `ca_cert`, else the system's.
    pub(crate) fn new(server: &str, ca_cert: Option<&Path>) -> Result<Self, ClientError> {
        let base = address(server)?;
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(tls::provider())
            .root_certs(ca_cert.map_or(Ok(RootCerts::PlatformVerifier), authorities)?)
            .build();
        // Registries stand in the local network: no proxy, and none from the environment.
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(10)))
            .tls_config(tls)
            .build()
            .new_agent();
        Ok(Self { agent, base })
    }

    /// Asks the API and reads its JSON. The answer may take `wait` longer than usual.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        wait: Duration,
    ) -> Result<T, ClientError> {
        let request = self
            .agent
            .get(format!("{}{path}", self.base))
            .query_pairs(query.iter().copied())
            .header("accept", "application/json")
            .config()
            .timeout_recv_response(Some(wait + Duration::from_secs(60)))
            .build();
        self.read(request.call())
    }

    /// Asks a question that has a body, as [`Client::get`] does one that has none.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &Value,
        wait: Duration,
    ) -> Result<T, ClientError> {
        let request = self
            .agent
            .post(format!("{}{path}", self.base))
            .query_pairs(query.iter().copied())
            .header("accept", "application/json")
            .content_type("application/json")
            .config()
            .timeout_recv_response(Some(wait + Duration::from_secs(60)))
            .build();
        self.read(request.send(body.to_string()))
    }

    fn read<T: DeserializeOwned>(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let mut response = response.map_err(|error| self.unreachable(error))?;
        let status = response.status().as_u16();
        let text = self.text(&mut response)?;
        if status != 200 {
            return Err(self.refused(status, &text));
        }
        serde_json::from_str(&text).map_err(|error| self.strange(error.to_string()))
    }

    /// Every page of a list: `page` takes what it needs of each and gives the next cursor.
    pub(crate) fn pages(
        &self,
        path: &str,
        query: &[(&str, &str)],
        mut page: impl FnMut(Value) -> Option<String>,
    ) -> Result<(), ClientError> {
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let next = page(self.get(path, &query, Duration::ZERO)?);
            if next.is_some() && next == cursor {
                return Err(self.strange("the same page again".into()));
            }
            cursor = next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Uploads a blob unless it is there.
    pub(crate) fn push_blob(&self, repository: &str, digest: &str, bytes: &[u8]) -> Result<(), ClientError> {
        let head = self.agent.head(format!("{}/v2/{repository}/blobs/{digest}", self.base)).call();
        if head.map_err(|error| self.unreachable(error))?.status() == 200 {
            return Ok(());
        }
        let start = self.agent.post(format!("{}/v2/{repository}/blobs/uploads/", self.base)).send_empty();
        let start = self.expect(202, start)?;
        let location = start.headers().get("location").and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| self.strange("an upload without a Location".into()))?;
        let location = if location.starts_with('/') { format!("{}{location}", self.base) } else { location.to_owned() };
        let separator = if location.contains('?') { '&' } else { '?' };
        let put = self
            .agent
            .put(format!("{location}{separator}digest={digest}"))
            .header("content-type", oci::media_type::OCTET_STREAM)
            .send(bytes);
        self.expect(201, put).map(drop)
    }

    /// Stores a manifest under a tag or its digest.
    pub(crate) fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), ClientError> {
        let put = self
            .agent
            .put(format!("{}/v2/{repository}/manifests/{reference}", self.base))
            .header("content-type", media_type)
            .send(bytes);
        self.expect(201, put).map(drop)
    }

    fn expect(
        &self,
        status: u16,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<ureq::http::Response<ureq::Body>, ClientError> {
        let mut response = response.map_err(|error| self.unreachable(error))?;
        if response.status() == status {
            return Ok(response);
        }
        let text = self.text(&mut response)?;
        Err(self.refused(response.status().as_u16(), &text))
    }

    fn text(&self, response: &mut ureq::http::Response<ureq::Body>) -> Result<String, ClientError> {
        let body = response.body_mut().with_config().limit(ANSWER_LIMIT).lossy_utf8(true).read_to_string();
        body.map_err(|error| self.strange(error.to_string()))
    }

    fn unreachable(&self, error: ureq::Error) -> ClientError {
        let reason = match &error {
            ureq::Error::Io(error) => error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()),
            other => other.source().and_then(|error| error.downcast_ref::<rustls::Error>()),
        };
        if let Some(error @ rustls::Error::InvalidCertificate(_)) = reason {
            return ClientError::Untrusted { server: self.base.clone(), error: error.clone() };
        }
        ClientError::Unreachable { server: self.base.clone(), error: Box::new(error) }
    }

    fn strange(&self, detail: String) -> ClientError {
        ClientError::Strange { server: self.base.clone(), detail }
    }

    fn refused(&self, status: u16, body: &str) -> ClientError {
        let parsed: Value = serde_json::from_str(body).unwrap_or_default();
        let said = [parsed.get("detail"), parsed.pointer("/errors/0/message"), parsed.get("title")];
        let detail = said.into_iter().flatten().find_map(Value::as_str).unwrap_or(body.trim());
        let detail = crate::table::plain(&detail.chars().take(1000).collect::<String>());
        ClientError::Refused { server: self.base.clone(), status, detail }
    }
}

fn address(server: &str) -> Result<String, ClientError> {
    let (scheme, host) = match server.split_once("://") {
        Some((scheme @ ("http" | "https"), host)) => (scheme, host),
        Some(_) => return Err(ClientError::Address(server.into())),
        None => ("http", server),
    };
    let host = host.trim_end_matches('/');
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || matches!(c, '?' | '#' | '@')) {
        return Err(ClientError::Address(server.into()));
    }
    Ok(format!("{scheme}://{host}"))
}

/// The certificates in a PEM file.
fn authorities(path: &Path) -> Result<RootCerts, ClientError> {
    let failed = |why: String| ClientError::Authorities { path: path.into(), why };
    let text = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| failed(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(failed("it is no PEM file of one".into())) } else { Ok(certificates.into()) }
}

/// A path of the API with each byte that may not stand in one escaped; `/`, `:` and `@` stay.
pub(crate) fn escape_path(text: &str) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:@".contains(&b);
    text.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// A list that may be `null` or missing.
fn list<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The answer to a question of impact. What this version does not know stays in `other`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Impact {
    pub(crate) query: Value,
    pub(crate) completeness: Completeness,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(crate) ubiquitous: Vec<Ubiquitous>,
    #[serde(deserialize_with = "list")]
    pub(crate) models: Vec<Holder>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(crate) matched: Vec<Matched>,
    #[serde(deserialize_with = "list")]
    pub(crate) holders: Vec<Holder>,
    pub(crate) more_holders: Option<u64>,
    pub(crate) next: Option<String>,
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

/// A model that matches an affected one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Matched {
    pub(crate) repository: String,
    pub(crate) digest: String,
    #[serde(deserialize_with = "list")]
    pub(crate) tags: Vec<String>,
    pub(crate) with: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) adapter: Option<Adapter>,
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

/// How an adapter and its base were recognised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Adapter {
    pub(crate) this_is: String,
    pub(crate) base: String,
    #[serde(deserialize_with = "list")]
    pub(crate) by: Vec<String>,
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

/// A file that makes no match by itself, for it is nearly everywhere.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ubiquitous {
    pub(crate) file: String,
    pub(crate) repositories: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Completeness {
    pub(crate) exact: bool,
    pub(crate) layers: std::collections::BTreeMap<String, u64>,
    pub(crate) unresolved_references: u64,
    pub(crate) unknown_versions: u64,
    pub(crate) incomplete_kits: u64,
    pub(crate) incomplete_claims: u64,
    /// Files that the question is about and that could not be looked into whole: not the server's to say.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) unread_files: u64,
    pub(crate) outside: std::collections::BTreeMap<String, u64>,
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A model, or another artifact that holds the content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Holder {
    pub(crate) repository: String,
    pub(crate) digest: String,
    pub(crate) kind: Option<String>,
    pub(crate) state: Option<String>,
    #[serde(deserialize_with = "list")]
    pub(crate) tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) distance: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grade: Option<String>,
    #[serde(deserialize_with = "list")]
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) more_evidence: u64,
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Evidence {
    pub(crate) edge: Option<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub(crate) rungs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) overlap: Option<Overlap>,
    pub(crate) component: Option<Component>,
    pub(crate) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) md5: Option<String>,
    pub(crate) reference: Option<String>,
    pub(crate) late: Option<bool>,
    pub(crate) assumed: Option<bool>,
    pub(crate) source: Option<Node>,
    pub(crate) target: Option<Node>,
    pub(crate) claim: Option<Claim>,
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Overlap {
    pub(crate) common: u64,
    pub(crate) asked: u64,
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Component {
    pub(crate) role: Option<String>,
    pub(crate) name: Option<String>,
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    pub(crate) repository: Option<String>,
    pub(crate) digest: Option<String>,
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Claim {
    pub(crate) kind: Option<String>,
    pub(crate) by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signed_by: Option<String>,
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

impl Impact {
    /// Puts another answer to this one: each artifact stands once, with all its evidence, as near as in the nearer answer.
    pub(crate) fn merge(&mut self, more: Self) {
        merge_holders(&mut self.models, more.models);
        merge_holders(&mut self.holders, more.holders);
        // What one of them did not count is not known of both.
        self.more_holders = self.more_holders.zip(more.more_holders).map(|(one, other)| one.max(other));
        self.ubiquitous.extend(more.ubiquitous);
        self.ubiquitous.sort_by(|a, b| a.file.cmp(&b.file));
        self.ubiquitous.dedup_by(|a, b| a.file == b.file);
        // What is a model for one file is not among the others.
        let models: HashSet<_> = self.models.iter().map(Holder::place).collect();
        self.holders.retain(|holder| !models.contains(&holder.place()));
    }

    /// Of two answers to different questions, neither is more complete than the other: keeps the worse of each figure.
    pub(crate) fn merge_completeness(&mut self, more: &Completeness) {
        let mine = &mut self.completeness;
        mine.exact &= more.exact;
        mine.unresolved_references = mine.unresolved_references.max(more.unresolved_references);
        mine.unknown_versions = mine.unknown_versions.max(more.unknown_versions);
        mine.incomplete_kits = mine.incomplete_kits.max(more.incomplete_kits);
        mine.incomplete_claims = mine.incomplete_claims.max(more.incomplete_claims);
        for (mine, more) in [(&mut mine.layers, &more.layers), (&mut mine.outside, &more.outside)] {
            for (name, count) in more {
                let slot = mine.entry(name.clone()).or_default();
                *slot = (*slot).max(*count);
            }
        }
    }
}

impl Holder {
    fn place(&self) -> (String, String) {
        (self.repository.clone(), self.digest.clone())
    }
}

fn merge_holders(into: &mut Vec<Holder>, more: Vec<Holder>) {
    const BEST_FIRST: [&str; 4] = ["attested", "declared", "packaged", "matched"];
    let rank = |holder: &Holder| {
        let grade = holder.grade.as_deref().unwrap_or("");
        (holder.distance, BEST_FIRST.iter().position(|known| *known == grade).unwrap_or(BEST_FIRST.len()))
    };
    let mut places: HashMap<_, _> = into.iter().enumerate().map(|(i, known)| (known.place(), i)).collect();
    for mut holder in more {
        let place = *places.entry(holder.place()).or_insert(into.len());
        let Some(known) = into.get_mut(place) else {
            into.push(holder);
            continue;
        };
        if rank(&holder) < rank(known) {
            std::mem::swap(known, &mut holder);
        }
        // Different questions find different ways; only the steps between artifacts come again, and those stand first.
        let steps: Vec<_> = known.evidence.iter().filter(|evidence| evidence.path.is_none()).cloned().collect();
        known.more_evidence += holder.more_evidence;
        known.evidence.extend(holder.evidence.into_iter().filter(|evidence| !steps.contains(evidence)));
    }
    into.sort_by(|a, b| (a.distance, &a.repository, &a.digest).cmp(&(b.distance, &b.repository, &b.digest)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(address("localhost:5000").unwrap(), "http://localhost:5000");
        assert_eq!(address("http://[::1]:5000/").unwrap(), "http://[::1]:5000");
        assert_eq!(address("https://x").unwrap(), "https://x");
        assert!(matches!(address("ftp://x"), Err(ClientError::Address(_))));
        assert!(matches!(address(""), Err(ClientError::Address(_))));
    }

    #[test]
    fn merging_keeps_the_nearest_and_all_evidence() {
        let answer = |text: &str| serde_json::from_str::<Impact>(text).unwrap();
        let mut all = answer(
            r#"{"completeness":{"exact":true},"models":[{"repository":"a","digest":"d","distance":1,"grade":"declared",
            "evidence":[{"path":"x"}],"new":7}],"holders":[{"repository":"b","digest":"e","evidence":null}],"next":null}"#,
        );
        let more = answer(
            r#"{"completeness":{"layers":{"pending":2}},"models":[{"repository":"a","digest":"d","distance":0,
            "grade":"packaged","evidence":[{"path":"y"}]},{"repository":"b","digest":"e","distance":2}]}"#,
        );
        all.merge_completeness(&more.completeness);
        all.merge(more);
        assert_eq!(all.models.len(), 2);
        assert_eq!((all.models[0].distance, all.models[0].evidence.len()), (Some(0), 2));
        assert!(all.holders.is_empty());
        assert!(!all.completeness.exact);
        assert_eq!(all.completeness.layers["pending"], 2);
    }
}
