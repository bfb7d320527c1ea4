//! The clients that people really use, doing real work against a running registry: what they push must come back byte
//! for byte. Each function takes the registry as it finds it, and keeps to repositories named after the client.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::kit_wire;
use crate::left_out::{environment, left_out, program, workspace};
use crate::sample::{Content, blobs_of, layout, sha256};
use crate::wire::Wire;

/// The registry under test.
pub(crate) struct Target {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    /// The PEM file of the authority that vouches for it; without one it is spoken to without TLS.
    pub(crate) authority: Option<PathBuf>,
    /// Whether it has the referrers API: ours does. Without it the clients keep an index under the tag
    /// `sha256-<digest>`, and what asks for the API itself is skipped.
    pub(crate) referrers: bool,
}

impl Target {
    /// A client's flags for a registry without TLS.
    fn without_tls(&self, flags: &'static str) -> &'static str {
        if self.authority.is_none() { flags } else { "" }
    }

    /// The registry as the tests' own requests name it.
    fn origin(&self) -> String {
        let scheme = if self.authority.is_none() { "" } else { "https://" };
        format!("{scheme}{}", self.host)
    }

    fn wire(&self) -> Wire {
        Wire::new(&self.origin())
    }
}

/// A client's program.
pub(crate) struct Bin {
    path: PathBuf,
}

impl Bin {
    /// The program called `name`, as `tests/clients/install` left it, else as PATH has it.
    pub(crate) fn find(name: &str) -> Option<PathBuf> {
        let cache = environment("PEDIGREE_CLIENTS").map_or_else(|| workspace().join("target/clients"), PathBuf::from);
        program(name, [cache.join("bin")])
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same, for a test that cannot do without it: says that the test is left out.
    pub(crate) fn wanted(name: &str) -> Option<Self> {
        let path = Self::find(name);
        if path.is_none() {
            left_out(name, "tests/clients/install");
        }
        path.map(|path| Self { path })
    }
}

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// `fraud/detector` 1.1 and the layer of it that is a tar of one file.
const DETECTOR: &str = "sha256:6abba1b81c15b62af1aef97a5298d1865049897fa57849cd32a7038e0652c433";
const DETECTOR_MODEL: &str = "sha256:75a1e8eb7cce11ffccde6d30231e23092e7d1f133b112b6d713aafe7c4c828e5";

/// crane: images from layers, the copy between repositories that mounts, tags, deletion by digest.
pub(crate) fn crane(target: &Target, bin: &Bin) {
    let crane = Client::new(bin, target);
    let host = &target.host;
    let image = format!("{host}/crane/image:1.0");
    // Compressed already, so that crane uploads the very bytes.
    let layer = crane.file("layer.tar.gz", &gzip_layer());
    crane.run(&format!("append --oci-empty-base -f {} -t {image}", layer.display()));

    let digest = crane.run(&format!("digest {image}"));
    let manifest = crane.bytes(&format!("manifest {image}"));
    assert_eq!(digest, sha256(&manifest));
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["layers"][0]["digest"], sha256(&gzip_layer()));
    let at = |repository: &str| format!("blob {host}/{repository}@{}", sha256(&gzip_layer()));
    assert_eq!(crane.bytes(&at("crane/image")), gzip_layer());

    // As a layout and as a tarball, and the tarball pushed again.
    crane.run(&format!("pull --format oci {image} {}", crane.path("layout")));
    assert_eq!(blobs_of(&crane.folder.path().join("layout"))[&sha256(&gzip_layer())], gzip_layer());
    crane.run(&format!("pull {image} {}", crane.path("image.tar")));
    crane.run(&format!("push {} {host}/crane/tarball:1.0", crane.path("image.tar")));
    assert_eq!(crane.bytes(&at("crane/tarball")), gzip_layer());

    // Mounts every blob from the first repository.
    crane.run(&format!("copy {image} {host}/crane/copy/deeper:1.0"));
    assert_eq!(crane.run(&format!("digest {host}/crane/copy/deeper:1.0")), digest);
    assert_eq!(crane.bytes(&at("crane/copy/deeper")), gzip_layer());

