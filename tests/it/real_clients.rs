//! The clients that people use, against the real binary on both engines.

use crate::{
    clients::{self, Bin, Target},
    kit_wire::{self, Replay},
    s3::S3Kind,
    server::{Server, on},
};

fn with(server: &Server, name: &str, client: fn(&Target, &Bin)) {
    if let Some(bin) = Bin::wanted(name) {
        client(&Target { host: server.host.clone(), referrers: true }, &bin);
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
