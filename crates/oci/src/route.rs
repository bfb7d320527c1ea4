//! The URL grammar of `/v2` (distribution-spec, "Endpoints"), main branch: method, path and query become one [`Route`].

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::{Algorithm, Code, Digest, DigestError, Name, NameError, Reference, Tag};

/// What a `/v2` request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `GET /v2/`: whether this is a registry (end-1).
    Base,
    /// `GET /v2/_catalog`.
    Catalog(Page),
    /// `GET /v2/<name>/tags/list` (end-8).
    Tags(Name, Page),
    /// `GET /v2/<name>/manifests/<reference>` (end-3).
    GetManifest(Name, Reference),
    /// `HEAD` of the same.
    HeadManifest(Name, Reference),
    /// `PUT` of the same (end-7), with the `?tag=` of end-7b.
    PutManifest(Name, Reference, Vec<Tag>),
    /// `DELETE` of the same (end-9).
    DeleteManifest(Name, Reference),
    /// `GET /v2/<name>/blobs/<digest>` (end-2).
    GetBlob(Name, Digest),
    /// `HEAD` of the same.
    HeadBlob(Name, Digest),
    /// `DELETE` of the same (end-10).
    DeleteBlob(Name, Digest),
    /// `POST /v2/<name>/blobs/uploads/` (end-4a, end-4b, end-11).
    StartUpload(Name, StartUpload),
    /// `GET` of an upload: how far it is (end-13).
    UploadStatus(Upload),
    /// `PATCH` of an upload: more bytes (end-5).
    PatchUpload(Upload),
    /// `PUT` of an upload: the last bytes and the digest (end-6).
    FinishUpload(Upload, Digest),
    /// `DELETE` of an upload (end-14).
    CancelUpload(Upload),
    /// `GET /v2/<name>/referrers/<digest>` (end-12a, end-12b).
    Referrers(Name, Digest, ReferrersPage),
    /// `GET /v2/<name>/_oci/tag-history/<tag>` (draft).
    TagHistory(Name, Tag, HistoryPage),
    /// `GET /v2/_oci/ext/discover`, or below a repository's name: which extensions there are.
    Extensions(Option<Name>),
}

/// An upload, as its address names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The repository that the blob is for.
    pub name: Name,
    /// The upload's id.
    pub id: String,
    /// `_state=`: what the registry wrote into the address.
    pub state: Option<String>,
}

/// The query of `POST …/blobs/uploads/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartUpload {
    /// `digest=`: the whole blob is the body.
    pub digest: Option<Digest>,
    /// `mount=`: link this blob instead, if it may be read in `from`.
    pub mount: Option<Digest>,
    /// `from=`: the repository to mount from; without it any readable one.
    pub from: Option<Name>,
    /// `digest-algorithm=`: what the upload will be finished with.
    pub algorithm: Option<Algorithm>,
}

/// The query of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// `n=`: at most so many.
    pub n: Option<u64>,
    /// `last=`: only what sorts after it.
    pub last: Option<String>,
}

/// The query of a list of referrers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferrersPage {
    /// `artifactType=`: only of this kind.
    pub artifact_type: Option<String>,
    /// `n=`: at most so many.
    pub n: Option<u64>,
    /// `last=`: where the page before ended; only `Link` headers say what to write here.
    pub last: Option<u64>,
}

/// The query of a tag's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// `n=`: at most so many events.
    pub n: Option<u64>,
    /// `before=`: only earlier ones; a moment (RFC 3339), which the registry reads.
    pub before: Option<String>,
    /// `since=`: no earlier ones.
    pub since: Option<String>,
    /// `digest=`: only those about this manifest.
    pub digest: Option<Digest>,
}

/// Why a request is none of the specification's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No endpoint has this path.
    #[error("no endpoint of the distribution specification has this path")]
    NotFound,
    /// The endpoint does not have this method.
    #[error("this endpoint does not have the method {0}")]
    Method(String),
    /// The repository name is not one.
    #[error("repository name {0:?}: {1}")]
    Name(String, NameError),
    /// The reference is neither tag nor digest.
    #[error("reference {0:?} is neither a digest nor a tag: {1}")]
    Reference(String, NameError),
    /// A digest is not one.
    #[error("digest {0:?}: {1}")]
    Digest(String, DigestError),
    /// What is to be read is named by nothing that could be a tag or a digest.
    #[error("there is no such manifest: a reference is a tag or a digest")]
    Manifest,
    /// An upload's id is not one.
    #[error("there is no such upload")]
    Upload,
    /// A query parameter is missing or unusable.
    #[error("query parameter {0}: {1}")]
    Query(&'static str, &'static str),
}

