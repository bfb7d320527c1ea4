//! Statements, events, model cards, configurations of adapters and identities, of any bytes: `media type NUL document`, or only a document. What is
//! read reads the same again, and identities are canonical.

#![no_main]

use claims::{External, Target, Use, adapter_config, model_card, openlineage, statement};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let (media_type, document) = match bytes.iter().position(|&byte| byte == 0) {
        Some(at) => (std::str::from_utf8(&bytes[..at]).unwrap_or_default(), &bytes[at + 1..]),
        None => ("", bytes),
    };
    let read = statement(media_type, document);
    assert_eq!(statement(media_type, document), read);
    let config = adapter_config(document).ok().flatten();
    let adapter = config.as_ref().map(|config| config.statement());
    for said in [read.ok(), model_card(document).ok().flatten(), adapter].into_iter().flatten() {
        assert!(!said.incomplete || !said.problems.is_empty());
        said.uses.iter().for_each(plausible);
    }
    if let Ok(value) = serde_json::from_slice::<Value>(document)
        && let Ok(event) = openlineage::event(&value)
    {
        for dataset in event.inputs.iter().chain(&event.outputs) {
            [&dataset.target].into_iter().chain(&dataset.aliases).for_each(canonical);
        }
    }
    if let Some(target) = std::str::from_utf8(document).ok().and_then(Target::parse) {
        canonical(&target);
    }
});

fn plausible(used: &Use) {
    assert!(!used.declared.is_empty());
    canonical(&used.target);
}

fn canonical(target: &Target) {
    if let Target::External { identity, .. } = target {
        assert_eq!(External::parse(identity.as_str()).as_ref(), Some(identity));
    }
}
