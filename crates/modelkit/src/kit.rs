//! The one shape that every dialect is read into (DESIGN section 3, "Kit").

use std::{fmt, fmt::Write as _, str::FromStr};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::RegistryReference;

/// What a manifest and its config mean. It is a claim by whoever pushed them, nothing in it has been verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Kit {
    /// The dialect, or what kind of non-model it is.
    pub kind: Kind,
    /// What it says about itself.
    pub package: Package,
    /// What it consists of: the entries of the Kitfile in its order, then the layers that no entry claims.
    pub components: Vec<Component>,
    /// What it says it was made from, outside any registry (ModelPack descriptor, Ollama config).
    pub sources: Vec<Source>,
    /// What a kit index says about its children; empty for everything else.
    pub variants: Vec<Variant>,
    /// What could not be understood, in one text for people. The rest of the kit stands all the same.
    pub problem: Option<String>,
    /// Whether that may have cost components or references: what it was made from may be missing.
    pub incomplete: bool,
}

/// What a manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A KitOps ModelKit, of any version.
    ModelKit,
    /// A CNCF ModelPack, whoever packed it.
    ModelPack,
    /// A model of Docker Model Runner.
    DockerModel,
    /// A model of Ollama.
    Ollama,
    /// A KitOps index of variants of one model.
    ModelKitIndex,
    /// Any other index or manifest list.
    Index,
    /// A container image.
    Image,
    /// A signature, statement, bill of materials, or whatever else has a `subject`.
    Attachment,
    /// Anything else.
    Artifact,
}

/// What an artifact says about itself. Absent and empty texts are both `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Package {
    /// The name, which need not be the repository's.
    pub name: Option<String>,
    /// The version, which need not be the tag.
    pub version: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The model family, for example `llama3` (ModelPack, Ollama).
    pub family: Option<String>,
    /// The licences of the package itself, as declared, usually SPDX identifiers.
    pub licences: Vec<String>,
    /// Who made it.
    pub authors: Vec<String>,
}

/// A part of a kit that has an identity of its own: layers, or a place elsewhere, or (when the manifest is broken)
/// neither.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// What it is for.
    pub role: Role,
    /// Its place among the components of its role, from 0.
    pub position: usize,
    /// The declared name. A Kitfile's entry may have none; a layer that no entry describes is named after its path.
    pub name: Option<String>,
    /// The path when unpacked, as declared. A model by reference has none.
    pub path: Option<String>,
    /// What it is, in words.
    pub description: Option<String>,
    /// The licence, as declared.
    pub licence: Option<String>,
    /// The version, of a model.
    pub version: Option<String>,
    /// The framework of a model, for example `pytorch`.
    pub framework: Option<String>,
    /// The format of a model, for example `safetensors`.
    pub format: Option<String>,
    /// The dialect's own word for what it is: a Kitfile part's `type`, an Ollama or Docker layer's kind.
    pub declared_type: Option<String>,
    /// Arbitrary JSON: the Kitfile's `parameters`, or the part of another dialect's config that describes the model.
    pub parameters: Option<Value>,
    /// Its layers, as indexes into `manifest.layers`, ascending. Two components may share one.
    pub layers: Vec<usize>,
    /// Where it is when it is not in a layer.
    pub remote: Option<Remote>,
}

/// What a component is for (DESIGN section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Weights, or a reference to the kit that holds them.
    Model,
    /// What goes with the weights: tokenizer, configuration, adapter, projector.
    Part,
    /// Data.
    Dataset,
    /// Source code.
    Code,
    /// Documentation and licence texts.
    Docs,
    /// A prompt, chat template or system message.
    Prompt,
    /// An MCP server bundle.
    Mcp,
}

/// Where a component's content is when not in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The text as declared.
    pub text: String,
    /// The declared hash of the content (`remoteHash`; for S3 the ETag). It is not a digest in general.
    pub hash: Option<String>,
    /// What the text means.
    pub target: Target,
}

/// What a remote text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An artifact in a registry.
    Registry(RegistryReference),
    /// Anything else: `s3://…`, `hf://…`, or what does not parse.
    External(String),
}

/// What an artifact says it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What was taken from there.
    pub relation: Relation,
    /// The URL or name, as declared.
    pub text: String,
    /// The revision of the source (a git commit, perhaps with `-dirty`).
    pub revision: Option<String>,
}

/// What was taken from a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// The model itself (ModelPack `sourceURL` and `revision`).
    Origin,
    /// Data it was trained on (ModelPack `datasetsURL`).
    Dataset,
    /// The model it was derived from (Ollama `base_name`, and `from` of a weight layer).
    Base,
}

