//! What files of models and datasets say of themselves: tensors, schemas, and what else stands in their headers.
//!
//! Nothing is believed: numbers are checked before anything is skipped, multiplied or allocated by them, and what is held is
//! bounded by [`crate::Limits::metadata`]. A header that cannot be understood is a problem of the metadata alone. The file
//! is the same file, and its layer none the worse for it.

mod adapter;
mod front_matter;
mod gguf;
mod parquet;
mod safetensors;
mod thrift;

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::bytes::{Bytes, Halt, Hashed};

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// What the file is.
    pub format: FileFormat,
    /// The architecture of a GGUF model, such as `llama`.
    pub architecture: Option<String>,
    /// The quantization of a GGUF model, such as `Q4_K_M`; the type of most of its weights, if it does not tell.
    pub quantization: Option<String>,
    /// How many rows a Parquet file has.
    pub rows: Option<u64>,
    /// The columns of a Parquet file, the leaves of its schema, in its order.
    pub columns: Vec<Column>,
    /// The tensors of a safetensors or GGUF file; in the order of their bytes in the former, as listed in the latter.
    pub tensors: Vec<Tensor>,
    /// How many entries the file has of the kind that `entries` has some of.
    pub entry_count: u64,
    /// Short texts, numbers and truths by name: of `__metadata__`, GGUF's key-value pairs, Parquet's key-value metadata. The
    /// first 256, with names of at most 256 bytes and values of at most 1,024.
    pub entries: BTreeMap<String, String>,
    /// The YAML at the start of a text, with the lines of dashes around it.
    pub front_matter: Option<String>,
    /// The configuration of an adapter, whole.
    pub adapter_config: Option<String>,
    /// Why some or all of this is missing.
    pub problem: Option<String>,
}

/// The formats whose metadata is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileFormat {
    /// <https://github.com/huggingface/safetensors#format>
    Safetensors,
    /// <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3.
    Gguf,
    /// <https://parquet.apache.org/docs/file-format/>
    Parquet,
    /// <https://huggingface.co/docs/hub/model-cards>, and whatever else begins with YAML between lines of dashes.
    FrontMatter,
    /// <https://huggingface.co/docs/peft/developer_guides/checkpoint>, `adapter_config.json`, and whatever else begins as JSON.
    AdapterConfig,
}

impl FileFormat {
    /// The name: `safetensors`, `gguf`, `parquet`, `front-matter`, `adapter-config`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "gguf",
            Self::Parquet => "parquet",
            Self::FrontMatter => "front-matter",
            Self::AdapterConfig => "adapter-config",
        }
    }

    /// What bytes begin as.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [b'G', b'G', b'U', b'F', ..] => Some(Self::Gguf),
            [b'P', b'A', b'R', b'1', ..] => Some(Self::Parquet),
            _ if front_matter::is_front_matter(start) => Some(Self::FrontMatter),
            _ if adapter::is_object(start) => Some(Self::AdapterConfig),
            _ => safetensors::is_safetensors(start).then_some(Self::Safetensors),
        }
    }

    /// Reads a file of this format as far as it needs to be read, holding about `limit` bytes of it at most.
    pub(crate) fn read(self, content: &mut Hashed<'_>, limit: usize) -> Result<Metadata, Halt> {
        let mut metadata = Metadata {
            format: self,
            architecture: None,
            quantization: None,
            rows: None,
            columns: Vec::new(),
            tensors: Vec::new(),
            entry_count: 0,
            entries: BTreeMap::new(),
            front_matter: None,
            adapter_config: None,
            problem: None,
        };
        let read = match self {
            Self::Safetensors => safetensors::read(content, limit, &mut metadata),
            Self::Gguf => gguf::read(content, limit, &mut metadata),
            Self::Parquet => parquet::read(content, limit, &mut metadata),
            Self::FrontMatter => front_matter::read(content, limit, &mut metadata),
            Self::AdapterConfig => adapter::read(content, limit, &mut metadata),
        };
        match read {
            Ok(()) => {}
            Err(Fault::Halt(halt)) => return Err(halt),
            Err(Fault::Broken(reason)) => metadata.problem = Some(reason),
        }
        Ok(metadata)
    }
}

/// A tensor of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The name.
    pub name: String,
    /// The type of its numbers as the format names it, such as `BF16` or `Q4_K`.
    pub dtype: String,
    /// Its extent in each dimension, the one whose steps are the largest in memory first, as PyTorch has it. GGUF lists them the other
    /// way round.
    pub shape: Vec<u64>,
    /// Where in the file its bytes begin.
    pub offset: u64,
    /// How many bytes it has; 0 if its type is not known here.
    pub size: u64,
    /// The SHA-256 of its bytes; `None` if it has none, or if they could not be read, such as those of tensors that overlap.
    pub sha256: Option<[u8; 32]>,
    /// Whether all its numbers are the same, as far as its bytes repeat every eight: it says nothing of where it comes from.
    pub constant: bool,
}

/// Whether bytes repeat every eight.
#[derive(Debug, Default)]
struct Repeating {
    first: [u8; 8],
    seen: u64,
    no: bool,
}

impl Repeating {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.no {
                return;
            }
            let place = (self.seen % 8) as usize;
            if self.seen < 8 {
                self.first[place] = byte;
            }
            self.no = self.first[place] != byte;
            self.seen += 1;
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The names from the root of the schema to the column, joined by dots.
    pub path: String,
    /// The type in which it is stored, such as `BYTE_ARRAY`.
    pub kind: &'static str,
    /// What that stands for, such as `STRING`.
    pub logical: Option<&'static str>,
    /// `required`, `optional` or `repeated`.
    pub repetition: &'static str,
}

/// Why metadata is not read on.
enum Fault {
    /// The file cannot be read on.
    Halt(Halt),
    /// The file can, but what it says makes no sense.
    Broken(String),
}

impl From<Halt> for Fault {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

fn broken(reason: &str) -> Fault {
    Fault::Broken(reason.to_owned())
}

fn cut() -> Fault {
    broken("the file is cut short")
}

/// How many entries are kept, and how long they may be.
const ENTRIES: usize = 256;
const NAME: usize = 256;
const VALUE: usize = 1024;

impl Metadata {
    fn keep(&mut self, name: String, value: String) {
        if self.entries.len() < ENTRIES && name.len() <= NAME && value.len() <= VALUE {
            self.entries.insert(name, value);
        }
    }

    /// Reads on through the bytes of the tensors, and hashes each.
    fn hash_tensors(&mut self, content: &mut Hashed<'_>) -> Result<(), Fault> {
        let mut tensors: Vec<_> = self.tensors.iter_mut().filter(|tensor| tensor.size > 0).collect();
        tensors.sort_by_key(|tensor| tensor.offset);
        let mut end = content.position();
        for tensor in &tensors {
            if tensor.offset < end {
                return Err(broken("tensors overlap"));
            }
            end = tensor.offset.checked_add(tensor.size).ok_or_else(|| broken("a tensor is too large"))?;
        }
        for tensor in tensors {
            let (mut hash, mut repeating) = (Sha256::new(), Repeating::default());
            let mut take = |bytes: &[u8]| {
                hash.update(bytes);
                repeating.add(bytes);
            };
            if !content.skip(tensor.offset - content.position())? || !content.take(tensor.size, &mut take)? {
                return Err(cut());
            }
            tensor.sha256 = Some(hash.finalize().into());
            tensor.constant = !repeating.no;
        }
        Ok(())
    }
}