    crane.run(&format!("tag {image} 2.0"));
    crane.run(&format!("tag {image} champion"));
    assert_eq!(crane.run(&format!("ls {host}/crane/image")), "1.0\n2.0\nchampion");
    crane.run(&format!("delete {host}/crane/image@{digest}"));
    assert!(crane.fails(&format!("digest {image}")).contains("404"));
    assert_eq!(crane.run(&format!("digest {host}/crane/copy/deeper:1.0")), digest, "the copy is on its own");
}

/// oras: artifacts of plain files, referrers, whole graphs from a layout and back, single blobs.
pub(crate) fn oras(target: &Target, bin: &Bin) {
    let oras = Client::new(bin, target);
    let host = &target.host;
    let plain = target.without_tls("--plain-http");
    oras.file("up/notes.txt", b"Trained on the October extract.\n");
    oras.file("up/weights.bin", &Content::new(1, 300_000).to_vec());
    let artifact = format!("{host}/oras/files:1.0");
    oras.run_in(
        "up",
        &format!(
            "push {plain} {artifact} --artifact-type application/vnd.example.notes.v1 --annotation team=fraud \
             notes.txt:text/plain weights.bin:application/octet-stream"
        ),
    );
    oras.run(&format!("pull {plain} {artifact} -o {}", oras.path("down")));
    assert_eq!(oras.read("down/notes.txt"), b"Trained on the October extract.\n");
    assert_eq!(oras.read("down/weights.bin"), Content::new(1, 300_000).to_vec());

    // A referrer, found through the API and through what stands in for it.
    let digest = oras.run(&format!("resolve {plain} {artifact}"));
    oras.file("up/report.json", b"{\"auc\":0.93}");
    let api = if target.referrers { "--distribution-spec v1.1-referrers-api" } else { "" };
    oras.run_in(
        "up",
        &format!(
            "attach {plain} {api} --artifact-type application/vnd.example.report.v1 --annotation auc=0.93 \
             {artifact} report.json:application/json"
        ),
    );
    let found = oras.json(&format!("discover {plain} {api} --format json {artifact}"));
    assert_eq!(found["referrers"][0]["artifactType"], "application/vnd.example.report.v1", "{found}");
    assert_eq!(found["referrers"][0]["annotations"]["auc"], "0.93", "{found}");
    assert_eq!(found["referrers"].as_array().unwrap().len(), 1, "{found}");
    let none = oras.json(&format!(
        "discover {plain} {api} --artifact-type application/vnd.example.other --format json {artifact}"
    ));
    assert!(none["referrers"].as_array().is_none_or(Vec::is_empty), "{none}");
    if target.referrers {
        let path = format!("/v2/oras/files/referrers/{digest}?artifactType=application/vnd.example.report.v1");
        let reply = target.wire().get(&path, OCI_INDEX).expect(200);
        assert_eq!(reply.header("content-type"), Some(OCI_INDEX));
        assert_eq!(reply.header("oci-filters-applied"), Some("artifactType"));
        let tags = oras.run(&format!("repo tags {plain} {host}/oras/files"));
        assert_eq!(tags, "1.0", "the API makes the stand-in tag needless");
    }

    // A kit with its referrer, there and back.
    let (from_plain, to_plain) = (target.without_tls("--from-plain-http"), target.without_tls("--to-plain-http"));
    let detector = layout("fraud/detector");
    let kit = format!("{host}/oras/detector:1.0");
    oras.run(&format!("cp -r --from-oci-layout {to_plain} {}:1.0 {kit}", detector.display()));
    oras.run(&format!("cp -r {from_plain} --to-oci-layout {kit} {}:1.0", oras.path("layout")));
    let (sent, back) = (blobs_of(&detector), blobs_of(&oras.folder.path().join("layout")));
    let statement = "sha256:4ab0da605b14be4595c32112bdad9a51a376619d2f6aae1f2753c07938cb4f2c";
    assert!(back.contains_key(statement), "the referrer came along");
    for (digest, bytes) in &back {
        // The only thing that is not in the fixture: the index that stands in for the referrers API.
        let stand_in = !target.referrers
            && bytes.starts_with(b"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index");
        assert!(stand_in || sent.get(digest) == Some(bytes), "{digest} came back changed");
    }
    oras.run(&format!("cp --from-oci-layout {to_plain} {}:1.1 {host}/oras/detector:1.1", detector.display()));
    oras.run(&format!("tag {plain} {host}/oras/detector:1.1 champion"));
    let tags = oras.run(&format!("repo tags {plain} --exclude-digest-tags {host}/oras/detector"));
    assert_eq!(tags, "1.0\n1.1\nchampion");
    assert_eq!(oras.bytes(&format!("manifest fetch {plain} {host}/oras/detector:champion")), sent[DETECTOR]);
    oras.run(&format!("manifest delete {plain} -f {host}/oras/detector@{DETECTOR}"));
    oras.fails(&format!("manifest fetch {plain} {host}/oras/detector:champion"));

    // One blob that takes more than one read on every side.
    let blob = Content::new(2, 20 << 20).to_vec();
    let file = oras.file("blob.bin", &blob);
    oras.run(&format!("blob push {plain} {host}/oras/blobs {}", file.display()));
    oras.run(&format!("blob fetch {plain} {host}/oras/blobs@{} --output {}", sha256(&blob), oras.path("back.bin")));
    assert!(oras.read("back.bin") == blob, "20 MiB came back changed");
    oras.run(&format!("blob delete {plain} -f {host}/oras/blobs@{}", sha256(&blob)));
    oras.fails(&format!("blob fetch {plain} {host}/oras/blobs@{} --descriptor", sha256(&blob)));
}

/// regctl: layouts with everything that hangs on an image, tags deleted by name, referrers.
pub(crate) fn regctl(target: &Target, bin: &Bin) {
    let regctl = Client::new(bin, target);
    let host = &target.host;
    let tls = if target.authority.is_some() { "enabled" } else { "disabled" };
    regctl.run(&format!("registry set --tls {tls} {host}"));
    // regctl tidies the layouts that it opens.
    let detector = regctl.copy_of("fraud/detector", "in");
    let kit = format!("{host}/regctl/detector");
    regctl.run(&format!("image copy --referrers --digest-tags ocidir://{}:1.1 {kit}:1.1", detector.display()));
    regctl.run(&format!("image copy --referrers ocidir://{}:1.0 {kit}:1.0", detector.display()));
    regctl.run(&format!("image copy {kit}:1.1 {kit}:champion"));

    let sent = blobs_of(&layout("fraud/detector"));
    assert_eq!(regctl.bytes(&format!("manifest get --format raw-body {kit}:champion")), sent[DETECTOR]);
    assert_eq!(regctl.run(&format!("manifest head {kit}:champion")), DETECTOR);
    assert_eq!(regctl.bytes(&format!("blob get {kit} {DETECTOR_MODEL}")), sent[DETECTOR_MODEL]);
    // cosign 2 keeps its signature under a tag named after the digest.
    let signature = format!("{}.sig", DETECTOR.replace(':', "-"));
    let tags = regctl.run(&format!("tag ls {kit}"));
    for tag in ["1.0", "1.1", "champion", &signature] {
        assert!(tags.lines().any(|line| line == tag), "{tag} is missing from\n{tags}");
    }

    // Referrers, and a copy that takes them along, from repository to repository and into a layout.
    regctl.file("scan.json", b"{\"findings\":[]}");
    regctl.run(&format!(
        "artifact put --subject {kit}:1.1 --artifact-type application/vnd.example.scan.v1 \
         --file-media-type application/json --file {}",
        regctl.path("scan.json")
    ));
    let copy = format!("{host}/regctl/copy:1.1");
    regctl.run(&format!("image copy --referrers {kit}:1.1 {copy}"));
    for reference in [&format!("{kit}:1.1"), &copy] {
        let scan = format!("artifact get --subject {reference} --filter-artifact-type application/vnd.example.scan.v1");
        assert_eq!(regctl.bytes(&scan), b"{\"findings\":[]}");
        let list = regctl.json(&format!("artifact list {reference} --format raw-body"));
        assert_eq!(list["manifests"].as_array().unwrap().len(), 1, "{list}");
        let tree = regctl.run(&format!("artifact tree {reference}"));
        assert!(tree.contains("application/vnd.example.scan.v1"), "{tree}");
    }
    regctl.run(&format!("image copy --referrers {copy} ocidir://{}:1.1", regctl.path("out")));
    let back = blobs_of(&regctl.folder.path().join("out"));
    assert!(back.contains_key(&sha256(b"{\"findings\":[]}")), "the referrer came along");
    assert!(back.contains_key(DETECTOR) && back.contains_key(DETECTOR_MODEL));

    // Goes by the API; where that is missing, by a manifest made for the purpose.
    regctl.run(&format!("tag delete {kit}:champion"));
    regctl.fails(&format!("manifest head {kit}:champion"));
    assert_eq!(regctl.run(&format!("manifest head {kit}:1.1")), DETECTOR);
    regctl.run(&format!("manifest delete {kit}@{DETECTOR}"));
    regctl.fails(&format!("manifest head {kit}:1.1"));
}

/// skopeo: the oldest client library in wide use, and its way to look before it copies.
pub(crate) fn skopeo(target: &Target, bin: &Bin) {
    let skopeo = Client::new(bin, target);
    let host = &target.host;
    let plain = target.without_tls("--tls-verify=false");
    let (from_plain, to_plain) =
        (target.without_tls("--src-tls-verify=false"), target.without_tls("--dest-tls-verify=false"));
    let detector = layout("fraud/detector");
    let kit = format!("docker://{host}/skopeo/detector:1.1");
    skopeo.run(&format!("--insecure-policy copy --preserve-digests {to_plain} oci:{}:1.1 {kit}", detector.display()));
    let sent = blobs_of(&detector);
    assert_eq!(skopeo.bytes(&format!("inspect --raw {plain} {kit}")), sent[DETECTOR]);
    let tags = skopeo.json(&format!("list-tags {plain} docker://{host}/skopeo/detector"));
    assert_eq!(tags["Tags"], serde_json::json!(["1.1"]));

    // From repository to repository, then into a layout.
    let copy = format!("docker://{host}/skopeo/copy:1.1");
    skopeo.run(&format!("--insecure-policy copy --preserve-digests {from_plain} {to_plain} {kit} {copy}"));
    skopeo.run(&format!(
        "--insecure-policy copy --preserve-digests {from_plain} {copy} oci:{}:1.1",
        skopeo.path("layout")
    ));
    let back = blobs_of(&skopeo.folder.path().join("layout"));
    assert!(back.contains_key(DETECTOR));
    for (digest, bytes) in &back {
        assert_eq!(sent.get(digest), Some(bytes), "{digest} came back changed");
    }

    skopeo.run(&format!("delete {plain} {kit}"));
    skopeo.fails(&format!("inspect --raw {plain} {kit}"));
    assert_eq!(skopeo.bytes(&format!("inspect --raw {plain} {copy}")), sent[DETECTOR]);
}

/// podman: an engine's push and pull of an image, without an engine that could run one.
pub(crate) fn podman(target: &Target, bin: &Bin) {
    let podman = Client::new(bin, target);
    let plain = target.without_tls("--tls-verify=false");
    // Plain folders for the store: no overlay mounts, which a sandbox refuses. Everything stays in the test's folder.
    let store = format!(
        "--root {} --runroot {} --tmpdir {} --storage-driver vfs --cgroup-manager cgroupfs --events-backend none",
        podman.path("root"),
        podman.path("run"),
        podman.path("tmp")
    );
    let layer = podman.file("layer.tar", &blobs_of(&layout("fraud/detector"))[DETECTOR_MODEL]);
    let image = format!("{}/podman/image:1.0", target.host);
    podman.run(&format!("{store} import {} {image}", layer.display()));
    let id = podman.run(&format!("{store} images --no-trunc --quiet {image}"));
    podman.run(&format!("{store} push {plain} --digestfile {} {image}", podman.path("digest")));
    let digest = String::from_utf8(podman.read("digest")).unwrap();

    let reply = target.wire().get("/v2/podman/image/manifests/1.0", OCI_MANIFEST).expect(200);
    assert_eq!(sha256(&reply.body), digest);
    podman.run(&format!("{store} rmi --all --force"));
    podman.run(&format!("{store} pull {plain} {image}"));
    // The id is the digest of the configuration, which names the digests of the layers' contents.
    assert_eq!(podman.run(&format!("{store} images --no-trunc --quiet {image}")), id);
}

/// buildah: an image from nothing, and a list of images that is pushed with all of them.
pub(crate) fn buildah(target: &Target, bin: &Bin) {
    let buildah = Client::new(bin, target);
    let plain = target.without_tls("--tls-verify=false");
    let host = &target.host;
    // As for podman. Nothing is run in the container, so that nothing has to be isolated.
    let store = format!("--root {} --runroot {} --storage-driver vfs", buildah.path("root"), buildah.path("run"));
    let file = Content::new(3, 300_000).to_vec();
    buildah.file("up/weights.bin", &file);
    buildah.run(&format!("{store} from --name work scratch"));
    buildah.run(&format!("{store} copy work {} /models/", buildah.path("up/weights.bin")));
    buildah.run(&format!("{store} config --label team=fraud work"));
    let image = format!("{host}/buildah/image:1.0");
    buildah.run(&format!("{store} commit work {image}"));
    let id = buildah.run(&format!("{store} images --no-trunc --quiet {image}"));
    buildah.run(&format!("{store} push {plain} --digestfile {} {image}", buildah.path("digest")));
    let digest = String::from_utf8(buildah.read("digest")).unwrap();
    let reply = target.wire().get("/v2/buildah/image/manifests/1.0", OCI_MANIFEST).expect(200);
    assert_eq!(sha256(&reply.body), digest);

    // The list and its image, by digest.
    let list = format!("{host}/buildah/list:1.0");
    buildah.run(&format!("{store} manifest create list"));
    buildah.run(&format!("{store} manifest add {plain} list docker://{image}"));
    buildah.run(&format!("{store} manifest push --all {plain} --format oci list docker://{list}"));
    let reply = target.wire().get("/v2/buildah/list/manifests/1.0", OCI_INDEX).expect(200);
    let pushed: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(pushed["manifests"][0]["digest"], digest, "{pushed}");
    target.wire().get(&format!("/v2/buildah/list/manifests/{digest}"), OCI_MANIFEST).expect(200);

    buildah.run(&format!("{store} rm --all"));
    buildah.run(&format!("{store} rmi --all --force"));
    for reference in [&image, &list] {
        buildah.run(&format!("{store} pull {plain} {reference}"));
        // The id is the digest of the configuration, which names the digests of the layers' contents.
        assert_eq!(buildah.run(&format!("{store} images --no-trunc --quiet {reference}")), id);
    }
    buildah.run(&format!("{store} from --name back --pull-never {list}"));
    let mounted = buildah.run(&format!("{store} mount back"));
    assert!(std::fs::read(format!("{mounted}/models/weights.bin")).unwrap() == file);
}

/// The ORAS library for Python: files, in one piece and in chunks, a folder, tags, deletion by tag.
pub(crate) fn oras_python(target: &Target, bin: &Bin) {
    let oras = Client::new(bin, target);
    let program = oras.file("program.py", include_bytes!("../clients/oras-python.py"));
    let run = |command: &str, arguments: &str| {
        let scheme = if target.authority.is_some() { "https" } else { "http" };
        let target = format!("{scheme}://{}/oras-python/files", target.host);
        oras.run_in("up", &format!("{} {command} {target}{arguments}", program.display()))
    };
    // Larger than three chunks.
    let weights = Content::new(4, (3 << 20) + 5).to_vec();
    oras.file("up/notes.txt", b"Trained on the October extract.\n");
    oras.file("up/weights.bin", &weights);
    oras.file("up/data/train.csv", b"id,label\n1,0\n");
    run("push", ":1.0 notes.txt:text/plain weights.bin data");
    oras.file("up/weights.bin", &[&weights[..], b"more"].concat());
    run("push-chunked", ":1.1 weights.bin");

    run("pull", &format!(":1.0 {}", oras.path("down")));
    assert_eq!(oras.read("down/notes.txt"), b"Trained on the October extract.\n");
    assert!(oras.read("down/weights.bin") == weights);
    assert_eq!(oras.read("down/data/train.csv"), b"id,label\n1,0\n");
    run("pull", &format!(":1.1 {}", oras.path("down")));
    assert!(oras.read("down/weights.bin") == [&weights[..], b"more"].concat());

    assert_eq!(run("tags", ""), "1.0\n1.1");
    run("delete", " 1.0");
    assert_eq!(run("tags", ""), "1.1");
}

/// helm: a chart as an OCI artifact.
pub(crate) fn helm(target: &Target, bin: &Bin) {
    let helm = Client::new(bin, target);
    let plain = target.without_tls("--plain-http");
    helm.file("detector/Chart.yaml", b"apiVersion: v2\nname: detector\nversion: 1.2.3\nappVersion: \"1.1\"\n");
    helm.file("detector/values.yaml", b"replicas: 2\n");
    helm.file(
        "detector/templates/model.yaml",
        b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: model\ndata:\n  replicas: \"{{ .Values.replicas }}\"\n",
    );
    helm.run(&format!("package {} -d {}", helm.path("detector"), helm.path("packed")));
    let charts = format!("oci://{}/helm/charts", target.host);
    helm.run(&format!("push {plain} {} {charts}", helm.path("packed/detector-1.2.3.tgz")));
    helm.run(&format!("pull {plain} {charts}/detector --version 1.2.3 -d {}", helm.folder.path().display()));
    assert_eq!(helm.read("detector-1.2.3.tgz"), helm.read("packed/detector-1.2.3.tgz"));
    // Without a version helm asks for the list of tags.
    assert!(helm.run(&format!("show chart {plain} {charts}/detector")).contains("version: 1.2.3"));
}

/// cosign 3 with a key pair, with no transparency log: the bundle that refers to the image, and the older tag.
pub(crate) fn cosign(target: &Target, bin: &Bin) {
    let cosign = Client::new(bin, target);
    kit_wire::push_detector(&target.origin(), "cosign/detector");
    let kit = format!("{}/cosign/detector@{DETECTOR}", target.host);
    cosign.run("generate-key-pair --output-key-prefix ours");
    cosign.run("generate-key-pair --output-key-prefix other");
    // Nothing that asks a service: no transparency log, and no configuration fetched that would name one.
    let offline = "--yes --key ours.key --use-signing-config=false --tlog-upload=false";
    let verify = "--insecure-ignore-tlog=true --key";

    cosign.fails(&format!("verify {verify} ours.pub {kit}"));
    cosign.run(&format!("sign {offline} {kit}"));
    cosign.run(&format!("verify {verify} ours.pub {kit}"));
    cosign.fails(&format!("verify {verify} other.pub {kit}"));
    cosign.file("scan.json", b"{\"findings\":[]}");
    let kind = "--type https://example.com/scan/v1";
    cosign.run(&format!("attest {offline} {kind} --predicate scan.json {kit}"));
    cosign.run(&format!("verify-attestation {verify} ours.pub {kind} {kit}"));
    if target.referrers {
        let path = format!("/v2/cosign/detector/referrers/{DETECTOR}");
        let reply = target.wire().get(&path, OCI_INDEX).expect(200);
        let index: Value = serde_json::from_slice(&reply.body).unwrap();
        let bundles = index["manifests"].as_array().unwrap();
        assert_eq!(bundles.len(), 2, "{index}");
        for bundle in bundles {
            assert_eq!(bundle["artifactType"], "application/vnd.dev.sigstore.bundle.v0.3+json", "{index}");
        }
    }

    // What cosign 2 does, and cosign 3 still can: a tag named after the digest.
    cosign.run(&format!("sign {offline} --new-bundle-format=false {kit}"));
    cosign.run(&format!("verify {verify} ours.pub --new-bundle-format=false {kit}"));
    let reply = target.wire().get("/v2/cosign/detector/tags/list", "application/json").expect(200);
    let tags: Value = serde_json::from_slice(&reply.body).unwrap();
    let signature = format!("{}.sig", DETECTOR.replace(':', "-"));
    assert!(tags["tags"].as_array().unwrap().contains(&signature.clone().into()), "{tags}");
    let tree = cosign.run(&format!("tree {kit}"));
    assert!(tree.contains(&signature) && tree.contains("artifacts via OCI referrer"), "{tree}");

    // The copy takes the signature along.
    cosign.run(&format!("copy {kit} {}/cosign/copy:1.1", target.host));
    cosign.run(&format!("verify {verify} ours.pub --new-bundle-format=false {}/cosign/copy:1.1", target.host));
}

/// One client with a folder of its own for its settings, caches and files.
pub(crate) struct Client<'a> {
    bin: &'a Bin,
    authority: Option<&'a Path>,
    folder: TempDir,
}

