use proptest::prelude::*;

use super::*;

const COMMIT: &str = "4a1b0c6a7f0d1e2c3b4a5968778695a4b3c2d1e0";

#[track_caller]
fn check(text: &str, expected: Option<(&str, bool)>) {
    let identity = External::parse(text);
    let found = identity.as_ref().map(|identity| (identity.as_str(), identity.is_versioned()));
    assert_eq!(found, expected, "{text}");
    if let Some(identity) = &identity {
        assert_eq!(External::parse(identity.as_str()).as_ref(), Some(identity), "{text}");
    }
}

/// Each text is the identity before it in its line, `*` marks what is versioned.
fn check_all(table: &[(&str, &[&str])]) {
    for (expected, texts) in table {
        let (identity, versioned) = expected.strip_suffix('*').map_or((*expected, false), |text| (text, true));
        let identity = identity.replace("COMMIT", COMMIT);
        for text in texts.iter().chain([&&*identity]) {
            check(&text.replace("COMMIT", COMMIT), Some((&identity, versioned)));
        }
    }
}

#[test]
fn the_hub() {
    check_all(&[
        ("hf://org/name", &["hf://org/name@main", "HF://org/name/", "https://huggingface.co/org/name"]),
        ("hf://org/name", &["https://hf.co/org/name/tree/main", "https://me:hf_tok@huggingface.co/org/name"]),
        ("hf://org/name", &["pkg:huggingface/org/name", "git+https://huggingface.co/org/name"]),
        ("hf://org/name@v1.0", &["https://huggingface.co/org/name/tree/v1.0"]),
        (
            "hf://org/name@COMMIT*",
            &["https://huggingface.co/org/name/commit/COMMIT", "pkg:huggingface/org/name@COMMIT"],
        ),
        (
            "hf://org/name@COMMIT*",
            &["hf://org/name@4A1B0C6A7F0D1E2C3B4A5968778695A4B3C2D1E0", "hf://org/name?version=COMMIT"],
        ),
        ("hf://org/name@COMMIT/a/b.bin*", &["https://huggingface.co/org/name/resolve/COMMIT/a/b.bin?download=true"]),
        ("hf://datasets/org/name", &["https://huggingface.co/datasets/org/name"]),
        ("hf://datasets/org/name@COMMIT*", &["https://huggingface.co/datasets/org/name/tree/COMMIT"]),
        ("hf://datasets/org/name@refs%2Fconvert%2Fparquet/x", &["hf://datasets/org/name@refs/convert/parquet/x"]),
        ("hf://org/name@refs%2Fpr%2F1", &["https://huggingface.co/org/name/tree/refs%2Fpr%2F1"]),
        ("hf://datasets/squad", &["https://huggingface.co/datasets/squad"]),
        ("hf://gpt2@main/config.json", &["https://huggingface.co/gpt2/blob/main/config.json"]),
        ("https://huggingface.co/docs/hub", &["https://huggingface.co/docs/hub#top"]),
        ("https://huggingface.co/org/name/discussions/3", &[]),
    ]);
}

#[test]
fn git() {
    check_all(&[
        (
            "git+https://git.example.com/fraud/detector@main",
            &[
                "git+https://git.example.com/fraud/detector@refs/heads/main",
                "git+https://GIT.example.com:443/fraud/detector.git@main",
                "git+https://oauth2:glpat-secret@git.example.com/fraud/detector.git@main",
                "git+ssh://git@git.example.com:22/fraud/detector.git@main",
                "git@git.example.com:fraud/detector.git@main",
                "ssh://git@git.example.com/fraud/detector@main",
                "https://git.example.com/fraud/detector.git@main",
                "https://git.example.com/fraud/detector.git#main",
                "git://git.example.com:9418/fraud/detector@main",
            ],
        ),
        (
            "git+https://git.example.com/a/b@COMMIT*",
            &["git+https://git.example.com/a/b.git@COMMIT", "https://git.example.com/a/b.git#COMMIT"],
        ),
        ("git+https://h.example/a/b@COMMIT#subdirectory=c/d*", &["https://h.example/a/b.git#COMMIT:c/d"]),
        ("git+ssh://h.example:2222/a/b", &["git+ssh://git@h.example:2222/a/b.git"]),
        (
            "git+https://github.com/org/repo",
            &["https://github.com/org/repo", "https://github.com/org/repo.git", "pkg:github/org/repo"],
        ),
        (
            "git+https://github.com/org/repo@COMMIT*",
            &["https://github.com/org/repo/commit/COMMIT", "pkg:github/org/repo@COMMIT"],
        ),
        ("git+https://github.com/org/repo@v1#subdirectory=src/x", &["https://github.com/org/repo/tree/v1/src/x"]),
        ("https://github.com/org/repo/releases/download/v1/x.tar.gz", &[]),
        // Half a commit moves when a repository grows.
        ("git+https://h.example/a@4a1b0c6", &["git+https://h.example/a.git@4a1b0c6"]),
    ]);
}

