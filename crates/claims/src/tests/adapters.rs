use super::*;
use crate::{AdapterConfig, CARD_LIMIT, Unread, adapter_config};

fn config(base: &str, revision: Value) -> AdapterConfig {
    let config =
        serde_json::json!({"peft_type": "LORA", "base_model_name_or_path": base, "revision": revision, "r": 8});
    adapter_config(config.to_string().as_bytes()).unwrap().unwrap()
}

#[test]
fn a_configuration_names_its_base() {
    assert_says(
        &config("meta-llama/Llama-3.1-8B", Value::Null).statement(),
        &["adapter-config", "derived_from (adapter) external hf://meta-llama/Llama-3.1-8B"],
    );
    assert_says(
        &config("gpt2", "main".into()).statement(),
        &["adapter-config", "derived_from (adapter) external hf://gpt2"],
    );
    assert_says(
        &config("org/a", COMMIT.into()).statement(),
        &["adapter-config", "derived_from (adapter) external hf://org/a@COMMIT*"],
    );
    // What is no revision takes nothing from the name.
    assert_says(
        &config("org/a", "no revision/at all".into()).statement(),
        &["adapter-config", "derived_from (adapter) external hf://org/a"],
    );
}

#[test]
fn a_path_names_no_more_than_its_end() {
    for (base, short) in [
        ("/data/models/llama-8b/", "llama-8b"),
        ("./out", "out"),
        ("C:\\models\\llama", "llama"),
        ("a/b/c", "c"),
        ("../base", "base"),
        ("C:/base", "base"),
    ] {
        let config = config(base, Value::Null);
        assert_says(&config.statement(), &["adapter-config"]);
        assert_eq!((config.short_name(), config.organisation(), config.is_name()), (short, None, false), "{base}");
    }
    let named = config("org/Name@v1", Value::Null);
    assert_eq!((named.short_name(), named.organisation(), named.is_name()), ("Name", Some("org"), true));
}

#[test]
fn what_is_no_configuration_says_nothing() {
    for other in
        ["", "{}", "[]", "{\"peft_type\":7}", "{\"base_model_name_or_path\":\"org/a\"}", "{\"peft_type\":\"LORA\""]
    {
        assert!(matches!(adapter_config(other.as_bytes()), Err(Unread::Json(_))), "{other}");
    }
    for nobody in ["", ",\"base_model_name_or_path\":null", ",\"base_model_name_or_path\":\" \""] {
        assert_eq!(adapter_config(format!("{{\"peft_type\":\"LORA\"{nobody}}}").as_bytes()), Ok(None));
    }
    assert_eq!(adapter_config(&vec![b' '; CARD_LIMIT + 1]), Err(Unread::Bytes(CARD_LIMIT)));
    let secret = config("https://user:S3CR3T@hub.example/org/a", Value::Null);
    assert!(!format!("{secret:?} {:?}", secret.statement()).contains("S3CR3T"));
}
