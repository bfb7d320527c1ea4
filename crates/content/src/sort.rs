//! Sorting more records than memory holds: sorted runs spill to files and are merged.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, binary_heap::PeekMut},
    fs, io,
    io::{BufReader, BufWriter, Read, Seek, Write},
    mem,
};

/// Gives an empty file that can be written and read, and that nobody else uses.
pub(crate) type Spill<'a> = dyn FnMut() -> io::Result<fs::File> + 'a;

/// So many runs of one level are merged to one of the next. That bounds open files to 63 a level (two levels for ten million
/// records and the default memory), and each record is rewritten once a level.
const FAN_IN: usize = 64;

/// The buffer of a run while it is written or read.
const RUN_BUFFER: usize = 64 << 10;

/// Collects records, each a key and a value of fixed length, and hands them out sorted by key, each key once. Of records with
/// the same key the one with the greatest value stays.
pub(crate) struct Sorter {
    memory: usize,
    value: usize,
    records: Records,
    levels: Vec<Vec<fs::File>>,
}

/// Records in memory: their bytes one after the other, and where each is.
#[derive(Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    index: Vec<Record>,
}

struct Record {
    /// A few bytes of the key, big-endian; those from which on it differed from others when it was sorted.
    prefix: u64,
    start: u32,
    key: u32,
}

/// All records, sorted, and the length of their values.
pub(crate) enum Sorted {
    Memory(Records, usize),
    Spilled(fs::File, usize),
}

impl Sorter {
    /// A sorter that spills when its records take more than about `memory` bytes.
    pub(crate) fn new(memory: usize, value: usize) -> Self {
        // Offsets have 32 bits.
        let memory = memory.min(u32::MAX as usize / 2);
        Self { memory, value, records: Records::default(), levels: Vec::new() }
    }

    /// Takes a record. The value must have the length given to [`Sorter::new`].
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8], spill: &mut Spill<'_>) -> io::Result<()> {
        debug_assert_eq!(value.len(), self.value);
        if !self.records.index.is_empty() && self.records.size() + key.len() + value.len() > self.memory {
            self.flush(spill)?;
        }
        let (Ok(start), Ok(length)) = (u32::try_from(self.records.bytes.len()), u32::try_from(key.len())) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a key is too long to be sorted"));
        };
        self.records.index.push(Record { prefix: 0, start, key: length });
        self.records.bytes.extend_from_slice(key);
        self.records.bytes.extend_from_slice(value);
        Ok(())
    }

    /// All records, sorted.
    pub(crate) fn finish(mut self, spill: &mut Spill<'_>) -> io::Result<Sorted> {
        let value = self.value;
        if self.levels.is_empty() {
            self.records.sort(value);
            return Ok(Sorted::Memory(self.records, value));
        }
        self.flush(spill)?;
        // The memory of the records is free before the merge takes its own.
        drop(mem::take(&mut self.records));
        let runs: Vec<_> = self.levels.into_iter().flatten().collect();
        Ok(Sorted::Spilled(merge(runs, value, spill()?)?, value))
    }

    fn flush(&mut self, spill: &mut Spill<'_>) -> io::Result<()> {
        self.records.sort(self.value);
        let mut out = BufWriter::with_capacity(RUN_BUFFER, spill()?);
        self.records.each(self.value, |key, value| write_record(&mut out, key, value))?;
        self.records.index.clear();
        self.records.bytes.clear();
        self.push(0, rewound(out)?, spill)
    }

    fn push(&mut self, level: usize, run: fs::File, spill: &mut Spill<'_>) -> io::Result<()> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(run);
        if self.levels[level].len() < FAN_IN {
            return Ok(());
        }
        let runs = mem::take(&mut self.levels[level]);
        let merged = merge(runs, self.value, spill()?)?;
        self.push(level + 1, merged, spill)
    }
}

impl Sorted {
    /// Hands out every key once, in order. Can be asked again.
    pub(crate) fn each(&mut self, mut take: impl FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Memory(records, value) => records.each(*value, take),
            Self::Spilled(run, value) => {
                run.rewind()?;
                let mut cursor = Cursor::new(&*run, *value);
                while cursor.advance()? {
                    take(&cursor.key, &cursor.value)?;
                }
                Ok(())
            }
        }
    }
}

impl Records {
    fn size(&self) -> usize {
        self.bytes.len() + self.index.len() * size_of::<Record>()
    }

    fn key(&self, record: &Record) -> &[u8] {
        let start = record.start as usize;
        &self.bytes[start..start + record.key as usize]
    }

    fn value(&self, record: &Record, length: usize) -> &[u8] {
        let start = record.start as usize + record.key as usize;
        &self.bytes[start..start + length]
    }