impl RouteError {
    /// The HTTP status and the specification's code.
    #[must_use]
    pub const fn status(&self) -> (u16, Code) {
        match self {
            Self::NotFound => (404, Code::NameUnknown),
            Self::Method(_) => (405, Code::Unsupported),
            Self::Name(..) => (400, Code::NameInvalid),
            Self::Reference(..) => (400, Code::ManifestInvalid),
            Self::Upload => (404, Code::BlobUploadUnknown),
            Self::Manifest => (404, Code::ManifestUnknown),
            Self::Digest(..) => (400, Code::DigestInvalid),
            Self::Query(..) => (400, Code::Unsupported),
        }
    }
}

impl Route {
    /// Reads a request. `path` and `query` are as on the request line, percent-encoded.
    ///
    /// # Errors
    /// [`RouteError`], which tells its status and code.
    pub fn parse(method: &str, path: &str, query: Option<&str>) -> Result<Self, RouteError> {
        let query = Query(query.unwrap_or_default());
        let wrong_method = || Err(RouteError::Method(method.into()));
        let path = path.strip_prefix("/v2").ok_or(RouteError::NotFound)?;
        match path {
            "" | "/" => return if matches!(method, "GET" | "HEAD") { Ok(Self::Base) } else { wrong_method() },
            "/_catalog" => return if method == "GET" { Ok(Self::Catalog(query.page()?)) } else { wrong_method() },
            _ => {}
        }
        // A name can hold any word, "blobs" too, so the path is read from its end.
        let path = decode(path.strip_prefix('/').ok_or(RouteError::NotFound)?);
        let (head, last) = path.rsplit_once('/').ok_or(RouteError::NotFound)?;
        let (name, kind) = head.rsplit_once('/').ok_or(RouteError::NotFound)?;
        if let ("uploads", Some(name)) = (kind, name.strip_suffix("/blobs")) {
            let name = repository(name)?;
            if last.len() > 64 || !last.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(RouteError::Upload);
            }
            if last.is_empty() {
                return match method {
                    "POST" => Ok(Self::StartUpload(name, query.start_upload()?)),
                    _ => wrong_method(),
                };
            }
            let upload = Upload { name, id: last.to_owned(), state: query.text("_state") };
            return match method {
                "GET" => Ok(Self::UploadStatus(upload)),
                "PATCH" => Ok(Self::PatchUpload(upload)),
                "PUT" => {
                    let missing = RouteError::Query("digest", "the digest of the whole blob is needed");
                    Ok(Self::FinishUpload(upload, query.digest("digest")?.ok_or(missing)?))
                }
                "DELETE" => Ok(Self::CancelUpload(upload)),
                _ => wrong_method(),
            };
        }
        // No component of a name begins with an underscore.
        if let Some(name) = head.strip_suffix("/_oci/tag-history") {
            let (name, tag) = (repository(name)?, last.parse().map_err(|_| RouteError::Manifest)?);
            return if method == "GET" { Ok(Self::TagHistory(name, tag, query.history()?)) } else { wrong_method() };
        }
        if let ("ext", "discover", Some(name)) = (kind, last, name.strip_suffix("_oci")) {
            let name = match name.strip_suffix('/') {
                Some(name) => Some(repository(name)?),
                None if name.is_empty() => None,
                None => return Err(RouteError::NotFound),
            };
            return if method == "GET" { Ok(Self::Extensions(name)) } else { wrong_method() };
        }
        match (kind, last) {
            ("tags", "list") => match method {
                "GET" => Ok(Self::Tags(repository(name)?, query.page()?)),
                _ => wrong_method(),
            },
            ("manifests", reference) => {
                let name = repository(name)?;
                let reference = match parse_reference(reference) {
                    // What is no reference names no manifest: "not found" is the answer to a read.
                    Err(_) if method != "PUT" => return Err(RouteError::Manifest),
                    parsed => parsed?,
                };
                match method {
                    "GET" => Ok(Self::GetManifest(name, reference)),
                    "HEAD" => Ok(Self::HeadManifest(name, reference)),
                    "PUT" => Ok(Self::PutManifest(name, reference, query.tags()?)),
                    "DELETE" => Ok(Self::DeleteManifest(name, reference)),
                    _ => wrong_method(),
                }
            }
            // Some clients leave out the slash at the end of `uploads/`.
            ("blobs", "uploads") if method == "POST" => Ok(Self::StartUpload(repository(name)?, query.start_upload()?)),
            ("blobs", text) => {
                let name = repository(name)?;
                let digest = digest(text)?;
                match method {
                    "GET" => Ok(Self::GetBlob(name, digest)),
                    "HEAD" => Ok(Self::HeadBlob(name, digest)),
                    "DELETE" => Ok(Self::DeleteBlob(name, digest)),
                    _ => wrong_method(),
                }
            }
            ("referrers", text) => match method {
                "GET" => Ok(Self::Referrers(repository(name)?, digest(text)?, query.referrers()?)),
                _ => wrong_method(),
            },
            _ => Err(RouteError::NotFound),
        }
    }

    /// The repository it is about, if any.
    #[must_use]
    pub const fn repository(&self) -> Option<&Name> {
        match self {
            Self::Base | Self::Catalog(_) => None,
            Self::Extensions(name) => name.as_ref(),
            Self::Tags(name, _)
            | Self::GetManifest(name, _)
            | Self::HeadManifest(name, _)
            | Self::PutManifest(name, ..)
            | Self::DeleteManifest(name, _)
            | Self::GetBlob(name, _)
            | Self::HeadBlob(name, _)
            | Self::DeleteBlob(name, _)
            | Self::StartUpload(name, _)
            | Self::Referrers(name, ..)
            | Self::TagHistory(name, ..) => Some(name),
            Self::UploadStatus(upload)
            | Self::PatchUpload(upload)
            | Self::FinishUpload(upload, _)
            | Self::CancelUpload(upload) => Some(&upload.name),
        }
    }
}

