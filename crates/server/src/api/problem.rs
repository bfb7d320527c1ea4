//! The face of errors on `/api/v1`: problem details (RFC 9457).

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use registry::Error;
use serde::Serialize;

/// Why a question was not answered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    pub r#type: &'static str,
    /// The status in words.
    pub title: &'static str,
    /// The status.
    pub status: u16,
    /// What was wrong and what to do.
    pub detail: String,
}

impl Problem {
    pub(crate) fn new(status: u16, detail: impl Into<String>) -> Self {
        let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        Self { r#type: "about:blank", title: title.unwrap_or("Error"), status, detail: detail.into() }
    }

    /// The problem that an error is. What went wrong inside is logged here, once, and not told.
    pub(crate) fn from_error(error: Error, request_id: &str) -> Self {
        match &error {
            Error::Internal(source) => tracing::error!(request_id, error = %source, "an /api request failed"),
            Error::Unavailable(source) => tracing::error!(request_id, error = %source, "an /api request failed"),
            Error::StoreUnavailable(source) => tracing::error!(request_id, error = %source, "an /api request failed"),
            _ => {}
        }
        Self::new(super::status(&error), error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}
