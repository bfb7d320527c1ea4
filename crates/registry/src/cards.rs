//! Model cards and configurations of adapters in the layers of models: what they say a model was made from.

use std::collections::BTreeMap;

use index::{
    ClaimKind, JobKind, LayerId, OccurrenceId, Priority, Session,
    claim::{self, ModelStay, NewClaim},
    file, job,
};
use serde_json::Value;

use crate::{
    Error, Registry,
    declared::{Declared, Voice},
    statements::declared,
};

/// How many cards of a layer are looked at; the one that is nearest to its root counts.
const CARDS: u32 = 64;
/// For how many stays of models the card of a layer is read in one transaction.
const STAYS: u32 = 200;

/// What model cards are called, in any case.
const MODEL_CARD: &[u8] = b"README.md";

/// What a file in a layer says of the models that have the layer.
struct Card {
    kind: Kind,
    /// Whether it is one only where a manifest calls the layer so, for the layer is the file and does not know its name.
    if_called: bool,
    text: String,
    problem: Option<String>,
    /// Whether it says more than could be read of it.
    incomplete: bool,
    declared: Vec<Declared>,
}

/// The files that are read.
#[derive(Debug, Clone, Copy)]
enum Kind {
    ModelCard,
    AdapterConfig,
}

impl Kind {
    const ALL: [Self; 2] = [Self::ModelCard, Self::AdapterConfig];

    /// What the scanner calls it, and under which name it kept the text.
    const fn kept(self) -> (&'static str, &'static str) {
        match self {
            Self::ModelCard => ("front-matter", "front_matter"),
            Self::AdapterConfig => ("adapter-config", "adapter_config"),
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::ModelCard => "text/markdown",
            Self::AdapterConfig => "application/json",
        }
    }

    const fn claim(self) -> ClaimKind {
        match self {
            Self::ModelCard => ClaimKind::ModelCard,
            Self::AdapterConfig => ClaimKind::AdapterConfig,
        }
    }

    const fn format(self) -> claims::Format {
        match self {
            Self::ModelCard => claims::Format::ModelCard,
            Self::AdapterConfig => claims::Format::AdapterConfig,
        }
    }

    /// What a text says, if it says anything.
    fn read(self, text: &[u8]) -> Result<Option<claims::Statement>, claims::Unread> {
        match self {
            Self::ModelCard => claims::model_card(text),
            Self::AdapterConfig => Ok(claims::adapter_config(text)?.map(|config| config.statement())),
        }
    }
}

/// Whether the file at a path is a model card by its name.
pub(crate) fn is_model_card(path: &[u8]) -> bool {
    file::has_name(path, MODEL_CARD)
}

/// Whether the file at a path is its layer, or what its layer unpacks to, so that manifests alone know its name.
pub(crate) fn is_layer(path: &[u8]) -> bool {
    path == content::WHOLE || path == content::INNER
}

impl Registry {
    /// Records what the cards in a layer say, for the models that have it, after one stay; a job does the rest.
    pub(crate) async fn read_cards(&self, tx: &mut Session, layer: LayerId, after: OccurrenceId) -> Result<(), Error> {
        let cards = self.cards(tx, layer).await?;
        if cards.is_empty() {
            return Ok(());
        }
        let stays = claim::models_with(tx, layer, after, STAYS).await?;
        for stay in &stays {
            for card in &cards {
                self.record_card(tx, layer, card, stay).await?;
            }
        }
        if let Some(last) = stays.last().filter(|_| stays.len() == STAYS as usize) {
            let subject = format!("{} {}", layer.0, last.stay.0);
            job::enqueue(tx, JobKind::Cards, &subject, Priority::Push, self.now()).await?;
        }
        Ok(())
    }

