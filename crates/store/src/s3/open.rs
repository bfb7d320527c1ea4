//! The uploads in parts that a bucket knows of (`ListMultipartUploads` of the S3 API), for which the client has no call.

use std::{io, time::Duration};

use futures_util::TryStreamExt as _;
use http::{Method, Request, StatusCode};
use object_store::{
    client::HttpRequestBody,
    path::Path,
    signer::{SignedUrlOptions, Signer as _},
};
use serde::Deserialize;

use super::Bucket;
use crate::Error;

/// How long the signed address holds.
const LIFE: Duration = Duration::from_secs(300);
/// The largest answer: a thousand uploads with long names.
const LIMIT: usize = 4 << 20;

#[derive(Deserialize)]
struct Listing {
    #[serde(rename = "Upload", default)]
    uploads: Vec<Upload>,
}

#[derive(Deserialize)]
struct Upload {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "UploadId")]
    id: String,
}

impl Bucket {
    /// The ids of the uploads in parts that are open at this path. None where the bucket does not tell: not every server
    /// has the call, and not every account may use it.
    pub(super) async fn open_uploads(&self, path: &Path) -> Result<Vec<String>, Error> {
        let query = SignedUrlOptions::new().with_query([("uploads", ""), ("prefix", path.as_ref())]);
        let address = self.0.client.signed_url_opts(Method::GET, &Path::default(), LIFE, &query).await;
        let address = address.map_err(Error::from_object_store)?;
        let request = Request::get(address.as_str()).body(HttpRequestBody::empty()).map_err(io::Error::other)?;
        let unavailable = |error| Error::Unavailable(io::Error::other(error));
        let reply = self.0.http.execute(request).await.map_err(unavailable)?;
        if reply.status() != StatusCode::OK {
            tracing::debug!(status = %reply.status(), "the bucket does not list its uploads");
            return Ok(Vec::new());
        }
        let mut body = reply.into_body().bytes_stream();
        let mut text = Vec::new();
        while let Some(bytes) = body.try_next().await.map_err(unavailable)? {
            if text.len() + bytes.len() > LIMIT {
                return Err(Error::Io(io::Error::other("the bucket's list of uploads is too long")));
            }
            text.extend_from_slice(&bytes);
        }
        let listing: Listing =
            quick_xml::de::from_reader(&text[..]).map_err(|error| Error::Io(io::Error::other(error)))?;
        let here = listing.uploads.into_iter().filter(|upload| upload.key == path.as_ref());
        Ok(here.map(|upload| upload.id).collect())
    }
}
