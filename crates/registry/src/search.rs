//! Finding kits by what they say of themselves, by the names of files in them, and by the beginnings of digests.
//!
//! Statements find where a word is; what that is worth, and which kits have all that was asked for, is decided here.

mod document;
mod query;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
};

use index::{
    Field, Micros, NodeId, Reader, RepositoryId, Session, kit, layer, manifest,
    search::{self as index_search, Among, DigestRange, Hit, Word},
    tag,
};

pub(crate) use self::document::searchable;
use self::query::{Query, Term, Text};
use crate::{
    Access, Ctx, Error, Part, Registry, authz,
    kits::{bad_cursor, mark, other_cursor, state, time},
    view,
};

/// As many hits of a word as are read before another, rarer one is looked for.
const FEW: usize = 2000;
/// The most manifests that are ranked; of more, those are that fit best.
const RANKED: usize = 10_000;
/// How many kits one transaction makes searchable.
const BATCH: u32 = 100;

/// What something is worth that was found.
mod worth {
    pub(super) const WHOLE_NAME: u32 = 100;
    pub(super) const NAME: u32 = 10;
    pub(super) const WORD: u32 = 4;
    pub(super) const CONTENT: u32 = 2;
    /// What is only the beginning of a word is worth so much less.
    pub(super) const BEGINNING: u32 = 1;
}

/// A question to the search.
#[derive(Debug, Clone)]
pub struct Search {
    /// What is to be found.
    pub query: String,
    /// The most kits of a page.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A kit, wherever it is (`None`) or in one repository.
type Spot = (NodeId, Option<RepositoryId>);

/// How one term was found.
#[derive(Debug, Clone, Default)]
struct Match {
    worth: u32,
    matched: BTreeSet<&'static str>,
}

/// Where one term was found.
#[derive(Debug, Default)]
struct Matches {
    spots: HashMap<Spot, Match>,
    /// Whether the search for it was ended early.
    is_cut: bool,
}

/// A row of an answer before its details are fetched.
struct Row {
    stay: manifest::Occurrence,
    is_deleted: bool,
    found: Match,
}

/// What rows are sorted by: what is there, what fits best, what came last. No two rows have one stay.
type Key = (bool, Reverse<u32>, Reverse<i64>);

impl Registry {
    /// The kits that have everything that is asked for, the best first; deleted ones come last.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the question is not one, or the cursor belongs to another.
    pub async fn search(&self, ctx: &Ctx, search: &Search) -> Result<view::Found, Error> {
        authz::check(ctx, Access::Pull)?;
        let query: Query = search.query.parse().map_err(|why| Error::Invalid { what: Part::Parameter("q"), why })?;
        let cursor = search.cursor.as_deref().map(|text| Cursor::parse(text, &search.query)).transpose()?;
        let mut session = self.db.snapshot().await?;
        let as_of = match &cursor {
            Some(cursor) => cursor.as_of,
            None => self.latest(&mut session).await?,
        };
        let missing = index_search::missing(&mut session, ctx.reader).await?;
        let layers_pending =
            if query.looks_inside() { Some(layer::pending(&mut session, ctx.reader).await?) } else { None };

        let matches = find(&mut session, ctx.reader, &query).await?;
        let (candidates, unranked) = candidates(&matches);
        let stays = manifest::occurrences(&mut session, ctx.reader, as_of, &candidates).await?;
        let mut rows = rows(&matches, stays, as_of);
        if let Some(cursor) = &cursor {
            rows.retain(|row| row.key() > cursor.after);
        }
        let has_more = rows.len() > search.limit;
        rows.truncate(search.limit);
        let next = rows.last().filter(|_| has_more);
        let next = next.map(|last| Cursor { as_of, asked: mark(&search.query), after: last.key() }.to_string());
        Ok(view::Found {
            query: search.query.clone(),
            scope: view::Scope::of(ctx.reader),
            kits_pending: missing.pending,
            kits_cut: missing.cut,
            layers_pending,
            unranked,
            kits: shown(&mut session, ctx.reader, rows, as_of).await?,
            next,
        })
    }

