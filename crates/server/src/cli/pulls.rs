//! Who pulled the models of an answer, for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    impact::{count, name},
    kits::text,
};
use crate::{client::Holder, table::Table};

/// What is said below the models; nothing where the answer does not tell who pulled them.
pub(super) fn pulled(models: &[Holder]) -> String {
    let mut table = Table::new(&["MODEL", "PULLED BY", "FROM", "CLIENT", "FIRST", "LAST", "TIMES"]);
    let (mut said, mut rows, mut never) = (String::new(), 0, 0);
    for model in models {
        let Some(Value::Array(pulls)) = model.other.get("pulls") else { continue };
        never += u64::from(pulls.is_empty());
        for pull in pulls {
            let times = pull.get("count").map_or_else(String::new, ToString::to_string);
            let words = ["by", "address", "client", "at", "last_at"].map(|key| text(pull, key));
            table.row([name(model)].into_iter().chain(words).chain([times]));
            rows += 1;
        }
        let more = model.other.get("more_pulls").and_then(Value::as_u64).unwrap_or_default();
        if more > 0 {
            let _ = writeln!(said, "  {} was pulled {more} times before: GET /api/v1/pulls lists all", name(model));
        }
    }
    let mut all = String::new();
    if rows > 0 {
        let _ = write!(all, "\nPulled, as far as that is kept:\n{table}{said}");
    }
    if never > 0 {
        let _ = writeln!(all, "\nNot pulled, as far as that is kept: {}.", count(never, "model", "models"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_pulled_is_said_and_who_did_not() {
        let models = r#"[
            {"repository":"a","tags":["1"],"pulls":[{"by":"alice","client":"kit/1","at":"T1","last_at":"T2","count":3}],"more_pulls":4},
            {"repository":"b","tags":["1"],"pulls":[],"more_pulls":0},
            {"repository":"c","tags":["1"]}]"#;
        let text = pulled(&serde_json::from_str::<Vec<Holder>>(models).unwrap());
        assert!(text.contains("a:1    alice            kit/1   T1     T2    3\n"), "{text}");
        assert!(text.contains("a:1 was pulled 4 times before"), "{text}");
        assert!(text.contains("Not pulled, as far as that is kept: 1 model."), "{text}");
        assert_eq!(pulled(&[]), "");
    }
}