fn repository(text: &str) -> Result<Name, RouteError> {
    text.parse().map_err(|e| RouteError::Name(text.into(), e))
}

fn digest(text: &str) -> Result<Digest, RouteError> {
    text.parse().map_err(|e| RouteError::Digest(text.into(), e))
}

/// What holds a colon can only be meant as a digest, so the error speaks of digests.
fn parse_reference(text: &str) -> Result<Reference, RouteError> {
    if text.contains(':') {
        return digest(text).map(Reference::Digest);
    }
    text.parse().map_err(|e| RouteError::Reference(text.into(), e))
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// How many tags one push may set; the specification asks for ten at least.
const MOST_TAGS: usize = 50;

struct Query<'a>(&'a str);

impl Query<'_> {
    fn all(&self, name: &str) -> impl Iterator<Item = String> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == name).then(|| decode(value).into_owned())
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        self.all(name).find(|value| !value.is_empty())
    }

    fn digest(&self, name: &str) -> Result<Option<Digest>, RouteError> {
        self.text(name).map(|text| digest(&text)).transpose()
    }

    fn tags(&self) -> Result<Vec<Tag>, RouteError> {
        // Each is a header of the answer, of which clients read only so many.
        if self.all("tag").count() > MOST_TAGS {
            return Err(RouteError::Query("tag", "one push sets at most 50 tags"));
        }
        self.all("tag").map(|text| text.parse().map_err(|e| RouteError::Reference(text, e))).collect()
    }

    fn page(&self) -> Result<Page, RouteError> {
        let n = self.number("n")?;
        let last = self.text("last");
        if last.as_ref().is_some_and(|last| last.contains('\0')) {
            return Err(RouteError::Query("last", "no name holds a NUL"));
        }
        Ok(Page { n, last })
    }

    fn referrers(&self) -> Result<ReferrersPage, RouteError> {
        let artifact_type = self.text("artifactType");
        Ok(ReferrersPage { artifact_type, n: self.number("n")?, last: self.number("last")? })
    }

    fn history(&self) -> Result<HistoryPage, RouteError> {
        let (before, since) = (self.text("before"), self.text("since"));
        Ok(HistoryPage { n: self.number("n")?, before, since, digest: self.digest("digest")? })
    }

    fn number(&self, name: &'static str) -> Result<Option<u64>, RouteError> {
        let number = self.text(name).map(|number| number.parse()).transpose();
        number.map_err(|_| RouteError::Query(name, "must be a number"))
    }

    fn start_upload(&self) -> Result<StartUpload, RouteError> {
        // A mount that names nonsense is answered like one that names nothing: by an ordinary upload.
        let from = self.text("from").and_then(|name| name.parse().ok());
        let algorithm = self.text("digest-algorithm").map(|text| text.parse().map_err(|e| RouteError::Digest(text, e)));
        Ok(StartUpload {
            digest: self.digest("digest")?,
            mount: self.digest("mount")?,
            from,
            algorithm: algorithm.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::EMPTY_JSON;

    #[test]
    fn every_endpoint() {
        let name = || "a/b".parse::<Name>().unwrap();
        let digest: Digest = EMPTY_JSON.parse().unwrap();
        let by_tag = || Reference::Tag("1.0".parse().unwrap());
        fn parse(method: &str, path: &str, query: Option<&str>) -> Route {
            Route::parse(method, path, query).unwrap()
        }
        assert_eq!(parse("GET", "/v2/", None), Route::Base);
        assert_eq!(parse("GET", "/v2/_catalog", Some("n=2")), Route::Catalog(Page { n: Some(2), last: None }));
        assert_eq!(parse("GET", "/v2/a/b/tags/list", None), Route::Tags(name(), Page::default()));
        assert_eq!(parse("GET", "/v2/a/b/manifests/1.0", None), Route::GetManifest(name(), by_tag()));
        assert_eq!(
            parse("PUT", "/v2/a/b/manifests/1.0", Some("tag=x&tag=y")),
            Route::PutManifest(name(), by_tag(), vec!["x".parse().unwrap(), "y".parse().unwrap()])
        );
        assert_eq!(parse("HEAD", &format!("/v2/a/b/blobs/{EMPTY_JSON}"), None), Route::HeadBlob(name(), digest));
        let encoded = EMPTY_JSON.replace(':', "%3A");
        assert_eq!(
            parse("PUT", "/v2/a/b/blobs/uploads/0a", Some(&format!("_state=1&digest={encoded}"))),
            Route::FinishUpload(Upload { name: name(), id: "0a".into(), state: Some("1".into()) }, digest)
        );
        assert_eq!(parse("POST", "/v2/a/b/blobs/uploads/", None), Route::StartUpload(name(), StartUpload::default()));
        assert_eq!(
            parse("GET", &format!("/v2/a/b/referrers/{EMPTY_JSON}"), Some("artifactType=a%2Fb&n=2&last=7")),
            Route::Referrers(
                name(),
                digest,
                ReferrersPage { artifact_type: Some("a/b".into()), n: Some(2), last: Some(7) }
            )
        );
        assert_eq!(
            parse("GET", "/v2/a/b/_oci/tag-history/1.0", Some("n=2&before=2026-11-20T09%3A14%3A03Z")),
            Route::TagHistory(
                name(),
                "1.0".parse().unwrap(),
                HistoryPage { n: Some(2), before: Some("2026-11-20T09:14:03Z".into()), ..HistoryPage::default() }
            )
        );
        assert_eq!(parse("GET", "/v2/_oci/ext/discover", None), Route::Extensions(None));
        assert_eq!(parse("GET", "/v2/a/b/_oci/ext/discover", None), Route::Extensions(Some(name())));
        assert_eq!(
            parse("GET", "/v2/blobs/uploads/manifests/1.0", None),
            Route::GetManifest("blobs/uploads".parse().unwrap(), by_tag())
        );
    }

    #[test]
    fn errors_have_the_codes_of_the_specification() {
        for (method, path, status, code) in [
            ("GET", "/v2/A/tags/list", 400, Code::NameInvalid),
            ("GET", "/v2/a/blobs/sha256:abc", 400, Code::DigestInvalid),
            ("PUT", "/v2/a/manifests/.x", 400, Code::ManifestInvalid),
            ("GET", "/v2/a_oci/ext/discover", 404, Code::NameUnknown),
            ("PUT", "/v2/a/_oci/tag-history/1", 405, Code::Unsupported),
            ("GET", "/v2/a", 404, Code::NameUnknown),
            ("POST", "/v2/a/manifests/1", 405, Code::Unsupported),
            ("PUT", "/v2/a/blobs/uploads/1", 400, Code::Unsupported),
        ] {
            assert_eq!(Route::parse(method, path, None).unwrap_err().status(), (status, code), "{method} {path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_answered(method in "[A-Z]{3,6}", path in "/v2/[ -~]{0,60}", query in "[ -~]{0,40}") {
            let _ = Route::parse(&method, &path, Some(&query));
        }
    }
}
