//! How an artifact relates to what it was made with.

use std::fmt;

/// What an artifact has to do with something that a statement names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// It was trained with that data.
    TrainedOn,
    /// It was tested, validated or evaluated with that data.
    TestedOn,
    /// It was made from that model: fine-tuned, merged, quantized, distilled, converted.
    DerivedFrom,
    /// It was built by that code.
    Source,
    /// It was used, the statement does not say how. What the target is decides.
    Unstated,
}

impl Relation {
    /// The word for it in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TrainedOn => "trained_on",
            Self::TestedOn => "tested_on",
            Self::DerivedFrom => "derived_from",
            Self::Source => "source",
            Self::Unstated => "unstated",
        }
    }

    /// What a word for a role (`train`, `eval`, `base`) or a relation (`trainedOn`, `finetune`) means, in any spelling;
    /// `None` for a word that is not known.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        // No word that means something is nearly as long.
        if word.len() > 64 || !word.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let letters: String =
            word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        let letters = letters.strip_suffix("dataset").or(letters.strip_suffix("data")).unwrap_or(&letters);
        let letters = letters.strip_suffix("set").unwrap_or(letters);
        Some(match letters {
            // Only `data`, `dataset` or `data set` is left without a letter.
            "" | "train" | "training" | "trained" | "trainedon" | "trainedwith" | "pretraining" | "finetuning" => {
                Self::TrainedOn
            }
            "test" | "testing" | "tested" | "testedon" | "val" | "valid" | "validation" | "validated"
            | "validatedon" | "eval" | "evaluation" | "evaluated" | "evaluatedon" | "dev" | "benchmark" | "holdout" => {
                Self::TestedOn
            }
            "base" | "basemodel" | "parent" | "parentmodel" | "ancestor" | "pretrained" | "pretrainedmodel"
            | "foundation" | "foundationmodel" | "teacher" | "teachermodel" | "checkpoint" | "finetune"
            | "finetuned" | "finetunedfrom" | "adapter" | "lora" | "peft" | "merge" | "merged" | "mergedfrom"
            | "quantized" | "quantization" | "quantizedfrom" | "quantised" | "quantisation" | "distilled"
            | "distillation" | "distilledfrom" | "converted" | "conversion" | "pruned" | "derived" | "derivedfrom"
            | "descendantof" => Self::DerivedFrom,
            "source" | "sourcecode" | "code" | "git" => Self::Source,
            _ => return None,
        })
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (words, relation) in [
            ("train training dataset data train-set training_data Trained-On trainedOn", Some(Relation::TrainedOn)),
            ("test validation VALIDATION-DATASET eval evaluation_set testset testedOn dev", Some(Relation::TestedOn)),
            (
                "base base_model parent finetune fine-tuned adapter merge quantized distilled",
                Some(Relation::DerivedFrom),
            ),
            ("source code", Some(Relation::Source)),
            ("builder tool model input latest", None),
        ] {
            for word in words.split(' ') {
                assert_eq!(Relation::of_word(word), relation, "{word}");
            }
        }
        assert_eq!(Relation::of_word(""), None);
        assert_eq!(Relation::of_word("--"), None);
        for relation in [Relation::TrainedOn, Relation::TestedOn, Relation::DerivedFrom, Relation::Source] {
            assert_eq!(Relation::of_word(relation.as_str()), Some(relation));
        }
    }
}
