//! What files say of themselves. The files in `tests/data` were written by safetensors 0.8, gguf 0.19 and pyarrow 26.

use std::collections::BTreeMap;

use content::{Column, FileFormat, Limits, Metadata, Tensor, WHOLE};
use proptest::{collection, prelude::*, sample::Index};

use crate::build::{file, gzip, scan, sha256, tar, try_scan, zstd};

const SAFETENSORS: &[u8] = include_bytes!("../data/tiny.safetensors");
const GGUF: &[u8] = include_bytes!("../data/tiny.gguf");
const PARQUET: &[u8] = include_bytes!("../data/tiny.parquet");

/// What a file says, and that it is the same wherever the file is.
fn metadata(bytes: &[u8]) -> Metadata {
    let of = |layer: &[u8], path: &[u8]| {
        let scan = scan(layer).indexed();
        let file = scan.files.iter().find(|file| file.path == path).unwrap();
        assert_eq!((file.sha256, file.size), (sha256(bytes), bytes.len() as u64));
        *file.metadata.clone().unwrap()
    };
    let raw = of(bytes, WHOLE);
    assert_eq!(of(&tar(&[file("m", bytes), file("after", b"x")]), b"m"), raw);
    assert_eq!(of(&zstd(bytes), content::INNER), raw);
    assert_eq!(of(&tar(&[file("m.gz", &gzip(bytes)), file("after", b"x")]), b"m.gz!m"), raw);
    raw
}

fn problem(bytes: &[u8]) -> String {
    metadata(bytes).problem.unwrap()
}