    /// Sorts by key, then by value. Comparing the next few bytes, held where they are compared, is much faster than going to
    /// the keys; those that agree on them are sorted again by the bytes from where they differ.
    fn sort(&mut self, value: usize) {
        let mut index = mem::take(&mut self.index);
        let mut alike = vec![(0..index.len(), 0)];
        while let Some((range, from)) = alike.pop() {
            let start = range.start;
            let index = &mut index[range];
            let Some(first) = index.first().map(|first| self.key(first)) else { continue };
            let common = index.iter().fold(first.len(), |common, record| {
                let same = first[from..common].iter().zip(&self.key(record)[from..]).take_while(|(a, b)| a == b);
                from + same.count()
            });
            for record in &mut *index {
                record.prefix = prefix(&self.key(record)[common..]);
            }
            // Stable sorting is chosen for its speed with what is sorted already, as most archives are. Of keys that look alike
            // here because one ends where the other has zeros, the shorter is the lesser.
            let seen = |record: &Record| (record.key as usize - common).min(PREFIX);
            index.sort_by_key(|record| (record.prefix, seen(record)));
            let mut at = start;
            for same in index.chunk_by_mut(|a, b| (a.prefix, seen(a)) == (b.prefix, seen(b))) {
                let next = at + same.len();
                match same {
                    [] | [_] => {}
                    [first, ..] if seen(first) < PREFIX => {
                        same.sort_by(|a, b| self.value(a, value).cmp(self.value(b, value)));
                    }
                    _ => alike.push((at..next, common + PREFIX)),
                }
                at = next;
            }
        }
        self.index = index;
    }

    /// Hands out the last record of each key. They must be sorted.
    fn each(&self, value: usize, mut take: impl FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
        for (at, record) in self.index.iter().enumerate() {
            let key = self.key(record);
            if self.index.get(at + 1).is_some_and(|next| next.prefix == record.prefix && self.key(next) == key) {
                continue;
            }
            take(key, self.value(record, value))?;
        }
        Ok(())
    }
}

/// How many bytes [`prefix`] takes.
const PREFIX: usize = size_of::<u64>();

fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; PREFIX];
    let length = key.len().min(PREFIX);
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}

fn write_record(out: &mut impl Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    let length = u32::try_from(key.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(key)?;
    out.write_all(value)
}

fn rewound(out: BufWriter<fs::File>) -> io::Result<fs::File> {
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

fn merge(runs: Vec<fs::File>, value: usize, out: fs::File) -> io::Result<fs::File> {
    let mut out = BufWriter::with_capacity(RUN_BUFFER, out);
    let mut heap = BinaryHeap::with_capacity(runs.len());
    for run in runs {
        let mut cursor = Cursor::new(run, value);
        if cursor.advance()? {
            heap.push(Reverse(cursor));
        }
    }
    // A record is written when the next one has another key, since only then it is the last of its own.
    let mut last: Option<(Vec<u8>, Vec<u8>)> = None;
    while let Some(mut top) = heap.peek_mut() {
        match &mut last {
            Some((key, value)) => {
                if *key != top.0.key {
                    write_record(&mut out, key, value)?;
                    key.clone_from(&top.0.key);
                }
                value.clone_from(&top.0.value);
            }
            None => last = Some((top.0.key.clone(), top.0.value.clone())),
        }
        if !top.0.advance()? {
            PeekMut::pop(top);
        }
    }
    if let Some((key, value)) = last {
        write_record(&mut out, &key, &value)?;
    }
    rewound(out)
}

/// The record of a run that is next in turn.
struct Cursor<R> {
    reader: BufReader<R>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<R: Read> Cursor<R> {
    fn new(reader: R, value: usize) -> Self {
        Self { reader: BufReader::with_capacity(RUN_BUFFER, reader), key: Vec::new(), value: vec![0; value] }
    }

    /// Goes to the next record; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        use io::BufRead;
        if self.reader.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        self.key.resize(u32::from_le_bytes(length) as usize, 0);
        self.reader.read_exact(&mut self.key)?;
        self.reader.read_exact(&mut self.value)?;
        Ok(true)
    }
}

impl<R> PartialEq for Cursor<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<R> Eq for Cursor<R> {}

impl<R> PartialOrd for Cursor<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for Cursor<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then_with(|| self.value.cmp(&other.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(memory: usize, records: &[(Vec<u8>, u8)]) -> (Vec<(Vec<u8>, u8)>, usize) {
        let mut files = 0;
        let mut spill = || {
            files += 1;
            tempfile::tempfile()
        };
        let mut sorter = Sorter::new(memory, 1);
        for (key, value) in records {
            sorter.add(key, &[*value], &mut spill).unwrap();
        }
        let mut sorted = sorter.finish(&mut spill).unwrap();
        let mut out = Vec::new();
        for _ in 0..2 {
            out.clear();
            sorted
                .each(|key, value| {
                    out.push((key.to_vec(), value[0]));
                    Ok(())
                })
                .unwrap();
        }
        (out, files)
    }

    #[test]
    fn runs_of_several_levels_give_what_memory_gives() {
        // A multiplicative generator of small period makes repeated keys far apart.
        let records: Vec<_> = (0..20_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) % 3_001).to_string().into_bytes())
            .zip((0..=255_u8).cycle())
            .collect();
        let mut expected = std::collections::BTreeMap::new();
        for (key, value) in &records {
            let greatest = expected.entry(key.clone()).or_insert(0);
            *greatest = (*greatest).max(*value);
        }
        let expected: Vec<_> = expected.into_iter().collect();
        let (in_memory, files) = sorted(1 << 20, &records);
        assert_eq!((in_memory, files), (expected.clone(), 0));
        let (spilled, files) = sorted(40, &records);
        assert_eq!(spilled, expected);
        assert!(files > FAN_IN * FAN_IN, "{files} files are of one level only");
    }

    #[test]
    fn nothing_sorts_to_nothing() {
        assert_eq!(sorted(0, &[]), (vec![], 0));
    }
}