/// What a kit index says about one of its children.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// The child, as an index into `manifest.manifests`.
    pub child: usize,
    /// Its `modelMetadata`: arbitrary JSON, for example quantization and memory.
    pub metadata: Value,
}

/// A text that names none of the values it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of: {1}")]
pub struct UnknownWord(String, String);

impl Kit {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            package: Package::default(),
            components: Vec::new(),
            sources: Vec::new(),
            variants: Vec::new(),
            problem: None,
            incomplete: false,
        }
    }

    /// Whether it is a model: it has a `model` entry or weight layers. Indexes, images and attachments never are.
    #[must_use]
    pub fn is_model(&self) -> bool {
        self.model().is_some()
    }

    /// The model: the Kitfile's entry, or the weights. A strange kit may have more weights, in later components.
    #[must_use]
    pub fn model(&self) -> Option<&Component> {
        self.of_role(Role::Model).next()
    }

    /// The components of a role, by position.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(move |component| component.role == role)
    }

    /// The parameters of the model.
    #[must_use]
    pub fn parameters(&self) -> Option<&Value> {
        self.model()?.parameters.as_ref()
    }

    /// The models that this one takes its weights from by reference (Kitfile `model.path`).
    pub fn parents(&self) -> impl Iterator<Item = (&Component, &Remote)> {
        self.remote(Role::Model)
    }

    /// The datasets that are declared but not packed (Kitfile `datasets[].remotePath`).
    pub fn remote_datasets(&self) -> impl Iterator<Item = (&Component, &Remote)> {
        self.remote(Role::Dataset)
    }

    fn remote(&self, role: Role) -> impl Iterator<Item = (&Component, &Remote)> {
        self.of_role(role).filter_map(|component| Some((component, component.remote.as_ref()?)))
    }

    /// Gives every component its position. The readers only care about order.
    pub(crate) fn number(&mut self) {
        for role in Role::ALL {
            let components = self.components.iter_mut().filter(|component| component.role == *role);
            components.enumerate().for_each(|(position, component)| component.position = position);
        }
    }
}

impl Component {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            position: 0,
            name: None,
            path: None,
            description: None,
            licence: None,
            version: None,
            framework: None,
            format: None,
            declared_type: None,
            parameters: None,
            layers: Vec::new(),
            remote: None,
        }
    }

    /// The parameters as text in which equal parameters are equal: compact JSON, members sorted by name.
    #[must_use]
    pub fn parameters_text(&self) -> Option<String> {
        let mut text = String::new();
        canonical(self.parameters.as_ref()?, &mut text);
        Some(text)
    }
}

/// Sorts explicitly: whether `serde_json`'s own map is sorted depends on the features of the whole build.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (i, (name, value)) in members.into_iter().enumerate() {
                // Writing to a String cannot fail.
                let _ = write!(text, "{}{}:", if i > 0 { "," } else { "" }, Value::from(name.as_str()));
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                canonical(value, text);
            }
            text.push(']');
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word for it in the API and the database.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                let found = Self::ALL.iter().copied().find(|value| value.as_str() == text);
                found.ok_or_else(|| UnknownWord(text.into(), [$($word),+].join(", ")))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words!(Kind {
    ModelKit => "modelkit",
    ModelPack => "modelpack",
    DockerModel => "docker-model",
    Ollama => "ollama",
    ModelKitIndex => "modelkit-index",
    Index => "index",
    Image => "image",
    Attachment => "attachment",
    Artifact => "artifact",
});

words!(Role {
    Model => "model",
    Part => "part",
    Dataset => "dataset",
    Code => "code",
    Docs => "docs",
    Prompt => "prompt",
    Mcp => "mcp",
});

words!(Relation { Origin => "origin", Dataset => "dataset", Base => "base" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(*role));
        }
        let error = "weights".parse::<Relation>().unwrap_err().to_string();
        assert_eq!(error, r#""weights" is not one of: origin, dataset, base"#);
    }

    #[test]
    fn equal_parameters_have_equal_text() {
        let mut component = Component::new(Role::Model);
        assert_eq!(component.parameters_text(), None);
        component.parameters = serde_json::from_str(r#"{"b": [1, {"y": null, "x": "\u0000\""}], "a": 0.10}"#).ok();
        assert_eq!(component.parameters_text().unwrap(), r#"{"a":0.1,"b":[1,{"x":"\u0000\"","y":null}]}"#);
    }
}