impl<'a> Client<'a> {
    pub(crate) fn new(bin: &'a Bin, target: &'a Target) -> Self {
        let client = Self { bin, authority: target.authority.as_deref(), folder: tempfile::tempdir().unwrap() };
        // podman wants the file to be there once its folder is named.
        client.file(".docker/config.json", b"{}");
        client
    }

    /// Runs the client with these arguments, separated by white space. Its standard output, trimmed.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &str) -> String {
        self.run_in("", arguments)
    }

    /// The same in a sub-folder, for clients that put the paths which they are given into what they push.
    #[track_caller]
    fn run_in(&self, folder: &str, arguments: &str) -> String {
        String::from_utf8(self.output(folder, arguments, true)).unwrap().trim().to_owned()
    }

    /// The standard output as it stands.
    #[track_caller]
    fn bytes(&self, arguments: &str) -> Vec<u8> {
        self.output("", arguments, true)
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &str) -> Value {
        serde_json::from_slice(&self.output("", arguments, true)).unwrap()
    }

    /// Runs what must fail. What it said.
    #[track_caller]
    pub(crate) fn fails(&self, arguments: &str) -> String {
        String::from_utf8(self.output("", arguments, false)).unwrap()
    }

    #[track_caller]
    fn output(&self, folder: &str, arguments: &str, succeeds: bool) -> Vec<u8> {
        let home = self.folder.path();
        let output = Command::new(&self.bin.path)
            .args(arguments.split_whitespace())
            .current_dir(home.join(folder))
            // The settings and the logins of whoever runs the tests stay out of it.
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .env("XDG_DATA_HOME", home.join(".local"))
            .env("XDG_RUNTIME_DIR", home)
            .env("DOCKER_CONFIG", home.join(".docker"))
            .env("TMPDIR", home)
            .env("COSIGN_PASSWORD", "")
            // Where programs in Go look for the authorities to trust, and where those in Python do.
            .envs(self.authority.map(|file| ("SSL_CERT_FILE", file)))
            .envs(self.authority.map(|file| ("REQUESTS_CA_BUNDLE", file)))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), succeeds, "{} {arguments}\n{said}", self.bin.path.display());
        if succeeds { output.stdout } else { output.stderr }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).unwrap()
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A copy of a fixture's layout, for a client that writes into what it reads.
    fn copy_of(&self, repository: &str, name: &str) -> PathBuf {
        let from = layout(repository);
        for file in ["oci-layout", "index.json"] {
            self.file(&format!("{name}/{file}"), &std::fs::read(from.join(file)).unwrap());
        }
        for (digest, bytes) in blobs_of(&from) {
            self.file(&format!("{name}/blobs/{}", digest.replace(':', "/")), &bytes);
        }
        self.folder.path().join(name)
    }
}

/// A small layer that is compressed already.
fn gzip_layer() -> Vec<u8> {
    blobs_of(&layout("adhoc/customers")).into_values().find(|bytes| bytes.starts_with(&[0x1f, 0x8b])).unwrap()
}