    /// Makes kits and repositories searchable that were pushed before there was a search. Whether there is more to do.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn fill_search(&self) -> Result<bool, Error> {
        let (kits, repositories) = {
            let mut session = self.db.read().await?;
            let repositories = index_search::unread_repositories(&mut session, BATCH).await?;
            (index_search::unread(&mut session, BATCH).await?, repositories)
        };
        if kits.is_empty() && repositories.is_empty() {
            return Ok(false);
        }
        // What the loss of power undoes is done again.
        let mut tx = self.db.begin_relaxed().await?;
        for (repository, name) in repositories {
            index_search::fill_repository(&mut tx, repository, &name).await?;
        }
        for kit in kits {
            let document = serde_json::from_slice(&kit.document).unwrap_or_default();
            let paths = kit.paths.iter().map(String::as_str);
            index_search::fill(&mut tx, kit.manifest, &searchable(&document, paths)).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

/// Where each term was found. What is found often is only looked for among the kits that have what is rare.
async fn find(session: &mut Session, reader: Reader, query: &Query) -> Result<Vec<Matches>, Error> {
    let mut found = Vec::with_capacity(query.0.len());
    for term in &query.0 {
        found.push(one(session, reader, term, Among::All(FEW)).await?);
    }
    let rarest = found.iter().filter(|matches| !matches.is_cut).map(Matches::manifests).min_by_key(Vec::len);
    let among = rarest.as_ref().map_or(Among::All(usize::MAX), |manifests| Among::These(manifests));
    for (term, matches) in query.0.iter().zip(&mut found).filter(|(_, matches)| matches.is_cut) {
        *matches = one(session, reader, term, among).await?;
    }
    Ok(found)
}

async fn one(session: &mut Session, reader: Reader, term: &Term, among: Among<'_>) -> Result<Matches, Error> {
    let limit = limit(among);
    let mut matches = Matches::default();
    match term {
        Term::Text(text) => {
            phrase(session, reader, text, among, &mut matches).await?;
            if let Some(name) = &text.file {
                let found = index_search::file_holders(session, reader, name, among).await?;
                matches.content("file", found, limit);
            }
            if let Some(range) = &text.digest {
                digest(session, reader, range, limit, &mut matches).await?;
            }
        }
        Term::Parameter { pointer, value } => {
            let value = value.as_ref().map(|spellings| spellings.each_ref().map(|text| &**text));
            let found = index_search::parameter(session, reader, pointer, value, among).await?;
            matches.is_cut = found.len() >= limit;
            for manifest in found {
                matches.add((manifest, None), "parameter", worth::WORD);
            }
        }
        Term::File(name) => {
            let found = index_search::file_holders(session, reader, name, among).await?;
            matches.content("file", found, limit);
        }
        Term::Digest(range) => digest(session, reader, range, limit, &mut matches).await?,
    }
    Ok(matches)
}

fn limit(among: Among<'_>) -> usize {
    match among {
        Among::All(limit) => limit,
        Among::These(_) => usize::MAX,
    }
}

async fn digest(
    session: &mut Session,
    reader: Reader,
    range: &DigestRange,
    limit: usize,
    matches: &mut Matches,
) -> Result<(), Error> {
    matches.content("digest", index_search::digest_holders(session, reader, range, limit).await?, limit);
    matches.content("file_digest", index_search::file_digest_holders(session, reader, range, limit).await?, limit);
    Ok(())
}

/// Where the words follow each other.
async fn phrase(
    session: &mut Session,
    reader: Reader,
    text: &Text,
    among: Among<'_>,
    matches: &mut Matches,
) -> Result<(), Error> {
    // Where the phrase would begin, by what was found of it until now. Long words are rare.
    let mut begins: Option<HashMap<(Spot, Field, i32), bool>> = None;
    let mut order: Vec<_> = text.words.iter().enumerate().zip(0_i32..).collect();
    order.sort_by_key(|((_, word), _)| Reverse(word.len()));
    let mut narrowed: Option<Vec<NodeId>> = None;
    for ((number, word), offset) in order {
        let word = Word { text: word, is_prefix: text.is_prefix && number + 1 == text.words.len() };
        let among = narrowed.as_ref().map_or(among, |manifests| Among::These(manifests));
        let hits = hits(session, reader, text, word, among, matches).await?;
        let here = hits.into_iter().map(|hit| ((spot(&hit), hit.field, hit.position - offset), hit.is_whole));
        let here: HashMap<_, _> = match &begins {
            None => here.collect(),
            Some(before) => here.filter_map(|(at, whole)| Some((at, whole & *before.get(&at)?))).collect(),
        };
        if matches.is_cut {
            // Some of it; the caller asks again.
            return Ok(());
        }
        let manifests: HashSet<_> = here.keys().map(|((manifest, _), ..)| *manifest).collect();
        narrowed = Some(manifests.into_iter().collect());
        begins = Some(here);
    }
    for ((spot, field, _), is_whole) in begins.unwrap_or_default() {
        let (name, worth) = match (spot.1, field) {
            (Some(_), _) => ("repository", worth::NAME),
            (None, Field::Name) => (field.as_str(), worth::NAME),
            (None, _) => (field.as_str(), worth::WORD),
        };
        matches.add(spot, name, if is_whole { worth } else { worth - worth::BEGINNING });
    }
    whole_names(session, reader, text, matches).await
}

/// Where a word is, in kits and in the names of repositories.
async fn hits(
    session: &mut Session,
    reader: Reader,
    text: &Text,
    word: Word<'_>,
    among: Among<'_>,
    matches: &mut Matches,
) -> Result<Vec<Hit>, Error> {
    let limit = limit(among);
    let mut hits = Vec::new();
    if let Some(fields) = &text.fields {
        hits = index_search::words(session, reader, word, fields, among).await?;
        matches.is_cut |= hits.len() >= limit;
    }
    if text.in_repository {
        let found = index_search::repository_words(session, reader, word, among).await?;
        matches.is_cut |= found.len() >= limit;
        hits.extend(found);
    }
    Ok(hits)
}

/// Raises those whose name is just what was asked for.
async fn whole_names(session: &mut Session, reader: Reader, text: &Text, matches: &mut Matches) -> Result<(), Error> {
    if matches.spots.is_empty() || !text.in_repository {
        return Ok(());
    }
    let whole = text.words.join(" ");
    let manifests = matches.manifests();
    let among = if manifests.len() <= FEW { Among::These(&manifests) } else { Among::All(usize::MAX) };
    let mut hits = index_search::repositories_named(session, reader, &whole, among).await?;
    if text.fields.is_some() {
        let word = Word { text: &whole, is_prefix: false };
        hits.extend(index_search::words(session, reader, word, &(Field::WholeName..=Field::WholeName), among).await?);
    }
    for hit in hits {
        if let Some(found) = matches.spots.get_mut(&spot(&hit)) {
            found.worth = worth::WHOLE_NAME;
        }
    }
    Ok(())
}

fn spot(hit: &Hit) -> Spot {
    (hit.manifest, hit.repository)
}

impl Matches {
    fn add(&mut self, spot: Spot, matched: &'static str, worth: u32) {
        let found = self.spots.entry(spot).or_default();
        found.worth = found.worth.max(worth);
        found.matched.insert(matched);
    }

    fn content(&mut self, matched: &'static str, manifests: Vec<NodeId>, limit: usize) {
        self.is_cut |= manifests.len() >= limit;
        for manifest in manifests {
            self.add((manifest, None), matched, worth::CONTENT);
        }
    }

    fn manifests(&self) -> Vec<NodeId> {
        let manifests: BTreeSet<_> = self.spots.keys().map(|(manifest, _)| *manifest).collect();
        manifests.into_iter().collect()
    }

    /// How a manifest has it in a repository, if it does.
    fn at(&self, manifest: NodeId, repository: RepositoryId) -> Option<Match> {
        let found = [None, Some(repository)].map(|place| self.spots.get(&(manifest, place)));
        found.into_iter().flatten().cloned().reduce(|mut one, other| {
            one.worth = one.worth.max(other.worth);
            one.matched.extend(other.matched);
            one
        })
    }
}

/// The manifests that have every term, and how many of them are left out because others fit better.
fn candidates(matches: &[Matches]) -> (Vec<NodeId>, u64) {
    let best = |matches: &Matches| {
        let mut best: HashMap<NodeId, u32> = HashMap::new();
        for (&(manifest, _), found) in &matches.spots {
            let worth = best.entry(manifest).or_default();
            *worth = found.worth.max(*worth);
        }
        best
    };
    let all = matches.iter().map(best).reduce(|one, other| {
        one.into_iter().filter_map(|(manifest, worth)| Some((manifest, worth + other.get(&manifest)?))).collect()
    });
    let mut all: Vec<_> = all.unwrap_or_default().into_iter().collect();
    all.sort_unstable_by_key(|&(manifest, worth)| Reverse((worth, manifest)));
    let unranked = all.len().saturating_sub(RANKED) as u64;
    all.truncate(RANKED);
    (all.into_iter().map(|(manifest, _)| manifest).collect(), unranked)
}

/// A row for each repository in which a manifest is, or was, and has every term; sorted.
fn rows(matches: &[Matches], stays: Vec<manifest::Occurrence>, as_of: Micros) -> Vec<Row> {
    // The last stay in a repository speaks for all of them.
    let last: HashMap<_, _> = stays.into_iter().map(|stay| ((stay.manifest, stay.repository), stay)).collect();
    let row = |((manifest, repository), stay): ((NodeId, RepositoryId), manifest::Occurrence)| {
        let mut found = Match::default();
        for matches in matches {
            let one = matches.at(manifest, repository)?;
            found.worth += one.worth;
            found.matched.extend(one.matched);
        }
        Some(Row { is_deleted: stay.closed_at.is_some_and(|closed| closed <= as_of), stay, found })
    };
    let mut rows: Vec<_> = last.into_iter().filter_map(row).collect();
    rows.sort_unstable_by_key(Row::key);
    rows
}

impl Row {
    fn key(&self) -> Key {
        (self.is_deleted, Reverse(self.found.worth), Reverse(self.stay.id.0))
    }
}

async fn shown(
    session: &mut Session,
    reader: Reader,
    rows: Vec<Row>,
    as_of: Micros,
) -> Result<Vec<view::FoundKit>, Error> {
    let manifests: Vec<_> = rows.iter().map(|row| row.stay.manifest).collect();
    let kits = kit::summaries(session, &manifests).await?;
    let kits: HashMap<_, _> = kits.into_iter().map(|kit| (kit.id, kit)).collect();
    let mut tags: HashMap<_, Vec<String>> = HashMap::new();
    for named in tag::ever_of(session, reader, as_of, &manifests).await? {
        if named.still {
            tags.entry((named.manifest, named.repository)).or_default().push(named.tag);
        }
    }
    let kit = |row: Row| {
        let kit = kits.get(&row.stay.manifest)?;
        let tags = tags.remove(&(row.stay.manifest, row.stay.repository)).unwrap_or_default();
        Some(view::FoundKit {
            repository: row.stay.name.to_string(),
            digest: kit.digest.to_string(),
            kind: kit.kind.clone(),
            is_model: kit.is_model,
            name: kit.name.clone(),
            version: kit.version.clone(),
            state: state(row.is_deleted, tags.is_empty()),
            tags,
            pushed_at: time(row.stay.opened_at),
            pushed_by: row.stay.opened_by,
            matched: row.found.matched.into_iter().collect(),
            score: row.found.worth,
        })
    };
    Ok(rows.into_iter().filter_map(kit).collect())
}

/// Where a page ended, of which question and as of when, so that pages fit together whatever is pushed meanwhile.
struct Cursor {
    as_of: Micros,
    asked: String,
    after: Key,
}

impl Cursor {
    fn parse(text: &str, query: &str) -> Result<Self, Error> {
        let parts: Vec<_> = text.split('~').collect();
        let [as_of, asked, deleted, worth, stay] = parts[..] else { return Err(bad_cursor()) };
        let number = |text: &str| text.parse::<i64>().map_err(|_| bad_cursor());
        let worth = worth.parse().map_err(|_| bad_cursor())?;
        let after = (number(deleted)? != 0, Reverse(worth), Reverse(number(stay)?));
        if asked != mark(query) {
            return Err(other_cursor());
        }
        Ok(Self { as_of: Micros(number(as_of)?), asked: asked.into(), after })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (deleted, Reverse(worth), Reverse(stay)) = self.after;
        write!(f, "{}~{}~{}~{worth}~{stay}", self.as_of.0, self.asked, u8::from(deleted))
    }
}
