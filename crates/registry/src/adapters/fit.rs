//! Whether the tensors of an adapter fit those of a model. Pure.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

/// Tensors by name.
pub(super) type Tensors = HashMap<String, Tensor>;

/// What matters of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tensor {
    dtype: String,
    shape: Vec<u64>,
}

/// Whether an adapter fits a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// Every tensor of it that could be compared does.
    Fits,
    /// One does not, or what it adapts is not there.
    Differs,
    /// There is nothing to compare.
    Unknown,
}

/// The tensors that the stored metadata of a file lists; what cannot be read lists none.
pub(super) fn tensors(document: &[u8]) -> Tensors {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        tensors: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
        dtype: String,
        shape: Vec<u64>,
    }
    let document: Option<Document> = serde_json::from_slice(document).ok();
    let listed = document.into_iter().flat_map(|document| document.tensors);
    listed.map(|Named { name, dtype, shape }| (name, Tensor { dtype, shape })).collect()
}

/// How PEFT calls what it has wrapped.
const WRAPPED: &str = "base_model.model.";
/// The tensors of a low-rank pair, which together have the shape of what they are added to.
const PAIRS: [(&str, &str); 2] = [(".lora_A", ".lora_B"), (".lora_embedding_A", ".lora_embedding_B")];

/// What an adapter needs a module to have: the first two dimensions of its weight.
type Needs<'a> = BTreeMap<&'a str, [u64; 2]>;

/// Whether the adapter fits the base. A weight may be stored the other way round, as GPT-2 has it, and a model without its head
/// has names without their first part. Quantized weights have other shapes and say nothing.
pub(super) fn fit(adapter: &Tensors, base: &Tensors) -> Fit {
    let needs = needs(adapter);
    if needs.is_empty() || base.is_empty() {
        return Fit::Unknown;
    }
    let mut compared = 0_usize;
    for (module, [out, into]) in &needs {
        let short = module.split_once('.').map(|(_, rest)| rest);
        let of = |name: &str| base.get(&format!("{name}.weight"));
        match of(module).or_else(|| short.and_then(of)) {
            Some(weight) if !is_float(&weight.dtype) => {}
            Some(weight) => match weight.shape[..] {
                [a, b, ..] if [a, b] == [*out, *into] => compared += 1,
                [a, b] if [b, a] == [*out, *into] => compared += 1,
                _ => return Fit::Differs,
            },
            None if is_there(module, base) || short.is_some_and(|short| is_there(short, base)) => {}
            None => return Fit::Differs,
        }
    }
    if compared > 0 { Fit::Fits } else { Fit::Unknown }
}

