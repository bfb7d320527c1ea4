//! The configuration of an adapter, as PEFT writes it beside the weights: `adapter_config.json`.

use serde::Deserialize;

use crate::statement::{Draft, Format, Statement, Use, shown};
use crate::{CARD_LIMIT, Relation, Unread, model_card};

/// What the configuration of an adapter says about the model that it adapts. <https://github.com/huggingface/peft>,
/// `PeftConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterConfig {
    /// What it calls its base: a name on the hub, or the path of a folder on the machine that trained it. Without credentials.
    pub base: String,
    /// Which revision of the base, where it says one.
    pub revision: Option<String>,
}

/// The members that count.
#[derive(Deserialize)]
struct Members {
    #[serde(rename = "peft_type")]
    _kind: String,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    #[serde(default)]
    revision: Option<String>,
}

/// What the configuration of an adapter says. `None` if it names no base.
///
/// # Errors
/// It is no such configuration, or longer than [`CARD_LIMIT`].
pub fn adapter_config(bytes: &[u8]) -> Result<Option<AdapterConfig>, Unread> {
    if bytes.len() > CARD_LIMIT {
        return Err(Unread::Bytes(CARD_LIMIT));
    }
    let members: Members = serde_json::from_slice(bytes).map_err(|error| Unread::Json(error.to_string()))?;
    let said = |text: Option<String>| text.map(|text| shown(&text)).filter(|text| !text.is_empty());
    let revision = said(members.revision);
    Ok(said(members.base_model_name_or_path).map(|base| AdapterConfig { base, revision }))
}

impl AdapterConfig {
    /// The name of the base without the organisation or the folder before it.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.parts().last().unwrap_or_default()
    }

    /// The organisation that is named too, if it is a name on the hub.
    #[must_use]
    pub fn organisation(&self) -> Option<&str> {
        let mut parts = self.base.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(organisation), Some(_), None) if self.is_name() => Some(organisation),
            _ => None,
        }
    }

    /// Whether it may be a name on the hub, and is no path that only means something on one machine.
    #[must_use]
    pub fn is_name(&self) -> bool {
        matches!(model_card::target(&self.base, ""), Some(crate::Target::External { .. })) && !self.base.contains(':')
    }

    /// What it says as a statement: the adapter derives from its base, where that is a name. A path says nothing.
    #[must_use]
    pub fn statement(&self) -> Statement {
        let mut draft = Draft::new(Format::AdapterConfig);
        if self.is_name() {
            let written = match self.revision.as_deref().filter(|_| !self.base.contains('@')) {
                Some(revision) => format!("{}@{revision}", self.base),
                None => self.base.clone(),
            };
            // A revision that is none takes nothing from the name.
            let target = model_card::target(&written, "").or_else(|| model_card::target(&self.base, ""));
            if let Some(target) = target {
                let (relation, word) = (Relation::DerivedFrom, Some("adapter".to_owned()));
                draft.used(Use { relation, word, name: None, declared: written, target });
            }
        }
        draft.finish()
    }

    fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        let name = self.base.split_once('@').map_or(&*self.base, |(name, _)| name);
        name.split(['/', '\\']).filter(|part| !part.is_empty())
    }
}