    pub(crate) async fn read_more_cards(&self, job: &job::Job, owner: &str) -> Result<(), Error> {
        let wrong = || Error::internal(format!("a job to read model cards has the subject {:?}", job.subject));
        let (layer, after) = job.subject.split_once(' ').ok_or_else(wrong)?;
        let (layer, after) = (layer.parse().map_err(|_| wrong())?, after.parse().map_err(|_| wrong())?);
        let mut tx = self.db.begin().await?;
        if job::done(&mut tx, job.id, owner).await? {
            self.read_cards(&mut tx, LayerId(layer), OccurrenceId(after)).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Records what the cards in the layers of a model say, as far as these are scanned.
    pub(crate) async fn read_cards_of(
        &self,
        tx: &mut Session,
        layers: &[LayerId],
        stay: &ModelStay,
    ) -> Result<(), Error> {
        for layer in layers {
            for card in self.cards(tx, *layer).await? {
                self.record_card(tx, *layer, &card, stay).await?;
            }
        }
        Ok(())
    }

    /// What the cards of a layer say: one of each kind.
    async fn cards(&self, tx: &mut Session, layer: LayerId) -> Result<Vec<Card>, Error> {
        let mut cards = Vec::new();
        for kind in Kind::ALL {
            cards.extend(self.card(tx, layer, kind).await?);
        }
        Ok(cards)
    }

    /// The card of a layer that is nearest to its root, if it says anything.
    async fn card(&self, tx: &mut Session, layer: LayerId, kind: Kind) -> Result<Option<Card>, Error> {
        let (format, member) = kind.kept();
        let cards = claim::cards(tx, layer, format, CARDS).await?;
        let places: Vec<_> = cards.iter().map(|card| card.place).collect();
        let entries = file::entries_at(tx, &places).await?;
        let path = |card: &claim::Card| entries.get(&card.place).map_or(content::WHOLE, |entry| &entry.path);
        let depth = |card: &&claim::Card| {
            let path = path(card);
            (is_layer(path), path.iter().filter(|byte| matches!(byte, b'/' | b'!')).count(), path.to_vec())
        };
        let Some(card) = cards.iter().min_by_key(depth) else { return Ok(None) };
        let if_called = matches!(kind, Kind::ModelCard) && is_layer(path(card));
        let document: Value = serde_json::from_slice(&card.document).unwrap_or_default();
        let Some(text) = document[member].as_str() else { return Ok(None) };
        let (declared, problem, incomplete) = match kind.read(text.as_bytes()) {
            Ok(Some(said)) => {
                let problem = said.problems.join("; ");
                let declared = said.uses.iter().flat_map(|used| declared(used, &self.names));
                (declared.collect(), Some(problem).filter(|problem| !problem.is_empty()), said.incomplete)
            }
            Ok(None) => return Ok(None),
            Err(unread) => (Vec::new(), Some(unread.to_string()), true),
        };
        let card = Card { kind, if_called, text: text.to_owned(), problem, incomplete, declared };
        Ok(Some(card).filter(|card| !card.declared.is_empty() || card.problem.is_some()))
    }

    /// Records what a card says of a model, once in a repository.
    async fn record_card(&self, tx: &mut Session, layer: LayerId, card: &Card, stay: &ModelStay) -> Result<(), Error> {
        if card.if_called && !claim::called(tx, layer, stay.model).await?.iter().any(|path| is_model_card(path)) {
            return Ok(());
        }
        let now = self.now();
        let media_type = card.kind.media_type();
        let statement = claim::keep(tx, media_type, &BTreeMap::new(), card.text.as_bytes(), now).await?;
        let repository = Some(stay.repository);
        if claim::known(tx, statement, stay.model, repository).await?.is_some() {
            return Ok(());
        }
        let new = NewClaim {
            repository,
            manifest: Some(stay.model),
            subject: Some(stay.model),
            statement: Some(statement),
            format: Some(card.kind.format().as_str()),
            problem: card.problem.as_deref(),
            incomplete: card.incomplete,
            ..NewClaim::of(card.kind.claim(), &stay.by)
        };
        let claim = claim::insert(tx, &new, now).await?;
        Voice::unsigned(claim, repository, stay.model).declare(tx, &card.declared, now).await
    }
}