/// Whether a module has tensors, of whatever names.
fn is_there(module: &str, base: &Tensors) -> bool {
    base.keys().any(|name| name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.')))
}

fn is_float(dtype: &str) -> bool {
    matches!(dtype, "F64" | "F32" | "F16" | "BF16") || dtype.starts_with("F8_")
}

/// What the pairs of an adapter need, by module.
fn needs(adapter: &Tensors) -> Needs<'_> {
    let mut needs = Needs::new();
    for (name, first) in adapter {
        let bare = name.strip_prefix(WRAPPED).unwrap_or(name);
        for (a, b) in PAIRS {
            // `.weight` follows, or nothing, or the name of the adapter before it.
            let Some((module, rest)) = bare.rsplit_once(a).filter(|(_, rest)| rest.is_empty() || rest.starts_with('.'))
            else {
                continue;
            };
            let prefix = &name[..name.len() - bare.len()];
            let second = adapter.get(&format!("{prefix}{module}{b}{rest}"));
            if let (Some(&[rank, into, ..]), Some(&[out, other, ..])) =
                (first.shape.get(..2), second.and_then(|second| second.shape.get(..2)))
                && rank == other
            {
                // An embedding has a row for each of its words, which is what goes into it.
                needs.insert(module, if a == PAIRS[0].0 { [out, into] } else { [into, out] });
            }
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn all(tensors: &[(&str, &str, &[u64])]) -> Tensors {
        let tensor = |&(name, dtype, shape): &(&str, &str, &[u64])| {
            (name.to_owned(), Tensor { dtype: dtype.into(), shape: shape.to_vec() })
        };
        tensors.iter().map(tensor).collect()
    }

    const Q: &str = "base_model.model.model.layers.0.self_attn.q_proj";

    fn adapter(out: u64, into: u64) -> Tensors {
        all(&[
            (&format!("{Q}.lora_A.weight"), "F32", &[8, into]),
            (&format!("{Q}.lora_B.weight"), "F32", &[out, 8]),
            ("base_model.model.lm_head.weight", "F32", &[7, 7]),
        ])
    }

    #[test]
    fn shapes_confirm_and_refute() {
        let weight = "model.layers.0.self_attn.q_proj.weight";
        for (base, expected) in [
            (all(&[(weight, "BF16", &[64, 32])]), Fit::Fits),
            (all(&[(weight, "BF16", &[32, 64])]), Fit::Fits),
            (all(&[("layers.0.self_attn.q_proj.weight", "BF16", &[64, 32])]), Fit::Fits),
            (all(&[(weight, "BF16", &[64, 33])]), Fit::Differs),
            (all(&[(weight, "BF16", &[64])]), Fit::Differs),
            (all(&[("model.layers.1.self_attn.q_proj.weight", "BF16", &[64, 32])]), Fit::Differs),
            (all(&[(weight, "U8", &[1024, 1])]), Fit::Unknown),
            (all(&[("model.layers.0.self_attn.q_proj.qweight", "I32", &[8, 32])]), Fit::Unknown),
            (Tensors::new(), Fit::Unknown),
        ] {
            assert_eq!(fit(&adapter(64, 32), &base), expected, "{base:?}");
        }
        assert_eq!(fit(&Tensors::new(), &all(&[(weight, "BF16", &[64, 32])])), Fit::Unknown);
    }

    #[test]
    fn embeddings_and_convolutions_have_their_own_order() {
        let embedding = all(&[
            ("base_model.model.model.embed_tokens.lora_embedding_A", "F32", &[4, 100]),
            ("base_model.model.model.embed_tokens.lora_embedding_B", "F32", &[16, 4]),
        ]);
        assert_eq!(fit(&embedding, &all(&[("model.embed_tokens.weight", "F16", &[100, 16])])), Fit::Fits);
        let convolution = all(&[
            ("base_model.model.conv.lora_A.default.weight", "F32", &[4, 3, 7, 7]),
            ("base_model.model.conv.lora_B.default.weight", "F32", &[64, 4, 1, 1]),
        ]);
        assert_eq!(fit(&convolution, &all(&[("conv.weight", "F16", &[64, 3, 7, 7])])), Fit::Fits);
        assert_eq!(fit(&convolution, &all(&[("conv.weight", "F16", &[3, 64, 7, 7])])), Fit::Differs);
    }

    #[test]
    fn what_is_stored_is_read() {
        let document = json!({"tensors": [{"name": "a", "dtype": "F32", "shape": [1, 2], "size": 8, "sha256": null}]});
        assert_eq!(tensors(document.to_string().as_bytes()), all(&[("a", "F32", &[1, 2])]));
        assert!(tensors(b"{}").is_empty() && tensors(b"no").is_empty());
    }

    proptest! {
        #[test]
        fn whatever_tensors_there_are_nothing_breaks(
            names in proptest::collection::vec("(base_model\\.model\\.)?[a-b.]{0,4}(\\.lora_A|\\.lora_B)?(\\.weight)?", 0..6),
            shape in proptest::collection::vec(any::<u64>(), 0..4),
        ) {
            let tensors: Tensors = names
                .into_iter()
                .map(|name| (name, Tensor { dtype: "F32".into(), shape: shape.clone() }))
                .collect();
            fit(&tensors, &tensors);
        }
    }
}