#[test]
fn dvc_names_files_by_their_md5() {
    let md5 = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    let identity = External::parse("DVC:md5:0123456789ABCDEF0123456789abcdef").unwrap();
    assert_eq!((identity.md5(), &External::of_md5(md5)), (Some(md5), &identity));
    assert_eq!(External::of_md5([0; 16]).md5(), Some([0; 16]));
    for other in ["dvc:md5:0123456789abcdef0123456789abcdef.dir", "dvc:md5:0123", "s3://bucket/key"] {
        assert_eq!(External::parse(other).unwrap().md5(), None, "{other}");
    }
}

#[test]
fn everything_else() {
    check_all(&[
        (
            "s3://bucket/Key name",
            &["s3a://bucket/Key name", "s3n://Bucket/Key name", "s3://AKIA:secret@bucket/Key name"],
        ),
        (
            "s3://bucket/key?versionId=a.b*",
            &[
                "s3://bucket/key?versionid=a.b",
                "s3://bucket/key?version=a.b",
                "s3://bucket/key?versionId=a.b&X-Amz-Security-Token=x",
            ],
        ),
        ("s3://bucket/key?versionId=null", &[]),
        ("gs://bucket/object", &["gcs://bucket/object"]),
        ("gs://bucket/object#1700000000000000*", &["gs://bucket/object?generation=1700000000000000"]),
        ("runs:/0123abcd/model*", &["RUNS:/0123abcd/model"]),
        ("mlflow-run:0123abcd*", &[]),
        ("models:/fraud/7*", &[]),
        ("models:/m-0123456789abcdef0123456789abcdef*", &[]),
        ("models:/fraud/Production", &[]),
        ("models:/fraud@champion", &[]),
        ("dvc:md5:0123456789abcdef0123456789abcdef.dir*", &["dvc:MD5:0123456789ABCDEF0123456789abcdef.dir"]),
        ("dvc:md5:0123", &[]),
        ("pkg:pypi/torch@2.5.0*", &["PKG:PyPI/torch@2.5.0"]),
        ("pkg:pypi/torch", &[]),
        ("file:///data/train.csv", &["file:/data/train.csv", "file://localhost/data/train.csv"]),
        ("postgres://db.example:5432/shop.public.orders", &["postgres://reader:pw@DB.example:5432/shop.public.orders"]),
        ("bigquery/project.set.table", &[]),
        ("bigquery/project.set.table?version=17*", &[]),
        (
            "https://example.com/x.tar?a=1",
            &["HTTPS://Example.com:443/x.tar?a=1#part", "https://example.com/x.tar?a=1&token=t"],
        ),
        (
            "https://bucket.example.com/key",
            &["https://bucket.example.com/key?X-Amz-Date=1&X-Amz-Expires=2&x=y&X-Amz-Signature=3"],
        ),
        ("abfss://data@account.example.com/x", &["abfss://data@Account.example.com/x"]),
        ("org/name", &[" org/name\n"]),
    ]);
    for text in ["", " ", "a\nb", &format!("sha256:{}", "a".repeat(64)), &"x".repeat(EXTERNAL_LIMIT + 1), "?token=x"] {
        check(text, None);
    }
}

