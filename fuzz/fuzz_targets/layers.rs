//! A layer of any bytes. The first byte says how the rest is packed: bit 0 has the checksums of tar headers made right,
//! which chance would not find, and bits 1 and 2 compress it. The facts are the same in whatever portions the bytes come
//! and whether or not the digest is known, and the memory that it takes is bounded.

#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Cursor, Read, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use content::{Facts, Known, Limits, State};
use libfuzzer_sys::fuzz_target;
use oci::{Algorithm, Digest, Hasher};

/// So small that inputs of a fuzzer's size reach each of them.
const LIMITS: Limits = Limits {
    md5: true,
    entries: 64,
    bytes: 256 << 10,
    holes: 256 << 10,
    depth: 2,
    ratio: 1100,
    together: 16 << 20,
    path: 256,
    header: 2048,
    metadata: 64 << 10,
    window_log: 17,
    memory: 4096,
};
/// What `content::scan` promises: some 2 MiB, the sorting, the map of a sparse file, a window and 1 MiB for the layer and
/// each depth, and metadata.
const MEMORY: usize =
    (3 << 20) + 2 * LIMITS.memory + (16 << 20) + 3 * ((1 << LIMITS.window_log) + (1 << 20)) + 6 * LIMITS.metadata;

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let mut layer = bytes.to_vec();
    if how & 1 != 0 {
        seal(&mut layer);
    }
    let layer = match how >> 1 & 3 {
        1 => gzip(&layer),
        2 => zstd::encode_all(&layer[..], 1).unwrap(),
        _ => layer,
    };
    let digest = Hasher::digest(Algorithm::Sha256, &layer);
    let whole = scan(Cursor::new(&layer), None);
    assert_eq!(scan(Portions { bytes: &layer, step: 1 + usize::from(how >> 3) * 37 }, None), whole);
    let known = Known { digest, size: layer.len() as u64 };
    assert_eq!(scan(Cursor::new(&layer), Some(known)), whole);

    let facts = &whole.0;
    assert!(facts.bytes <= LIMITS.bytes.max(layer.len() as u64), "{facts:?}");
    if facts.state == State::Indexed {
        assert!(facts.diff_id.is_some(), "{facts:?}");
    }
});

/// The facts, and a hash over the files in their order.
fn scan(reader: impl Read, known: Option<Known>) -> (Facts, Digest) {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let mut files = Hasher::new(Algorithm::Sha256);
    let facts = content::scan(reader, known, &LIMITS, &mut tempfile::tempfile, |file| {
        assert!(file.size > 0);
        files.update(&file.path);
        files.update(&file.size.to_be_bytes());
        files.update(&file.sha256);
        Ok::<_, std::convert::Infallible>(())
    });
    let most = MOST.load(Ordering::Relaxed) - before;
    assert!(most <= MEMORY, "{most} bytes of memory");
    (facts.expect("nothing fails but reader, sink and spill"), files.finish())
}

/// A reader that gives little at a time.
struct Portions<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl Read for Portions<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let step = self.step.min(buffer.len());
        self.bytes.read(&mut buffer[..step])
    }
}

/// Makes the checksum of every block right that says it is a tar header.
fn seal(layer: &mut [u8]) {
    for block in layer.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Counts what is allocated: at this moment, and at most.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}
