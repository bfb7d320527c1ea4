//! The distribution specification's own conformance suite, at the released version and at the one to come.

use std::process::Command;

use crate::{
    clients::Bin,
    left_out::left_out,
    s3::S3Kind,
    server::{Server, on},
};

/// Runs the suite with its own defaults, in which everything is asked for but manifests whose layers were never pushed
/// ("sparse" images): this registry refuses those, for their layers could not be looked into.
fn conforms(server: &Server, version: &str) {
    let Some(suite) = Bin::find("oci-conformance") else { return left_out("oci-conformance", "tests/clients/install") };
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(suite)
        .current_dir(folder.path())
        .env("OCI_REGISTRY", &server.host)
        .env("OCI_TLS", "disabled")
        .env("OCI_VERSION", version)
        .env("OCI_REPO1", format!("conformance/v{version}/one"))
        .env("OCI_REPO2", format!("conformance/v{version}/two"))
        .env("OCI_RESULTS_DIR", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let at = said.find("OCI Conformance Result").expect("the suite ran to its end");
    let result = &said[at..];
    let count = |name: &str| -> u64 {
        let line = result.lines().find(|line| line.trim_start().starts_with(&format!("{name}."))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let problems = ["FAIL", "Error", "Skip"].map(count);
    assert!(output.status.success() && problems == [0; 3], "{said}");
    assert!(count("Pass") > 800 && count("Pass") == count("Total") - count("Disabled"), "{result}");
}

on! {
    [sqlite: Sqlite, Disk] [postgres_versity: Postgres, S3(S3Kind::Versity)] [postgres_minio: Postgres, S3(S3Kind::Minio)]
    fn released(server: Server) { conforms(&server, "1.1"); }
    fn to_come(server: Server) { conforms(&server, "dev"); }
}