fn entries(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn tensor(name: &str, dtype: &str, shape: &[u64], offset: u64, bytes: &[u8]) -> Tensor {
    let sha256 = (!bytes.is_empty()).then(|| sha256(bytes));
    Tensor {
        name: name.to_owned(),
        dtype: dtype.to_owned(),
        shape: shape.to_vec(),
        offset,
        size: bytes.len() as u64,
        sha256,
        constant: !bytes.is_empty() && bytes.chunks(8).all(|chunk| bytes.starts_with(chunk)),
    }
}

/// The tensors in the files: 0 to 11 in single precision, two ones in half.
fn floats() -> Vec<u8> {
    (0..12_u8).flat_map(|n| f32::from(n).to_le_bytes()).collect()
}

const HALVES: [u8; 4] = [0, 0x3c, 0, 0x3c];

#[test]
fn what_other_programs_write_is_read() {
    let safetensors = metadata(SAFETENSORS);
    assert_eq!(safetensors.format, FileFormat::Safetensors);
    assert_eq!(safetensors.problem, None);
    assert_eq!(safetensors.entries, entries(&[("base", "x"), ("format", "pt")]));
    assert_eq!(
        safetensors.tensors,
        [
            tensor("w", "F32", &[3, 4], 224, &floats()),
            tensor("z", "I64", &[0, 3], 224, b""),
            tensor("b", "F16", &[2], 272, &HALVES),
        ]
    );

    let gguf = metadata(GGUF);
    assert_eq!((gguf.format, gguf.problem), (FileFormat::Gguf, None));
    assert_eq!((gguf.architecture.as_deref(), gguf.quantization.as_deref()), (Some("llama"), Some("Q4_K_M")));
    assert_eq!(gguf.entry_count, 8);
    let expected = [
        ("general.architecture", "llama"),
        ("general.file_type", "15"),
        ("general.name", "tiny"),
        ("llama.context_length", "2048"),
        ("t", "true"),
        ("x.y", "0.5"),
    ];
    assert_eq!(gguf.entries, entries(&expected));
    // The same tensors have the same hashes, and shapes, in both formats.
    assert_eq!(gguf.tensors, [tensor("w", "F32", &[3, 4], 416, &floats()), tensor("b", "F16", &[2], 480, &HALVES)]);

    let parquet = metadata(PARQUET);
    assert_eq!((parquet.format, parquet.problem, parquet.rows), (FileFormat::Parquet, None, Some(3)));
    assert_eq!((parquet.entry_count, parquet.entries), (2, entries(&[("k", "v")])));
    let column = |path: &str, kind, logical| Column { path: path.to_owned(), kind, logical, repetition: "optional" };
    assert_eq!(
        parquet.columns,
        [
            column("id", "INT64", None),
            column("name", "BYTE_ARRAY", Some("STRING")),
            column("emb.list.element", "FLOAT", None),
            column("s.x", "INT64", None),
            column("s.y", "BYTE_ARRAY", Some("STRING")),
            column("ts", "INT64", Some("TIMESTAMP")),
        ]
    );
}

#[test]
fn any_of_them_cut_short_is_a_file_all_the_same() {
    // After the last tensor of the GGUF is padding.
    for (whole, end) in [(SAFETENSORS, SAFETENSORS.len()), (GGUF, 484), (PARQUET, PARQUET.len())] {
        for length in 20..end {
            let found = metadata(&whole[..length]);
            assert!(found.problem.is_some(), "{length}");
        }
        // More bytes than there should be.
        let longer = [whole, b"more"].concat();
        assert_eq!(metadata(&longer).problem.is_some(), whole == PARQUET);
    }
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn headers_of_safetensors_are_not_believed() {
    let one = |listed: &str| safetensors(&format!("{{\"a\":{listed}}}"), &[1; 16]);
    assert_eq!(metadata(&one(r#"{"dtype":"U8","shape":[16],"data_offsets":[0,16]}"#)).problem, None);
    // Of a type that nobody knows, the offsets count; members that nobody knows do not.
    let found = metadata(&one(r#"{"dtype":"X3","shape":[7],"data_offsets":[2,16],"new":[[{}]]}"#));
    assert_eq!((found.problem, found.tensors[0].sha256), (None, Some(sha256([1; 14]))));
    for (listed, reason) in [
        (r#"{"dtype":"U8","shape":[15],"data_offsets":[0,16]}"#, "the size of a tensor is wrong: \"a\""),
        (r#"{"dtype":"U8","shape":[16],"data_offsets":[16,0]}"#, "the size of a tensor is wrong: \"a\""),
        (
            r#"{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,16]}"#,
            "the size of a tensor is wrong: \"a\"",
        ),
        (
            r#"{"dtype":"U8","shape":[],"data_offsets":[18446744073709551614,18446744073709551615]}"#,
            "the size of a tensor is wrong: \"a\"",
        ),
        (r#"{"dtype":"X","shape":[],"data_offsets":[0,9223372036854775807]}"#, "the file is cut short"),
        (
            r#"{"dtype":"X","shape":[],"data_offsets":[9223372036854775807,9223372036854775808]}"#,
            "the file is cut short",
        ),
    ] {
        assert_eq!(problem(&one(listed)), reason, "{listed}");
    }
    for malformed in [
        "{\"a\":1}",
        "{\"a\":{}}",
        "{ ",
        "{}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1e99],\"data_offsets\":[0,1]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}",
        &format!("{{\"a\":{}", "[".repeat(100_000)),
        &format!("{{\"__metadata__\":{{\"a\":{}", "[".repeat(100_000)),
        &format!("{{\"a\":{{\"new\":{}", "{\"a\":".repeat(100_000)),
        &format!("{{\"a\":{{\"dtype\":\"U8\",\"shape\":[{}1]", "1,".repeat(100_000)),
    ] {
        let problem = problem(&safetensors(malformed, b""));
        assert!(problem.starts_with("the header is malformed: "), "{problem}");
    }
    // Tensors that share bytes have no hash, however they are listed.
    let overlapping =
        r#"{"b":{"dtype":"U8","shape":[8],"data_offsets":[7,15]},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#;
    let found = metadata(&safetensors(overlapping, &[1; 16]));
    assert_eq!(found.problem.as_deref(), Some("tensors overlap"));
    assert!(found.tensors.len() == 2 && found.tensors.iter().all(|tensor| tensor.sha256.is_none()));
    // In any other order they have.
    let backwards =
        r#"{"b":{"dtype":"U8","shape":[8],"data_offsets":[8,16]},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#;
    let found = metadata(&safetensors(backwards, &[[1; 8], [2; 8]].concat()));
    assert_eq!(
        found.tensors.iter().map(|tensor| tensor.sha256).collect::<Vec<_>>(),
        [Some(sha256([1; 8])), Some(sha256([2; 8]))]
    );
    // The header's length alone allocates nothing, and is limited.
    let limits = Limits { metadata: 30, ..Limits::default() };
    let limited = try_scan(&safetensors(&format!("{{}}{}", " ".repeat(29)), b"")[..], None, &limits).unwrap();
    let reason = limited.files[0].metadata.clone().unwrap().problem;
    assert_eq!(reason.as_deref(), Some("the header of 31 bytes exceeds the limit of 30"));
    let long = [&99_999_999_u64.to_le_bytes()[..], b"{\"a\":"].concat();
    assert_eq!(problem(&long), "the header of 99999999 bytes exceeds the limit of 8388608");
}

#[test]
fn what_is_kept_of_entries_is_little() {
    let texts = (0..1000).map(|n| format!("\"k{n:04}\":\"v\"")).collect::<Vec<_>>().join(",");
    let found = metadata(&safetensors(&format!("{{\"__metadata__\":{{{texts}}}}}"), b""));
    assert_eq!((found.entries.len(), found.entry_count, found.problem), (256, 1000, None));
    let odd = format!(
        "{{\"__metadata__\":{{\"a\":1,\"b\":[\"x\"],\"c\":{{\"d\":null}},\"e\":\"{}\",\"f\":\"v\"}}}}",
        "x".repeat(2000)
    );
    let found = metadata(&safetensors(&odd, b""));
    assert_eq!((found.entries, found.entry_count), (entries(&[("f", "v")]), 5));
}

/// A GGUF file of parts.
fn gguf(version: u32, tensors: u64, pairs: u64, rest: &[u8]) -> Vec<u8> {
    [b"GGUF", &version.to_le_bytes()[..], &tensors.to_le_bytes(), &pairs.to_le_bytes(), rest].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn pair(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(name)[..], &kind.to_le_bytes(), value].concat()
}

fn listed(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let shape_bytes = shape.iter().flat_map(|extent| extent.to_le_bytes());
    let dimensions = u32::try_from(shape.len()).unwrap().to_le_bytes();
    [&text(name)[..], &dimensions, &shape_bytes.collect::<Vec<_>>(), &kind.to_le_bytes(), &offset.to_le_bytes()]
        .concat()
}

/// A file with tensors, whose bytes begin after so many of these parts.
fn model(tensors: &[Vec<u8>], data: &[u8]) -> Vec<u8> {
    let mut bytes = gguf(3, tensors.len() as u64, 0, &tensors.concat());
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    [&bytes[..], data].concat()
}

#[test]
fn headers_of_gguf_are_not_believed() {
    let huge = u64::MAX.to_le_bytes();
    let array = |kind: u32, count: &[u8]| pair("a", 9, &[&kind.to_le_bytes()[..], count].concat());
    for (bytes, reason) in [
        (gguf(1, 0, 0, b""), "version 1 is not known here"),
        (gguf(3_u32.swap_bytes(), 0, 0, b""), "version 50331648 is not known here"),
        (gguf(3, 0, u64::MAX, b""), "the file is cut short"),
        (gguf(3, u64::MAX, 0, &[0; 10_000]), "the file is cut short"),
        (gguf(3, 0, 1, &huge), "the file is cut short"),
        (gguf(3, 0, 1, &pair("a", 8, &huge)), "the file is cut short"),
        (gguf(3, 0, 1, &pair("a", 77, b"")), "the type 77 of a value is not known here"),
        (gguf(3, 0, 1, &array(10, &huge)), "a length is too large"),
        (gguf(3, 0, 1, &array(0, &huge)), "the file is cut short"),
        (gguf(3, 0, 1, &array(8, &huge)), "the file is cut short"),
        (gguf(3, 0, 1, &array(77, &huge)), "the type 77 of a value is not known here"),
        (
            gguf(
                3,
                0,
                1,
                &[
                    &array(9, &1_u64.to_le_bytes())[..],
                    &[&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat().repeat(50),
                ]
                .concat(),
            ),
            "arrays are too deep in each other",
        ),
        (gguf(3, 0, 1, &pair("general.alignment", 4, &[0; 4])), "the alignment is 0"),
        (gguf(3, 1, 0, &huge), "the file is cut short"),
        (gguf(3, 1, 0, &[&text("a")[..], &9_u32.to_le_bytes()].concat()), "a tensor has 9 dimensions"),
        (model(&[listed("a", &[u64::MAX, 2], 0, 0)], b""), "the size of a tensor is wrong"),
        (model(&[listed("a", &[1 << 62], 0, 0)], b""), "the size of a tensor is wrong"),
        (model(&[listed("a", &[31], 2, 0)], b""), "the size of a tensor is wrong"),
        (model(&[listed("a", &[1], 0, u64::MAX)], b""), "a tensor is too far away"),
        (model(&[listed("a", &[1], 0, u64::MAX - 64)], b""), "a tensor is too large"),
        (model(&[listed("a", &[1 << 61], 0, 0)], b""), "the file is cut short"),
        (model(&[listed("a", &[4], 0, 0), listed("b", &[4], 0, 15)], &[0; 64]), "tensors overlap"),
    ] {
        assert_eq!(problem(&bytes), reason);
    }
    let many: Vec<_> = (0..40_000).map(|_| listed("", &[], 99, 0)).collect();
    assert_eq!(problem(&model(&many, b"")), "the tensors exceed the limit of 8388608 bytes");
}

#[test]
fn tensors_of_gguf_are_found_where_they_are() {
    // Listed in another order than they lie in, with gaps, one empty, one of a type that nobody knows.
    let data: Vec<u8> = (0..=255).collect();
    let tensors = [
        listed("late", &[32, 2], 2, 64),
        listed("first", &[2, 3], 1, 32),
        listed("none", &[0], 0, 0),
        listed("new", &[5], 99, 8),
    ];
    let found = metadata(&model(&tensors, &data));
    assert_eq!(found.problem, None);
    let start = model(&tensors, b"").len() as u64;
    assert_eq!(
        found.tensors,
        [
            tensor("late", "Q4_0", &[2, 32], start + 64, &data[64..100]),
            tensor("first", "F16", &[3, 2], start + 32, &data[32..44]),
            tensor("none", "F32", &[0], start, b""),
            tensor("new", "type 99", &[5], start + 8, b""),
        ]
    );
    // Without being told, most of it decides.
    assert_eq!(found.quantization.as_deref(), Some("Q4_0"));
    let aligned = pair("general.alignment", 4, &64_u32.to_le_bytes());
    let mut bytes = gguf(3, 1, 1, &[&aligned[..], &listed("a", &[1], 24, 0)].concat());
    bytes.resize(bytes.len().next_multiple_of(64), 0);
    assert_eq!(metadata(&[&bytes[..], b"x"].concat()).tensors[0].sha256, Some(sha256("x")));
}

/// A Parquet file with a footer.
fn parquet(footer: &[u8]) -> Vec<u8> {
    let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
    [b"PAR1............", footer, &length, b"PAR1"].concat()
}

#[test]
fn footers_of_parquet_are_not_believed() {
    // A list of three nodes: the root, one with a child, and that child; then 5 rows.
    let node = |name: &[u8], children: &[u8]| {
        [b"\x48", &[u8::try_from(name.len()).unwrap()][..], name, children, b"\0"].concat()
    };
    let leaf = |name: &[u8]| [b"\x15\x02\x38", &[u8::try_from(name.len()).unwrap()][..], name, b"\0"].concat();
    let footer = |nodes: &[Vec<u8>]| {
        let count = u8::try_from(nodes.len()).unwrap();
        [b"\x15\x02\x19\xfc", &[count][..], &nodes.concat(), b"\x16\x0a\0"].concat()
    };
    let nested = [node(b"root", b"\x15\x02"), node(b"a", b"\x15\x02"), leaf(b"b")];
    let found = metadata(&parquet(&footer(&nested)));
    assert_eq!((found.problem, found.rows, found.columns.len()), (None, Some(5), 1));
    assert_eq!((&found.columns[0].path[..], found.columns[0].kind), ("a.b", "INT32"));

    let malformed = "the footer is malformed";
    let deep = [vec![node(b"root", b"\x15\x02")], vec![node(b"a", b"\x15\x02"); 70], vec![leaf(b"b")]].concat();
    for footer in [
        b"".to_vec(),
        b"\0".to_vec(),
        // Rows without a schema, a negative number of them, a schema without rows.
        b"\x36\x0a\0".to_vec(),
        footer(&nested).iter().map(|&byte| if byte == 0x0a { 0x09 } else { byte }).collect(),
        [b"\x15\x02\x19\x3c", &nested.concat()[..], b"\0"].concat(),
        // Children that do not come, and those that nobody has.
        footer(&nested[..2]),
        footer(&[nested.to_vec(), vec![leaf(b"c")]].concat()),
        footer(&deep),
        // Lengths and counts of nearly everything.
        b"\x29\xfc\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
        b"\x98\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
        b"\x99\xfc\xff\xff\xff\xff\x0f".to_vec(),
        b"\x9b\xff\xff\xff\xff\x0f\x55".to_vec(),
        b"\x9c".repeat(10_000),
        b"\x99\x19".repeat(10_000),
        b"\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
    ] {
        assert_eq!(problem(&parquet(&footer)), malformed, "{}", footer.escape_ascii());
    }
    let end = |end: &[u8]| problem(&[b"PAR1............", end].concat());
    assert_eq!(end(b"\0\0\0\0PARE"), "the footer is encrypted");
    assert_eq!(end(b"\x00\x01\0\0PAR1"), "the footer is longer than the file");
    assert_eq!(end(b"\xff\xff\xff\xffPAR1"), "the footer of 4294967295 bytes exceeds the limit of 8388608");
    // It is found at the end of however many bytes.
    let bytes = [b"PAR1".to_vec(), vec![7; 20 << 20], parquet(&footer(&nested))].concat();
    let limits = Limits { metadata: 1000, ..Limits::default() };
    let found = try_scan(&tar(&[file("m", &bytes)])[..], None, &limits).unwrap();
    assert_eq!(found.files[0].metadata.clone().unwrap().rows, Some(5));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_they_say_the_file_is_the_file(
        which in 0..3_usize,
        changes in collection::vec((any::<Index>(), prop_oneof![any::<u8>(), Just(0), Just(0xff)]), 1..6),
        cut in any::<Index>(),
    ) {
        let mut bytes = [SAFETENSORS, GGUF, PARQUET][which].to_vec();
        for (at, to) in changes {
            let at = 8 + at.index(bytes.len() - 8);
            bytes[at] = to;
        }
        bytes.truncate((bytes.len() / 2 + cut.index(bytes.len())).min(bytes.len()));
        let layer = tar(&[file("m", &bytes), file("after", b"x")]);
        let found = scan(&layer).indexed();
        found.assert_files(&[(b"m", &bytes), (b"after", b"x")]);
        let limited = try_scan(&layer[..], None, &Limits { metadata: 50, ..Limits::default() }).unwrap().indexed();
        limited.assert_files(&[(b"m", &bytes), (b"after", b"x")]);
    }
}

/// What the one file of a layer says, if it says that it is the configuration of an adapter.
fn adapter_config(bytes: &[u8]) -> Option<String> {
    scan(bytes).files.first()?.metadata.as_ref().and_then(|metadata| metadata.adapter_config.clone())
}

#[test]
fn configurations_of_adapters_are_kept_whole() {
    let config = "\n{\"base_model_name_or_path\": \"org/a\", \"peft_type\": \"LORA\"}\n";
    assert_eq!(adapter_config(config.as_bytes()).as_deref(), Some(config));
    for other in [
        "{}",
        "{\"peft_type\":7}",
        "{\"a\":\"\\\"peft_type\\\"\"}",
        "{\"peft_type\":\"LORA\"",
        "{\"a\":{\"peft_type\":\"LORA\"}}",
    ] {
        assert_eq!(adapter_config(other.as_bytes()), None, "{other}");
    }
    let padded = |length: usize| {
        let start = "{\"peft_type\":\"LORA\"}";
        format!("{start}{}", " ".repeat(length - start.len()))
    };
    assert!(adapter_config(padded((64 << 10) - 1).as_bytes()).is_some());
    assert_eq!(adapter_config(padded(64 << 10).as_bytes()), None, "it may go on");
    assert_eq!(adapter_config(padded(300_000).as_bytes()), None);
}

#[test]
fn front_matter_may_have_blanks_in_front() {
    let kept = |bytes: &[u8]| {
        let found = scan(bytes).indexed();
        found.files[0].metadata.as_ref().and_then(|metadata| metadata.front_matter.clone())
    };
    let text = "---\nbase_model: org/a\n---\n";
    for front in ["", "\u{feff}", "\n\n", "\u{feff}\r\n \t\n"] {
        assert_eq!(kept(format!("{front}{text}# Card\n").as_bytes()).as_deref(), Some(text), "{front:?}");
    }
    assert!(kept(b"--- \r\na: b\r\n--- \r\n").is_some());
    for other in ["--- a\n---\n", "----\n---\n", "---\na: b\n", "# Card\n---\na: b\n---\n"] {
        assert_eq!(kept(other.as_bytes()), None, "{other}");
    }
}
