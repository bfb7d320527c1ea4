//! The face of errors on `/v2`: a status, a code of the specification, and words for the user.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use oci::{Code, ErrorBody, Upload};
use registry::{Error, Part, Thing};

/// An error answer.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    code: Code,
    message: String,
    headers: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: Code, message: String) -> Self {
        Self { status, code, message, headers: Vec::new(), source: None }
    }

    pub(crate) fn header(&mut self, name: &'static str, value: String) {
        self.headers.push((name, value));
    }

    /// An error of an upload; bytes out of order are told where the upload stands.
    pub(crate) fn upload(error: Error, upload: &Upload) -> Self {
        let received = match &error {
            Error::OutOfOrder { received } => Some(*received),
            _ => None,
        };
        let mut failure = Self::from(error);
        if let Some(received) = received {
            failure.header("location", super::upload_path(upload));
            failure.header("range", format!("0-{}", received.saturating_sub(1)));
        }
        failure
    }

    /// The answer. What went wrong inside is logged here, once, and not told.
    pub(crate) fn respond(self, request_id: &str) -> Response {
        if let Some(source) = &self.source {
            tracing::error!(request_id, error = %source, "a /v2 request failed");
        }
        let mut response = (self.status, axum::Json(ErrorBody::new(self.code, self.message))).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, code) = match &error {
            Error::Unknown(Thing::Repository(_)) => (StatusCode::NOT_FOUND, Code::NameUnknown),
            Error::Unknown(Thing::Manifest(..) | Thing::Component(_) | Thing::Tag { .. }) => {
                (StatusCode::NOT_FOUND, Code::ManifestUnknown)
            }
            Error::Unknown(Thing::Blob(_)) => (StatusCode::NOT_FOUND, Code::BlobUnknown),
            Error::Unknown(Thing::Upload) => (StatusCode::NOT_FOUND, Code::BlobUploadUnknown),
            Error::Invalid { what: Part::Manifest, .. } => (StatusCode::BAD_REQUEST, Code::ManifestInvalid),
            Error::Invalid { what: Part::Digest | Part::Blob, .. } => (StatusCode::BAD_REQUEST, Code::DigestInvalid),
            Error::Invalid { what: Part::Range, .. } => (StatusCode::BAD_REQUEST, Code::BlobUploadInvalid),
            Error::Invalid { what: Part::Parameter(_), .. } => (StatusCode::BAD_REQUEST, Code::Unsupported),
            Error::MissingBlob(_) => (StatusCode::NOT_FOUND, Code::ManifestBlobUnknown),
            Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid),
            Error::OutOfOrder { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid),
            Error::Busy => (StatusCode::SERVICE_UNAVAILABLE, Code::TooManyRequests),
            Error::Unavailable(_) | Error::StoreUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, Code::Unknown),
            Error::Needed { .. } => (StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported),
            Error::Denied | Error::Refused(_) => (StatusCode::FORBIDDEN, Code::Denied),
            Error::Body(_) => (StatusCode::BAD_REQUEST, Code::BlobUploadInvalid),
            Error::Full => (StatusCode::INSUFFICIENT_STORAGE, Code::Unknown),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown),
        };
        let message = error.to_string();
        let headers = match &error {
            Error::Busy | Error::Unavailable(_) | Error::StoreUnavailable(_) => vec![("retry-after", "1".to_owned())],
            // Somebody has to make room first.
            Error::Full => vec![("retry-after", "60".to_owned())],
            _ => Vec::new(),
        };
        let source = match error {
            Error::Internal(source) => Some(source),
            Error::Unavailable(source) => Some(source.into()),
            Error::StoreUnavailable(source) => Some(source.into()),
            _ => None,
        };
        Self { source, headers, ..Self::new(status, code, message) }
    }
}
