//! zip, as many writers make it, and as nobody should.

use content::{Archive, Compression, Form, Limits, WHOLE};

use crate::build::{Scan, file, gzip, scan, sha256, tar, try_scan};

/// How an entry of a zip is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Packing {
    pub(crate) deflated: bool,
    /// Whether its sizes stand behind it only, or also, or not.
    pub(crate) streamed: Streamed,
    /// Whether sizes are of 64 bits.
    pub(crate) wide: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Streamed {
    No,
    Only,
    /// Without the signature, which many leave out.
    OnlyUnsigned,
    Also,
}

pub(crate) const PLAIN: Packing = Packing { deflated: false, streamed: Streamed::No, wide: false };

fn packings() -> Vec<Packing> {
    let mut all = Vec::new();
    for deflated in [false, true] {
        for streamed in [Streamed::No, Streamed::Only, Streamed::OnlyUnsigned, Streamed::Also] {
            for wide in [false, true] {
                // The end of what is stored so cannot be found.
                if deflated || streamed != Streamed::OnlyUnsigned {
                    all.push(Packing { deflated, streamed, wide });
                }
            }
        }
    }
    all
}

/// A zip, with what is to stand in the fields of its table.
#[derive(Default)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    table: Vec<u8>,
    entries: u16,
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, body).unwrap();
    encoder.finish().unwrap()
}

fn crc(body: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(body);
    crc.sum()
}

fn le16(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().to_le_bytes()
}

impl Builder {
    pub(crate) fn add(self, name: &[u8], body: &[u8], packing: Packing) -> Self {
        let packed = if packing.deflated { deflate(body) } else { body.to_vec() };
        let method = if packing.deflated { 8 } else { 0 };
        self.raw(name, &packed, (crc(body), body.len() as u64), method, 0, 0, packing)
    }

    /// A symbolic link, as Info-ZIP writes it.
    pub(crate) fn link(self, name: &[u8], target: &[u8]) -> Self {
        self.raw(name, target, (crc(target), target.len() as u64), 0, 0, 0o120_777, PLAIN)
    }

    #[expect(clippy::too_many_arguments, reason = "as many as a zip has fields")]
    fn raw(
        mut self,
        name: &[u8],
        packed: &[u8],
        (crc, size): (u32, u64),
        method: u16,
        flags: u16,
        mode: u16,
        packing: Packing,
    ) -> Self {
        let offset = u32::try_from(self.bytes.len()).unwrap();
        let streamed = packing.streamed != Streamed::No;
        let flags = flags | if streamed { 8 } else { 0 };
        let told = !matches!(packing.streamed, Streamed::Only | Streamed::OnlyUnsigned);
        let sizes = if told { [size, packed.len() as u64] } else { [0, 0] };
        let fields = |sizes: [u64; 2], crc: u32| -> (Vec<u8>, Vec<u8>) {
            let mut fields = [&20_u16.to_le_bytes()[..], &flags.to_le_bytes(), &method.to_le_bytes(), &[0; 4]].concat();
            fields.extend_from_slice(&crc.to_le_bytes());
            if packing.wide {
                fields.extend_from_slice(&[0xff; 8]);
                let extra = [&b"\xfe\xca\x02\0hi\x01\0\x10\0"[..], &sizes[0].to_le_bytes(), &sizes[1].to_le_bytes()];
                return (fields, extra.concat());
            }
            fields.extend_from_slice(&u32::try_from(sizes[1]).unwrap().to_le_bytes());
            fields.extend_from_slice(&u32::try_from(sizes[0]).unwrap().to_le_bytes());
            (fields, Vec::new())
        };
        let (head, extra) = fields(sizes, if told { crc } else { 0 });
        for part in [b"PK\x03\x04", &head[..], &le16(name.len()), &le16(extra.len()), name, &extra, packed] {
            self.bytes.extend_from_slice(part);
        }
        if streamed {
            if packing.streamed != Streamed::OnlyUnsigned {
                self.bytes.extend_from_slice(b"PK\x07\x08");
            }
            let width = if packing.wide { 8 } else { 4 };
            self.bytes.extend_from_slice(&crc.to_le_bytes());
            self.bytes.extend_from_slice(&(packed.len() as u64).to_le_bytes()[..width]);
            self.bytes.extend_from_slice(&size.to_le_bytes()[..width]);
        }
        let (head, extra) = fields([size, packed.len() as u64], crc);
        for part in [
            b"PK\x01\x02\x1e\x03",
            &head[..],
            &le16(name.len()),
            &le16(extra.len()),
            &[0; 8],
            &mode.to_le_bytes(),
            &offset.to_le_bytes(),
            name,
            &extra,
        ] {
            self.table.extend_from_slice(part);
        }
        self.entries += 1;
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let offset = u32::try_from(self.bytes.len()).unwrap().to_le_bytes();
        let size = u32::try_from(self.table.len()).unwrap().to_le_bytes();
        let entries = self.entries.to_le_bytes();
        let end = [&b"PK\x05\x06\0\0\0\0"[..], &entries, &entries, &size, &offset, b"\x02\0hi"].concat();
        [self.bytes, self.table, end].concat()
    }
}

