//! The clients that people use, against the real binary on both engines.

use crate::{
    clients::{self, Bin, Target},
    kit_wire::{self, Replay},
    s3::S3Kind,
    server::{Engine, Server, on},
};

fn with(server: &Server, name: &str, client: fn(&Target, &Bin)) {
    if let Some(bin) = Bin::wanted(name) {
        let authority = server.tls().map(|files| files.authority.clone());
        client(&Target { host: server.host.clone(), authority, referrers: true }, &bin);
    }
}

on! {
    [sqlite: Sqlite, Disk] [postgres: Postgres, Disk] [postgres_versity: Postgres, S3(S3Kind::Versity)]
    fn crane(server: Server) { with(&server, "crane", clients::crane); }
    fn oras(server: Server) { with(&server, "oras", clients::oras); }
    fn regctl(server: Server) { with(&server, "regctl", clients::regctl); }
    fn skopeo(server: Server) { with(&server, "skopeo", clients::skopeo); }
    fn podman(server: Server) { with(&server, "podman", clients::podman); }
    fn buildah(server: Server) { with(&server, "buildah", clients::buildah); }
    fn oras_python(server: Server) { with(&server, "oras-python", clients::oras_python); }
    fn helm(server: Server) { with(&server, "helm", clients::helm); }
    fn cosign(server: Server) { with(&server, "cosign", clients::cosign); }
    fn kit(server: Server) { kit_wire::replay(&server.host, &Replay::scaled()); }
}

/// The same over TLS, by HTTP/2 where the client speaks it. Engine and storage make no difference to that.
macro_rules! over_tls {
    ($($client:ident: $name:literal),+ $(,)?) => {
        mod over_tls {
            use super::*;
            $(
                #[test]
                fn $client() {
                    if let Some(server) = Server::start_secure(Engine::Sqlite) {
                        with(&server, $name, clients::$client);
                    }
                }
            )+
        }
    };
}

over_tls! {
    crane: "crane", oras: "oras", regctl: "regctl", skopeo: "skopeo", podman: "podman", buildah: "buildah",
    oras_python: "oras-python", helm: "helm", cosign: "cosign",
}
