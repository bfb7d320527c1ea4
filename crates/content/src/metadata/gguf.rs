//! GGUF: key-value pairs, a list of tensors, and their bytes.

use super::{Fault, Metadata, NAME, Tensor, VALUE, broken, cut};
use crate::bytes::{Bytes, Hashed};

/// The most dimensions of a tensor. Today's have four.
const DIMENSIONS: u32 = 8;

/// How deep arrays may be in each other.
const DEPTH: u32 = 4;

/// What a tensor takes in memory besides its name and dimensions.
const TENSOR: usize = 256;

pub(super) fn read(content: &mut Hashed<'_>, limit: usize, metadata: &mut Metadata) -> Result<(), Fault> {
    let mut fields = Fields(content);
    fields.take::<4>()?;
    let version = fields.u32()?;
    if !(2..=3).contains(&version) {
        // Of the other byte order the number is large.
        return Err(Fault::Broken(format!("version {version} is not known here")));
    }
    let (tensors, pairs) = (fields.u64()?, fields.u64()?);
    let mut alignment = 32;
    let mut file_type = None;
    for _ in 0..pairs {
        let name = fields.text(NAME)?;
        let kind = fields.u32()?;
        let value = fields.value(kind, 0)?;
        metadata.entry_count += 1;
        let (Some(name), Some(value)) = (name, value) else { continue };
        match name.as_str() {
            "general.architecture" => metadata.architecture = Some(value.clone()),
            "general.file_type" => file_type = value.parse().ok(),
            "general.alignment" => {
                alignment =
                    value.parse().ok().filter(|&bytes| bytes > 0).ok_or_else(|| broken("the alignment is 0"))?;
            }
            _ => {}
        }
        metadata.keep(name, value);
    }
    let mut held = 0;
    for _ in 0..tensors {
        let tensor = fields.tensor(limit)?;
        held += TENSOR + tensor.name.len() + 8 * tensor.shape.len();
        if held > limit {
            return Err(Fault::Broken(format!("the tensors exceed the limit of {limit} bytes")));
        }
        metadata.tensors.push(tensor);
    }
    metadata.quantization = file_type.and_then(quantization).or_else(|| most(&metadata.tensors)).map(str::to_owned);
    let start = content.position().checked_next_multiple_of(alignment);
    for tensor in &mut metadata.tensors {
        let offset = start.and_then(|start| start.checked_add(tensor.offset));
        tensor.offset = offset.ok_or_else(|| broken("a tensor is too far away"))?;
    }
    metadata.hash_tensors(content)
}

/// The fields of a file, one after the other. Numbers are little-endian.
struct Fields<'a, 'b>(&'a mut Hashed<'b>);

impl Fields<'_, '_> {
    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Fault> {
        let bytes = self.0.peek(LENGTH)?.first_chunk().copied().ok_or_else(cut)?;
        self.0.consume(LENGTH);
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.take().map(u64::from_le_bytes)
    }

    fn skip(&mut self, count: Option<u64>) -> Result<(), Fault> {
        let count = count.ok_or_else(|| broken("a length is too large"))?;
        if self.0.skip(count)? { Ok(()) } else { Err(cut()) }
    }

    /// A text; `None` if it is longer than `most`.
    fn text(&mut self, most: usize) -> Result<Option<String>, Fault> {
        let length = self.u64()?;
        if length > most as u64 {
            self.skip(Some(length))?;
            return Ok(None);
        }
        let mut text = Vec::new();
        if !self.0.take(length, &mut |bytes| text.extend_from_slice(bytes))? {
            return Err(cut());
        }
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    /// The value of a pair as a text; `None` for arrays and long texts.
    fn value(&mut self, kind: u32, depth: u32) -> Result<Option<String>, Fault> {
        Ok(Some(match kind {
            0 => u8::from_le_bytes(self.take()?).to_string(),
            1 => i8::from_le_bytes(self.take()?).to_string(),
            2 => u16::from_le_bytes(self.take()?).to_string(),
            3 => i16::from_le_bytes(self.take()?).to_string(),
            4 => self.u32()?.to_string(),
            5 => i32::from_le_bytes(self.take()?).to_string(),
            6 => f32::from_le_bytes(self.take()?).to_string(),
            7 => (self.take::<1>()? != [0]).to_string(),
            8 => return self.text(VALUE),
            9 => {
                self.array(depth)?;
                return Ok(None);
            }
            10 => self.u64()?.to_string(),
            11 => i64::from_le_bytes(self.take()?).to_string(),
            12 => f64::from_le_bytes(self.take()?).to_string(),
            _ => return Err(Fault::Broken(format!("the type {kind} of a value is not known here"))),
        }))
    }

    /// Skips an array. However many elements it claims to have, each has bytes that must be there.
    fn array(&mut self, depth: u32) -> Result<(), Fault> {
        if depth == DEPTH {
            return Err(broken("arrays are too deep in each other"));
        }
        let (kind, count) = (self.u32()?, self.u64()?);
        let width = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            _ => {
                for _ in 0..count {
                    match kind {
                        8 => {
                            let length = self.u64()?;
                            self.skip(Some(length))?;
                        }
                        _ => {
                            self.value(kind, depth + 1)?;
                        }
                    }
                }
                return Ok(());
            }
        };
        self.skip(count.checked_mul(width))
    }