fn partial(bytes: &[u8], reason: &str) -> Scan {
    let scan = scan(bytes);
    assert_eq!(scan.problem(), reason);
    assert_eq!((scan.facts.tree, scan.facts.contents), (None, None));
    assert!(scan.facts.diff_id.is_some());
    scan
}

#[test]
fn however_a_zip_is_written_it_is_the_same_files() {
    let body: Vec<u8> = (0..600_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let folder = scan(&tar(&[file("d/a", &body), file("d/sub/b", b"b")])).indexed();
    for packing in packings() {
        let zip = Builder::default()
            .add(b"d/", b"", PLAIN)
            .add(b"d/a", &body, packing)
            .add(b"d/sub/b", b"b", packing)
            .add(b"d/empty", b"", packing)
            .finish();
        let found = scan(&zip).indexed();
        found.assert_files(&[(b"d/a", &body), (b"d/sub/b", b"b"), (WHOLE, &zip)]);
        assert_eq!(found.facts.form, Form { compression: Compression::None, archive: Archive::Zip });
        assert_eq!(found.facts.diff_id, Some(oci::Digest::sha256(sha256(&zip))));
        assert_eq!((found.facts.files, found.facts.skipped.directories), (3, 1));
        assert_eq!(found.facts.bytes, zip.len() as u64);
        assert_eq!((found.facts.tree, found.facts.contents), (folder.facts.tree, folder.facts.contents), "{packing:?}");

        let inside = scan(&tar(&[file("x.zip", &zip)])).indexed();
        inside.assert_found(&[(b"x.zip!d/a", &body, 1), (b"x.zip!d/sub/b", b"b", 1), (b"x.zip", &zip, 0)]);
        let packed = gzip(&zip);
        let compressed = scan(&packed).indexed();
        assert_eq!(compressed.facts.tree, folder.facts.tree);
        assert_eq!(compressed.paths(), ["d/a", "d/sub/b", "!", ""]);
    }
}

#[test]
fn what_looks_like_a_descriptor_is_content() {
    // The content of a stored entry may be a zip of the same kind, or hold anything that looks like the end of an entry.
    let only = Packing { streamed: Streamed::Only, ..PLAIN };
    let inner = Builder::default().add(b"a", b"x", only).add(b"b", b"PK\x07\x08PK\x07\x08", only).finish();
    let fake = [&b"PK\x07\x08"[..], &crc(b"").to_le_bytes(), &[0; 8], b"PK\x05\x06"].concat();
    let many = b"PK\x07\x08".repeat(100_000);
    let zip = Builder::default()
        .add(b"zip", &inner, only)
        .add(b"fake", &fake, only)
        .add(b"many", &many, only)
        .add(b"last", b"PK\x07", only)
        .finish();
    scan(&zip).indexed().assert_found(&[
        (b"zip!a", b"x", 1),
        (b"zip!b", b"PK\x07\x08PK\x07\x08", 1),
        (b"zip", &inner, 0),
        (b"fake", &fake, 0),
        (b"many", &many, 0),
        (b"last", b"PK\x07", 0),
        (WHOLE, &zip, 0),
    ]);
}

#[test]
fn an_archive_that_is_two_things_is_none() {
    // Content that ends an entry early, for who reads from the front: the table tells.
    let only = Packing { streamed: Streamed::Only, ..PLAIN };
    let hidden = Builder::default().add(b"in", b"hidden", PLAIN).bytes;
    let fake =
        [&b"visible"[..], b"PK\x07\x08", &crc(b"visible").to_le_bytes(), &[7, 0, 0, 0, 7, 0, 0, 0], &hidden].concat();
    let zip = Builder::default().add(b"a", &fake, only).finish();
    let differs = "zip: the central directory does not list what the archive holds";
    // What is left of the outer entry is no header.
    let found = scan(&zip);
    assert!(found.problem().starts_with("zip: other bytes follow an entry"), "{}", found.problem());

    let honest = Builder::default().add(b"a", b"1", PLAIN).add(b"b", b"2", PLAIN);
    let more = honest.bytes.len();
    let unlisted = Builder { bytes: honest.bytes.clone(), ..Builder::default().add(b"a", b"1", PLAIN) }.finish();
    partial(&unlisted, differs).assert_files(&[(b"a", b"1"), (b"b", b"2"), (WHOLE, &unlisted)]);
    let whole = honest.finish();
    // Any bit of name, checksum, size or place in the table.
    let table = more;
    for at in [10, 16, 20, 24, 42, 46] {
        let mut changed = whole.clone();
        changed[table + at] ^= 1;
        partial(&changed, differs);
    }
    // In another order it lists the same.
    let (first, second) = whole[table..table + 2 * 47].split_at(47);
    let swapped = [&whole[..table], second, first, &whole[table + 2 * 47..]].concat();
    assert_eq!(scan(&swapped).indexed().facts.tree, scan(&whole).facts.tree);
}

#[test]
fn broken_zips_keep_what_was_found() {
    let of = |packing| Builder::default().add(b"a", b"1", PLAIN).add(b"b", &[7; 1000], packing).add(b"c", b"3", PLAIN);
    for packing in packings() {
        let zip = of(packing).finish();
        for length in 30..zip.len() {
            let cut = scan(&zip[..length]);
            assert!(cut.problem().starts_with("zip: "), "{}", cut.problem());
            let paths = cut.paths();
            let (whole, found) = paths.split_last().unwrap();
            assert!(
                whole.is_empty() && ["a", "b", "c"].starts_with(&found.iter().map(String::as_str).collect::<Vec<_>>())
            );
        }
        partial(
            &[&zip[..], b"x"].concat(),
            &format!("zip: other bytes follow the end of the archive at byte {}", zip.len()),
        );
        scan(&[&zip[..], &[0; 1000]].concat()).indexed();
        // A wrong checksum, in the header and, if there is one, in the descriptor.
        let at = Builder::default().add(b"a", b"1", PLAIN).bytes.len();
        let mut wrong = zip.clone();
        wrong[at + 14] ^= 1;
        if packing.streamed == Streamed::No {
            let found = partial(&wrong, "zip: the checksum or size of an entry is wrong");
            assert_eq!(found.paths(), ["a", ""]);
        } else {
            scan(&wrong).indexed();
            let width = if packing.wide { 20 } else { 12 };
            let mut wrong = zip.clone();
            wrong[of(packing).bytes.len() - Builder::default().add(b"c", b"3", PLAIN).bytes.len() - width] ^= 1;
            let found = scan(&wrong);
            assert!(found.problem().starts_with("zip: "), "{}", found.problem());
            assert_eq!(found.paths(), ["a", ""]);
        }
    }
    // A broken body.
    let mut wrong = of(Packing { deflated: true, ..PLAIN }).finish();
    let at = Builder::default().add(b"a", b"1", PLAIN).bytes.len() + 31;
    wrong[at] ^= 0x40;
    assert_eq!(scan(&wrong).paths(), ["a", ""]);
    let unsigned = Packing { streamed: Streamed::OnlyUnsigned, ..PLAIN };
    partial(&of(unsigned).finish(), "zip: the end of a stored entry without a size cannot be found");
}

#[test]
fn what_cannot_be_told_is_counted() {
    let told = "zip: 2 entries are encrypted or compressed in a way that is not known here";
    for streamed in [Streamed::No, Streamed::Only, Streamed::Also] {
        let packing = Packing { streamed, ..PLAIN };
        let zip = Builder::default()
            .add(b"a", b"1", PLAIN)
            .raw(b"sealed", &[9; 300], (7, 288), 8, 1, 0, packing)
            .raw(b"bzip2", &[8; 200], (7, 1000), 12, 0, 0, packing)
            .add(b"b", b"2", PLAIN)
            .finish();
        let scan = partial(&zip, told);
        scan.assert_files(&[(b"a", b"1"), (b"b", b"2"), (WHOLE, &zip)]);
        assert_eq!(scan.facts.skipped.opaque, 2);

        // Inside a file it takes nothing from the layer.
        let bytes = tar(&[file("x.zip", &zip)]);
        let inside = crate::build::scan(&bytes);
        assert_eq!(inside.problem(), format!("x.zip: {told}"));
        assert_eq!(
            (inside.paths(), inside.facts.skipped.opaque),
            (vec!["x.zip!a".into(), "x.zip!b".into(), "x.zip".into()], 2)
        );
        assert!(inside.facts.tree.is_some() && inside.facts.contents.is_some());
    }
}

#[test]
fn links_count_for_no_identity() {
    let with = Builder::default().add(b"d/a", b"1", PLAIN).link(b"d/l", b"a").add(b"d/b", b"2", PLAIN).finish();
    let scanned = scan(&with).indexed();
    assert_eq!(scanned.facts.skipped.links, 1);
    let without = scan(&tar(&[file("d/a", b"1"), file("d/b", b"2")]));
    assert_eq!((scanned.facts.tree, scanned.facts.contents), (without.facts.tree, without.facts.contents));
}

#[test]
fn paths_of_a_zip_are_bytes() {
    let zip =
        Builder::default().add(b"caf\xe9\\\xff", b"1", PLAIN).add(b"../up", b"2", PLAIN).add(b"odd/", b"3", PLAIN);
    let zip = zip.finish();
    let scan = scan(&zip).indexed();
    scan.assert_files(&[(b"caf\xe9\\\xff", b"1"), (b"../up", b"2"), (b"odd/", b"3"), (WHOLE, &zip)]);
    assert_eq!(scan.facts.skipped.unsafe_paths, 1);
}

#[test]
fn limits_hold_for_zips() {
    let body = vec![0; 50 << 20];
    let deflated = Packing { deflated: true, ..PLAIN };
    let zip =
        Builder::default().add(b"a", b"1", deflated).add(b"bomb", &body, deflated).add(b"c", b"3", deflated).finish();
    let limited = |limits: &Limits| try_scan(&zip[..], None, limits).unwrap();
    limited(&Limits::default()).indexed();
    for (limits, reason, found) in [
        (Limits { entries: 2, ..Limits::default() }, "the limit of 2 entries is exceeded", 2),
        (Limits { bytes: 20 << 20, ..Limits::default() }, "the limit of 20971520 uncompressed bytes is exceeded", 1),
        (Limits { ratio: 10, ..Limits::default() }, "it unpacks to more than 10 times its size", 1),
        (Limits { path: 3, ..Limits::default() }, "zip: the limit of 3 bytes a path is exceeded", 1),
    ] {
        let scan = limited(&limits);
        assert_eq!((scan.problem(), scan.files.len()), (reason, found + 1));
        assert!(scan.facts.diff_id.is_some() && scan.facts.tree.is_none());
    }
}
