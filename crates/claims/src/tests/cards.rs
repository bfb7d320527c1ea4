use super::*;
use crate::{CARD_LIMIT, Unread, model_card};

fn card(front: &str) -> Statement {
    model_card(format!("---\n{front}\n---\n# Card\n").as_bytes()).unwrap().unwrap()
}

#[test]
fn a_card_names_bases_datasets_and_licences() {
    let text = "\u{feff}---\r\nlanguage:\r\n- en\r\nlicense: other\r\nlicense_name: llama3.1\r\nbase_model: meta-llama/Llama-3.1-8B\r\n\
        base_model_relation: quantized\r\ntags: [a, {b: c}]\r\ndatasets:\r\n- squad\r\n- org/data@main # the newest\r\n\
        - https://huggingface.co/datasets/org/other/tree/v2\r\n- localhost:5000/data/customers:2025.10\r\n\
        - oci://registry.example.com/data/x\r\nmodel-index:\r\n- name: x\r\n  results:\r\n  - task: {type: y}\r\n    dataset: {name: squad}\r\n---\r\n# Text";
    assert_says(
        &model_card(text.as_bytes()).unwrap().unwrap(),
        &[
            "model-card",
            "derived_from (quantized) external hf://meta-llama/Llama-3.1-8B",
            "trained_on external hf://datasets/squad",
            "trained_on external hf://datasets/org/data",
            "trained_on external hf://datasets/org/other@v2",
            "trained_on artifact localhost:5000/data/customers:2025.10",
            "trained_on artifact registry.example.com/data/x",
            "licence llama3.1",
        ],
    );
}

#[test]
fn lists_and_single_texts() {
    assert_says(
        &card(&format!(
            "base_model: [org/a@{COMMIT}, 'b']\ndatasets: \"org/d\"\nlicense: [mit, apache-2.0]\nbase_model_relation: merge"
        )),
        &[
            "model-card",
            "derived_from (merge) external hf://org/a@COMMIT*",
            "derived_from (merge) external hf://b",
            "trained_on external hf://datasets/org/d",
            "licence mit",
            "licence apache-2.0",
        ],
    );
    assert_says(&card("base_model: null\ndatasets: []\nlicense:\n"), &["model-card"]);
    assert_says(&card(""), &["model-card"]);
}

#[test]
fn what_is_wrong_is_said_and_the_rest_kept() {
    assert_says(
        &card("base_model: ./outputs/checkpoint-500\ndatasets:\n- {name: x}\n- [org/inner]\n- org/d\nlicense: mit"),
        &[
            "model-card incomplete",
            "trained_on external hf://datasets/org/d",
            "licence mit",
            "problem: datasets holds what is not text",
            r#"problem: derived_from: "./outputs/checkpoint-500" names no repository"#,
        ],
    );
    let statement = card("base_model: org/a\nother: [unclosed\nlicense: mit");
    assert!(statement.incomplete && statement.uses.len() == 1, "{statement:?}");
    let statement = card("x: &a [org/a]\nbase_model: *a\n*a : x\nlicense: mit");
    assert_says(
        &statement,
        &["model-card incomplete", "licence mit", "problem: base_model is an alias, which is not followed"],
    );
    for text in ["- a\n- b", "just text", "[a, b]"] {
        assert!(card(text).incomplete, "{text}");
    }
}

#[test]
fn what_has_no_front_matter_is_no_card() {
    for text in ["", "# Title", "---", "---\nbase_model: a\n", "text\n---\na: b\n---\n"] {
        assert_eq!(model_card(text.as_bytes()), Ok(None), "{text:?}");
    }
    let long = format!("---\n{}---\n", "# long\n".repeat(CARD_LIMIT / 7 + 1));
    assert_eq!(model_card(long.as_bytes()), Err(Unread::Bytes(CARD_LIMIT)));
}

/// Each would take minutes, or all memory, if something grew faster than its text.
#[test]
fn bombs_do_not_go_off() {
    let half = CARD_LIMIT / 2;
    let mut laughs = "a0: &a0 lol\n".to_owned();
    for i in 1..1000 {
        let before = format!("*a{}", i - 1);
        laughs += &format!("a{i}: &a{i} [{before}, {before}, {before}, {before}]\n");
    }
    for front in [
        laughs + "base_model: *a999",
        "[".repeat(half),
        "{".repeat(half),
        "a: ".repeat(half / 3),
        "- ".repeat(half / 2),
        "? ".repeat(half / 2),
        "&a ".repeat(half / 3),
        "!!a ".repeat(half / 4),
        "datasets:\n".to_owned() + &"- a\n".repeat(half / 4),
        "a: \"".to_owned() + &"\\n\n".repeat(half / 3),
        "a: >\n".to_owned() + &" x\n\n".repeat(half / 4),
        " ".repeat(half),
        "\t".repeat(half),
        "%TAG ! x\n".repeat(half / 9),
    ] {
        let start = std::time::Instant::now();
        let _ = card(&front);
        assert!(start.elapsed().as_secs() < 10, "{front:.20}");
    }
}
