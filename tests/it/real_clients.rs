//! The clients that people use, against the real binary on both engines.

use crate::{
    clients::{self, Bin, Target},
    kit_wire::{self, Replay},
    server::{Engine, Server, on_both_engines},
};

fn with(server: &Server, name: &str, client: fn(&Target, &Bin)) {
    if let Some(bin) = Bin::wanted(name) {
        let authority = server.tls().map(|files| files.authority.clone());
        client(&Target { host: server.host.clone(), authority, referrers: true }, &bin);
    }
}

on_both_engines! {
    fn crane(server: Server) { with(&server, "crane", clients::crane); }
    fn oras(server: Server) { with(&server, "oras", clients::oras); }
    fn regctl(server: Server) { with(&server, "regctl", clients::regctl); }
    fn skopeo(server: Server) { with(&server, "skopeo", clients::skopeo); }
    fn podman(server: Server) { with(&server, "podman", clients::podman); }
    fn helm(server: Server) { with(&server, "helm", clients::helm); }
    fn cosign(server: Server) { with(&server, "cosign", clients::cosign); }
    fn kit(server: Server) { kit_wire::replay(&server.host, &Replay::scaled()); }
}

/// The same over TLS, by HTTP/2 where the client speaks it. The engine makes no difference to that.
macro_rules! over_tls {
    ($($client:ident),+ $(,)?) => {
        mod over_tls {
            use super::*;
            $(
                #[test]
                fn $client() {
                    if let Some(server) = Server::start_secure(Engine::Sqlite) {
                        with(&server, stringify!($client), clients::$client);
                    }
                }
            )+
        }
    };
}

over_tls!(crane, oras, regctl, skopeo, podman, helm, cosign);