#[test]
fn commits_replace_branches_and_not_each_other() {
    let at = |text: &str| {
        let identity = External::parse(text).unwrap().at_commit(COMMIT);
        identity.map(|identity| identity.as_str().to_owned())
    };
    assert_eq!(at("git+https://h.example/a@main"), Some(format!("git+https://h.example/a@{COMMIT}")));
    assert_eq!(at("hf://datasets/org/name"), Some(format!("hf://datasets/org/name@{COMMIT}")));
    assert_eq!(at(&format!("git+https://h.example/a@{COMMIT}")), Some(format!("git+https://h.example/a@{COMMIT}")));
    assert_eq!(at(&format!("hf://org/name@{}", "0".repeat(40))), None);
    assert_eq!(at("s3://bucket/key"), Some("s3://bucket/key".to_owned()));
}

/// Texts of the pieces that mean something, so that the readers are reached.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "hf://",
        "https://",
        "git+ssh://",
        "git+https://",
        "ssh://",
        "git@",
        "s3://",
        "gs://",
        "abfss://",
        "file:",
        "pkg:",
        "huggingface.co/",
        "github.com/",
        "huggingface/",
        "github/",
        "oci/",
        "datasets/",
        "tree/",
        "commit/",
        "resolve/",
        "refs/heads/",
        "refs/pr/",
        "main",
        COMMIT,
        ".git",
        "/",
        "//",
        "@",
        ":",
        "#",
        "?",
        "&",
        ";",
        "=",
        "%2F",
        "%40",
        "version",
        "versionId",
        "generation",
        "latest",
        "7",
        ":443",
        ":22",
        "[::1]",
        "H.example",
        "a",
        "b",
        "models:/",
        "runs:/",
        "dvc:md5:",
        "0123456789abcdef0123456789abcdef",
        "m-",
        " ",
        "é",
    ]);
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn canonical_texts_are_canonical(text in prop_oneof![texts(), any::<String>()]) {
        if let Some(identity) = External::parse(&text) {
            prop_assert!(!identity.as_str().contains(char::is_control));
            let again = External::parse(identity.as_str());
            prop_assert_eq!(again.as_ref(), Some(&identity));
            if let Some(at) = identity.at_commit(COMMIT) {
                prop_assert_eq!(External::parse(at.as_str()), Some(at));
            }
        }
    }

    /// Nearly none is turned down for being unstable.
    #[test]
    fn plain_texts_are_kept(
        scheme in "(https|s3|gs|hf|git\\+https|postgres|hdfs|ftp|abfss)",
        rest in "[a-z]{1,8}(\\.[a-z]{2,3})?(/[A-Za-z0-9._ -]{1,8}[a-z]){1,4}",
    ) {
        let text = format!("{scheme}://{rest}");
        prop_assert!(External::parse(&text).is_some());
    }

    #[test]
    fn secrets_never_survive(
        scheme in "(https|git\\+https|git\\+ssh|s3|gs|hf|postgres|pkg|abfss|oci|weird\\+x)",
        user in "[a-zA-Z0-9._~%-]{0,6}",
        host in "(github.com|huggingface.co|h\\.example(:[0-9]{1,4})?)",
        path in "(/[a-z@:.]{1,6}){1,3}(\\.git)?",
        before in "([a-z]{1,4}=[a-z]{0,3}&){0,2}",
        parameter in "(X-Amz-Signature|sig|TOKEN|access_token|api-key|p%61ssword|secret|client_secret|Signature|x-goog-credential|AWSAccessKeyId)",
        after in "(&[a-z]{1,4}=[a-z]{0,3}){0,2}",
        delimiter in "[?#;]",
    ) {
        let text = format!("{scheme}://{user}:S3CR3T@{host}{path}{delimiter}{before}{parameter}=S3CR3T{after}");
        let lower = |text: &str| text.to_ascii_lowercase();
        if let Some(identity) = External::parse(&text) {
            prop_assert!(!lower(identity.as_str()).contains("s3cr3t"), "{identity}");
        }
        prop_assert!(!lower(&crate::statement::shown(&text)).contains("s3cr3t"));
        let nested = format!("https://h.example/x?u={}", percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC));
        prop_assert!(!lower(&without_secrets(&nested)).contains("s3cr3t"));
    }
}
