//! What of `/v2` is a pull: a manifest or a blob that was asked for with GET and answered, whole or in part, from here or by
//! an address in the store. To look whether something is there, or whether it has changed, is none.

use std::net::SocketAddr;

use axum::{
    extract::ConnectInfo,
    http::{Method, StatusCode, header, request::Parts},
};
use oci::{Digest, Name, Reference};
use registry::{Ctx, PullKind, Pulled};

use crate::app::App;

/// Notes that a manifest was pulled, unless it was only looked at.
pub(super) fn manifest(app: &App, ctx: &Ctx, parts: &Parts, name: &Name, reference: &Reference, digest: &Digest) {
    let tag = match reference {
        Reference::Tag(tag) => Some(tag),
        Reference::Digest(_) => None,
    };
    if parts.method == Method::GET {
        let pulled = Pulled { tag, ..pulled(app, parts, name, PullKind::Manifest, digest) };
        app.registry.note_pull(ctx, &pulled);
    }
}

/// Notes that a blob was pulled, if it was answered with its bytes or with where they are.
pub(super) fn blob(app: &App, ctx: &Ctx, parts: &Parts, name: &Name, digest: &Digest, status: StatusCode) {
    let redirected = status == StatusCode::TEMPORARY_REDIRECT;
    if redirected || matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        let pulled = Pulled { redirected, ..pulled(app, parts, name, PullKind::Blob, digest) };
        app.registry.note_pull(ctx, &pulled);
    }
}

fn pulled<'a>(app: &App, parts: &'a Parts, repository: &'a Name, kind: PullKind, digest: &'a Digest) -> Pulled<'a> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    Pulled {
        repository,
        kind,
        digest,
        tag: None,
        redirected: false,
        address: peer.map(|peer| app.proxies.client(peer.0, &parts.headers)),
        agent: parts.headers.get(header::USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes()),
    }
}