    /// What is listed of a tensor; its offset is that among the tensors.
    fn tensor(&mut self, limit: usize) -> Result<Tensor, Fault> {
        let name = self.text(limit)?.ok_or_else(|| broken("the name of a tensor is too long"))?;
        let dimensions = self.u32()?;
        if dimensions > DIMENSIONS {
            return Err(Fault::Broken(format!("a tensor has {dimensions} dimensions")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(self.u64()?);
        }
        let (kind, offset) = (self.u32()?, self.u64()?);
        let elements = shape.iter().try_fold(1_u64, |elements, &extent| elements.checked_mul(extent));
        let (dtype, size) = match dtype(kind) {
            Some((name, block, bytes)) => {
                let blocks = elements.filter(|elements| elements % block == 0).map(|elements| elements / block);
                let size = blocks.and_then(|blocks| blocks.checked_mul(bytes));
                (name.to_owned(), size.ok_or_else(|| broken("the size of a tensor is wrong"))?)
            }
            None => (format!("type {kind}"), 0),
        };
        shape.reverse();
        Ok(Tensor { name, dtype, shape, offset, size, sha256: None, constant: false })
    }
}

/// The name of a type of numbers, of how many it makes a block, and how many bytes that has.
fn dtype(kind: u32) -> Option<(&'static str, u64, u64)> {
    Some(match kind {
        0 => ("F32", 1, 4),
        1 => ("F16", 1, 2),
        2 => ("Q4_0", 32, 18),
        3 => ("Q4_1", 32, 20),
        6 => ("Q5_0", 32, 22),
        7 => ("Q5_1", 32, 24),
        8 => ("Q8_0", 32, 34),
        10 => ("Q2_K", 256, 84),
        11 => ("Q3_K", 256, 110),
        12 => ("Q4_K", 256, 144),
        13 => ("Q5_K", 256, 176),
        14 => ("Q6_K", 256, 210),
        15 => ("Q8_K", 256, 292),
        16 => ("IQ2_XXS", 256, 66),
        17 => ("IQ2_XS", 256, 74),
        18 => ("IQ3_XXS", 256, 98),
        19 => ("IQ1_S", 256, 50),
        20 => ("IQ4_NL", 32, 18),
        21 => ("IQ3_S", 256, 110),
        22 => ("IQ2_S", 256, 82),
        23 => ("IQ4_XS", 256, 136),
        24 => ("I8", 1, 1),
        25 => ("I16", 1, 2),
        26 => ("I32", 1, 4),
        27 => ("I64", 1, 8),
        28 => ("F64", 1, 8),
        29 => ("IQ1_M", 256, 56),
        30 => ("BF16", 1, 2),
        34 => ("TQ1_0", 256, 54),
        35 => ("TQ2_0", 256, 66),
        39 => ("MXFP4", 32, 17),
        _ => return None,
    })
}

/// The name of what `general.file_type` says.
fn quantization(file_type: u32) -> Option<&'static str> {
    Some(match file_type {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4_MOE",
        _ => return None,
    })
}

/// The type that takes the most bytes.
fn most(tensors: &[Tensor]) -> Option<&str> {
    let mut sizes = std::collections::BTreeMap::<&str, u64>::new();
    for tensor in tensors {
        let size = sizes.entry(&tensor.dtype).or_default();
        *size = size.saturating_add(tensor.size);
    }
    sizes.into_iter().max_by_key(|&(_, size)| size).map(|(dtype, _)| dtype)
}
