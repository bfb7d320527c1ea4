//! The question that the registry is for: who is affected by this content?
//!
//! Statements find who holds the content and every link that leads there; distances, grades and paths are computed here.

mod cursor;
mod details;
mod part;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use content::Identities;
use futures_util::{Stream, stream};
use index::{
    Grade, Micros, NodeId, Reader, Session, claim, completeness,
    file::{self, Placed},
    graph::{self, Met, View},
    kit, layer, manifest, md5,
};
use oci::{Digest, EMPTY_JSON, Hasher, Name, Reference};
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub(crate) use self::{cursor::refuse_future, details::claimed};
use self::{
    cursor::{After, Cursor},
    details::Details,
    part::{FEW, Holders, Part as Rows, Row},
};
use crate::{
    Access, AsOfKind, Ctx, Error, Part, Registry, Rung, Thing,
    alike::{self, Asked, Held, Likeness},
    authz,
    kits::{bad_cursor, time},
    matched::{self, Eyes},
    paths, pulls,
    together::Together,
    view,
};

/// The most holders that an impact answer shows beside its models.
const HOLDERS_SHOWN: usize = 100;

/// How many holders the first page looks through for those that are no models.
const LOOKED_THROUGH: usize = 1000;

/// In how many ways a file is held, at most, for its holders to be found at once.
const FEWEST: u32 = 1000;
/// The same from the second page on: there may be more by then.
const NOT_FEW: u32 = 100_000;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file, by its SHA-256.
    File([u8; 32]),
    /// A layer, by its digest.
    Layer(Digest),
    /// An artifact, or one dataset of it.
    Artifact {
        /// Its repository.
        repository: Name,
        /// Its tag or digest.
        reference: Reference,
        /// The name of the dataset.
        dataset: Option<String>,
    },
    /// Something that is in no registry, by its identity.
    External(claims::External),
    /// Files that are in no registry, or need not be: of a folder, or of a leak. Each of them makes a match.
    Files {
        /// Their SHA-256s.
        files: BTreeSet<[u8; 32]>,
        /// Those of them of which what is inside is among the files, too, and counts instead of them.
        containers: BTreeSet<[u8; 32]>,
        /// The tree identity that they make together.
        tree: Option<[u8; 32]>,
        /// The contents identity that they make together.
        contents: Option<[u8; 32]>,
    },
}

/// A question about content.
#[derive(Debug, Clone)]
pub struct Question {
    /// What is asked about.
    pub content: Content,
    /// As of when; now if it is not said.
    pub as_of: Option<Micros>,
    /// By which time of what is said. Content is held from its push on.
    pub as_of_kind: AsOfKind,
    /// Only models with a path that is wholly of this grade or better.
    pub grade: Option<Grade>,
    /// Only what is the same on this rung.
    pub rung: Option<Rung>,
    /// The smallest share of the asked-for files that is an overlap, from 0 to 1; one half if it is not said.
    pub min_overlap: Option<f64>,
    /// Whether to tell of models that have weights of those that are affected.
    pub matched: bool,
    /// How long to wait for layers that are still to be scanned.
    pub wait: Duration,
    /// Whether to tell who pulled each model.
    pub pulls: bool,
    /// The most models of a page.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl Registry {
    /// Which models are affected by content, directly and through derivation, and who else holds it.
    ///
    /// # Errors
    /// [`Error::Unknown`] when an artifact is asked for that is not there, [`Error::Invalid`] when the question is not one.
    pub async fn impact(&self, ctx: &Ctx, question: &Question) -> Result<view::Impact, Error> {
        let (mut session, found) = self.find_page(ctx, question).await?;
        self.tell_page(ctx, &mut session, question, found).await
    }

    /// The same of all models, page after page to the last one: while one is told, the next is looked for. Who reads slowly keeps
    /// no connection meanwhile.
    ///
    /// # Errors
    /// As [`Registry::impact`]; then no more follow.
    pub fn impact_pages(
        self: &Arc<Self>,
        ctx: &Ctx,
        question: &Question,
    ) -> impl Stream<Item = Result<view::Impact, Error>> + Send + use<> {
        let ((find, found), (tell, told)) = (mpsc::channel(1), mpsc::channel(1));
        tokio::spawn(Arc::clone(self).find_pages(ctx.clone(), question.clone(), find));
        tokio::spawn(Arc::clone(self).tell_pages(ctx.clone(), question.clone(), found, tell));
        stream::try_unfold((told, true), |(mut told, goes_on)| async move {
            if !goes_on {
                return Ok(None);
            }
            let page =
                told.recv().await.unwrap_or_else(|| Err(Error::Internal("nobody tells the next page".into())))?;
            let goes_on = page.next.is_some();
            Ok(Some((page, (told, goes_on))))
        })
    }

    /// Finds page after page, as long as somebody wants them.
    async fn find_pages(
        self: Arc<Self>,
        ctx: Ctx,
        mut question: Question,
        found: mpsc::Sender<Result<FoundPage, Error>>,
    ) {
        let mut rest = None;
        while let Ok(place) = found.reserve().await {
            let mut page = match rest.take() {
                Some(page) => Ok(page),
                None => self.find_page(&ctx, &question).await.map(|(_, page)| page),
            };
            let mut next = None;
            if let Ok(page) = &mut page {
                rest = page.split_rest(&question);
                next = page.next.clone();
            }
            place.send(page);
            let Some(next) = next else { return };
            question = Question { cursor: Some(next), wait: Duration::ZERO, ..question };
        }
    }

    /// Tells page after page, as long as somebody wants to know.
    async fn tell_pages(
        self: Arc<Self>,
        ctx: Ctx,
        question: Question,
        mut found: mpsc::Receiver<Result<FoundPage, Error>>,
        told: mpsc::Sender<Result<view::Impact, Error>>,
    ) {
        while let Ok(place) = told.reserve().await {
            let Some(page) = found.recv().await else { return };
            let page = async { self.tell_page(&ctx, &mut self.db.snapshot().await?, &question, page?).await };
            place.send(page.await);
        }
    }

    /// Finds the models of a page.
    async fn find_page(&self, ctx: &Ctx, question: &Question) -> Result<(Session, FoundPage), Error> {
        let (mut asked, after) = self.ask(ctx, question, "models").await?;
        let content = asked.content.clone();
        let is_first = after == After::Nothing;
        let few = asked.few(question, &after).await?;
        let holders = match &few {
            Some(few) => Holders::few(&few.readable, &asked.held.itself),
            None => holders(&asked.held, question, &content),
        };
        let Gathered { mut page, is_counted, is_reached } = asked.gather(holders, after, question.limit).await?;
        let Asking { session, view, as_of, held, completeness, .. } = asked;
        let more_others = page.others().saturating_sub(HOLDERS_SHOWN) as u64;
        // Later pages are about models; whoever else holds the content was shown with the first.
        let (end, rest) = page.show(if is_first { HOLDERS_SHOWN } else { 0 });
        let about = About { view, as_of, content, held, completeness };
        let next = end.map(|after| about.cursor(question, after));
        let (rest, ways) = (rest.filter(|_| is_reached), few.map(|few| few.ways));
        let about = Arc::new(about);
        Ok((session, FoundPage { about, ways, page, is_first, is_counted, more_others, next, rest }))
    }

    /// Tells what there is to tell of a page.
    async fn tell_page(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        question: &Question,
        found: FoundPage,
    ) -> Result<view::Impact, Error> {
        let FoundPage { about, ways, page, is_first, is_counted, more_others, next, .. } = found;
        let About { view, as_of, content, held, completeness } = &*about;
        let told = Details::fetch(session, *view, content, held, ways, &page.parts).await?;
        let models = page.rows(|part| &part.models, is_first && next.is_none());
        let matched = match question.matched && is_first && next.is_none() {
            true => {
                let nodes: BTreeSet<_> = models.iter().map(|(row, _)| row.manifest).collect();
                let eyes = Eyes { reader: view.reader, as_of: view.known, ubiquitous: self.ubiquitous };
                Some(matched::find(session, eyes, &Vec::from_iter(nodes)).await?)
            }
            false => None,
        };
        let models = models.into_iter().filter_map(|(row, part)| told.model(row, part, held, view.known));
        let mut models: Vec<_> = models.collect();
        if question.pulls {
            pulls::tell(session, view.reader, view.known, &mut models).await?;
        }
        let others = page.rows(|part| &part.others, is_counted && more_others == 0);
        Ok(view::Impact {
            query: query(question, *as_of),
            scope: view::Scope::of(ctx.reader),
            ubiquitous: ubiquitous(held),
            models,
            matched,
            holders: others.into_iter().filter_map(|(row, part)| told.holder(row, part, view.known)).collect(),
            more_holders: (is_first && is_counted).then_some(more_others),
            next,
            completeness: completeness.clone(),
        })
    }

    /// Every model that is affected, and its distance, at once: for answers of hundreds of thousands. In no order.
    ///
    /// # Errors
    /// As [`Registry::impact`].
    pub async fn impact_digests(&self, ctx: &Ctx, question: &Question) -> Result<view::Affected, Error> {
        let (mut asked, _) = self.ask(ctx, question, "digests").await?;
        let content = asked.content.clone();
        let holders = holders(&asked.held, question, &content);
        let Asking { session, view, as_of, held, .. } = &mut asked;
        let as_of = *as_of;
        let mut others = BTreeSet::new();
        let models: Vec<(Digest, u32)>;
        let is_plain = view.floor <= Grade::Packaged && view.occurred == Micros::MAX && held.beside.is_empty();
        if let (Holders::File(sha256), true) = (&holders, is_plain) {
            // All that has the file counts, so that one statement will do.
            let found = graph::affected_by_file(session, view.reader, view.known, view.floor, sha256).await?;
            let ends: HashSet<_> = found.links.iter().map(|&(_, to, _)| to).collect();
            let starts = found.holders.iter().map(|node| node.id).filter(|node| ends.contains(node));
            let away = paths::distances(starts.chain(held.itself.iter().copied()), &found.links);
            others.extend(found.holders.iter().filter(|node| !node.is_model).map(|node| node.digest));
            let held = found.holders.iter().map(|node| (node, 0));
            let reached = found.others.iter().filter_map(|node| Some((node, *away.get(&node.id)?)));
            let told = held.chain(reached).filter(|(node, _)| node.is_model);
            models = told.map(|(node, distance)| (node.digest, distance)).collect();
        } else {
            let mut nearest: HashMap<Digest, u32> = HashMap::new();
            let mut from = Some(Met::default());
            while let Some(after) = from {
                let (met, next) = holders.after(session, *view, after, LOOKED_THROUGH).await?;
                let part = Rows::held(session, *view, held, &holders, &met).await?;
                nearest.extend(part.models.iter().map(|row| (row.digest, 0)));
                others.extend(part.others.iter().map(|row| row.digest));
                from = next;
            }
            let part = Rows::reached(session, *view, held, &holders).await?;
            for row in &part.models {
                let known = nearest.entry(row.digest).or_insert(row.score.distance);
                *known = row.score.distance.min(*known);
            }
            models = nearest.into_iter().collect();
        }
        Ok(view::Affected {
            query: query(question, as_of),
            scope: view::Scope::of(ctx.reader),
            ubiquitous: ubiquitous(held),
            completeness: asked.completeness,
            models,
            holders: others,
        })
    }

    /// Every artifact that holds the content, kits with a model among them, and the cursor of the next page.
    ///
    /// # Errors
    /// As [`Registry::impact`].
    pub async fn holders(&self, ctx: &Ctx, question: &Question) -> Result<(view::Impact, Option<String>), Error> {
        // Holding is a fact, which has no grade.
        let question = &Question { grade: None, ..question.clone() };
        let (mut asked, after) = self.ask(ctx, question, "holders").await?;
        let content = asked.content.clone();
        let holders = holders(&asked.held, question, &content);
        let Asking { session, view, as_of, held, .. } = &mut asked;
        let as_of = *as_of;
        let is_first = after == After::Nothing;
        let mut page = Page { after, limit: question.limit, parts: Vec::new() };
        let mut from = Some(page.begin());
        while let (Some(after), true) = (from, page.is_short()) {
            let (met, next) = holders.after(session, *view, after, page.limit + 1).await?;
            let mut part = Rows::held(session, *view, held, &holders, &met).await?;
            // Here a model is one holder among others.
            part.models.append(&mut part.others);
            part.models.sort_by(|a, b| a.place.cmp(&b.place));
            page.add(part);
            from = next;
        }
        let next = page.show(0).0.map(|after| Cursor::new(question, "holders", view.known, as_of, after).to_string());
        let told = Details::fetch(session, *view, &content, held, None, &page.parts).await?;
        let rows = page.rows(|part| &part.models, is_first && next.is_none());
        let answer = view::Impact {
            query: query(question, as_of),
            scope: view::Scope::of(ctx.reader),
            ubiquitous: ubiquitous(held),
            models: Vec::new(),
            matched: None,
            holders: rows.into_iter().filter_map(|(row, part)| told.holder(row, part, view.known)).collect(),
            more_holders: None,
            next: None,
            completeness: asked.completeness,
        };
        Ok((answer, next))
    }

    /// Begins to answer, in one state of the database.
    async fn ask(&self, ctx: &Ctx, question: &Question, list: &str) -> Result<(Asking, After), Error> {
        authz::check(ctx, Access::Pull)?;
        let cursor = Cursor::of(question, list, self.now())?;
        refuse_empty(&question.content)?;
        if !question.wait.is_zero() {
            self.settled(ctx.reader, question.wait).await?;
        }
        let mut session = self.db.snapshot().await?;
        let asked = cursor.as_ref().map(|cursor| cursor.as_of).or(question.as_of);
        let known = match (&cursor, question.as_of_kind, asked) {
            (Some(cursor), _, _) => cursor.known,
            (None, AsOfKind::Recorded, Some(as_of)) => as_of,
            (None, _, _) => self.latest(&mut session).await?,
        };
        let as_of = asked.unwrap_or(known);
        let occurred = match question.as_of_kind {
            AsOfKind::Recorded => Micros::MAX,
            AsOfKind::Occurred => as_of,
        };
        let completeness = count(&mut session, ctx.reader, self.limits.scanner_version()).await?;
        let (content, beside) = known_otherwise(&mut session, question).await?;
        let mut held = self.hold_content(ctx, &mut session, question, &content, known).await?;
        let names = names(&mut session, ctx.reader, known, question, &content, &held).await?;
        match content {
            Content::File(_) => held.beside = beside.into_iter().chain(names).collect(),
            _ => {
                held.itself.extend(names);
                held.beside = beside;
            }
        }
        held.itself.extend(&held.beside);
        held.by_md5 = match &question.content {
            Content::External(identity) => identity.md5().map(hex::encode),
            _ => None,
        };
        let view = View { reader: ctx.reader, known, occurred, floor: question.grade.unwrap_or(Grade::Matched) };
        let asking = Asking { session, view, as_of, content, held, completeness };
        Ok((asking, cursor.map_or(After::Nothing, |cursor| cursor.after)))
    }

    /// Finds what holds the content.
    async fn hold_content(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        question: &Question,
        content: &Content,
        as_of: Micros,
    ) -> Result<Held, Error> {
        let likeness = Likeness {
            rung: question.rung,
            min_overlap: question.min_overlap.unwrap_or(USUAL_OVERLAP),
            ubiquitous: self.ubiquitous,
        };
        let (mut itself, mut together) = (Vec::new(), self.together());
        let asked = match content {
            // Whoever has the file is found as it is needed; statements may name it by its digest.
            Content::File(sha256) if question.rung.is_none_or(|rung| rung == Rung::File) => {
                let itself = manifest::known_node(session, &Digest::sha256(*sha256)).await?;
                return Ok(Held { itself: itself.into_iter().collect(), ..Held::default() });
            }
            Content::External(identity) => {
                let itself = claim::external(session, identity.as_str()).await?.into_iter();
                let is_asked = question.rung.is_none();
                return Ok(Held { itself: itself.filter(|_| is_asked).collect(), ..Held::default() });
            }
            // On any other rung, a file is asked about as the layer that it may be.
            Content::File(sha256) => {
                vec![asked_layer(ctx, session, &mut together, &Digest::sha256(*sha256), as_of).await?]
            }
            Content::Layer(digest) => {
                itself.extend(manifest::known_node(session, digest).await?);
                vec![asked_layer(ctx, session, &mut together, digest, as_of).await?]
            }
            Content::Files { files, containers, tree, contents } => {
                let identities = Identities { tree: *tree, contents: *contents };
                let (files, containers) = (files - containers, containers.clone());
                vec![Asked { layers: Vec::new(), identities, files, containers, any_file: true }]
            }
            Content::Artifact { repository, reference, dataset } => {
                let found = self.ever_at(ctx, session, repository, reference, as_of).await?;
                let sets;
                (itself, sets) = artifact_sets(ctx, session, found.id, dataset.as_deref(), as_of).await?;
                let mut asked = Vec::with_capacity(sets.len());
                for layers in sets {
                    asked.push(as_compared(session, &mut together, &layers).await?);
                }
                asked
            }
        };
        let held = alike::find(session, &mut together, ctx.reader, as_of, likeness, &asked).await?;
        // The artifact itself is there as the same layers, or not at all.
        if !likeness.wants(Rung::Layer) {
            itself.clear();
        }
        for asked in asked.iter().filter(|asked| !asked.any_file) {
            itself.extend(named_files(session, likeness, asked).await?);
        }
        Ok(Held { itself, ..held })
    }
}

/// What an answer is made from.
struct Asking {
    session: Session,
    view: View,
    /// The moment that was asked for.
    as_of: Micros,
    /// What is asked about, as it is known here.
    content: Content,
    held: Held,
    completeness: view::Completeness,
}

/// What all pages of an answer are about.
struct About {
    view: View,
    as_of: Micros,
    content: Content,
    held: Held,
    completeness: view::Completeness,
}

impl About {
    /// The cursor of what comes after a row.
    fn cursor(&self, question: &Question, after: After) -> String {
        Cursor::new(question, "models", self.view.known, self.as_of, after).to_string()
    }
}

/// A page of which nothing is told yet.
struct FoundPage {
    about: Arc<About>,
    /// How the content is held, where few do.
    ways: Option<graph::Ways>,
    page: Page,
    is_first: bool,
    /// Whether all holders were looked through.
    is_counted: bool,
    /// How many holders are not shown that are no models.
    more_others: u64,
    /// The cursor of the page after it.
    next: Option<String>,
    /// All models of the pages after it, where these are known: those that only lead to the content are found all at once.
    rest: Option<Rows>,
}

impl FoundPage {
    /// The page after it, where its models are known.
    fn split_rest(&mut self, question: &Question) -> Option<Self> {
        let mut page = Page { after: After::Nothing, limit: question.limit, parts: vec![self.rest.take()?] };
        let (end, rest) = page.show(0);
        let next = end.map(|after| self.about.cursor(question, after));
        let about = Arc::clone(&self.about);
        Some(Self { about, ways: None, page, is_first: false, is_counted: false, more_others: 0, next, rest })
    }
}

/// A page that is filled.
struct Gathered {
    page: Page,
    /// Whether all holders were looked through.
    is_counted: bool,
    /// Whether all that only leads to the content was found, too.
    is_reached: bool,
}

/// A file's holders, and how each has it, where they are few.
struct Few {
    readable: Vec<kit::Summary>,
    ways: graph::Ways,
}

impl Asking {
    /// All that hold the asked-for file, where they are few or were on the page before: one statement finds them, and how each
    /// holds it.
    async fn few(&mut self, question: &Question, after: &After) -> Result<Option<Few>, Error> {
        let Holders::File(sha256) = holders(&self.held, question, &self.content) else { return Ok(None) };
        let goes_on = matches!(after, After::Held(met, _) if met.scan == FEW);
        if !goes_on && *after != After::Nothing {
            return Ok(None);
        }
        let most = if goes_on { NOT_FEW } else { FEWEST };
        let Some(ways) = graph::few_with_file(&mut self.session, sha256, most).await? else {
            return if goes_on { Err(bad_cursor()) } else { Ok(None) };
        };
        let View { reader, known, .. } = self.view;
        let readable = kit::readable(&mut self.session, reader, known, &ways.manifests()).await?;
        Ok(Some(Few { readable, ways }))
    }

    /// Fills a page: with models that hold the content, and then with those that only lead to it.
    async fn gather(&mut self, holders: Holders<'_>, after: After, limit: usize) -> Result<Gathered, Error> {
        let Self { session, view, held, .. } = self;
        let is_first = after == After::Nothing;
        let mut page = Page { after, limit, parts: Vec::new() };
        let (mut is_counted, mut known) = (false, Vec::new());
        if !matches!(page.after, After::Reached(..)) {
            let (mut from, mut seen) = (page.begin(), 0);
            loop {
                let needs_others = is_first && page.others() <= HOLDERS_SHOWN && seen < LOOKED_THROUGH;
                if !page.is_short() && !needs_others {
                    break;
                }
                // One more says that there is another page; on a later page, the last one of the page before is met again.
                let limit = if page.is_short() { page.limit + 1 + usize::from(!is_first) } else { LOOKED_THROUGH };
                let (mut met, next) = holders.after(session, *view, from, limit).await?;
                seen += met.len();
                known.extend(met.iter().map(|met| NodeId(met.manifest)));
                if !page.is_short() {
                    let nodes = met.iter().map(|met| NodeId(met.manifest)).collect();
                    let others = holders.not_models(session, nodes).await?;
                    met.retain(|met| others.contains(&NodeId(met.manifest)));
                }
                page.add(Rows::held(session, *view, held, &holders, &met).await?);
                let Some(next) = next else {
                    is_counted = true;
                    break;
                };
                from = next;
            }
        }
        let is_reached = page.is_short();
        if is_reached {
            // Those that were all met need not be found again.
            let holders = match holders {
                Holders::File(_) if is_first && is_counted => {
                    Holders::known(known.into_iter().chain(held.itself.iter().copied()))
                }
                holders => holders,
            };
            page.add(Rows::reached(session, *view, held, &holders).await?);
        }
        Ok(Gathered { page, is_counted, is_reached })
    }
}

/// A page while it is filled.
struct Page {
    /// Where the one before ended.
    after: After,
    /// How many models it shows; one more says that there is another page.
    limit: usize,
    parts: Vec<Rows>,
}

impl Page {
    /// Before the first holder that may be on it. The last one of the page before may be in more repositories.
    fn begin(&self) -> Met {
        match &self.after {
            After::Held(met, _) => Met { manifest: met.manifest.saturating_sub(1), ..*met },
            After::Nothing | After::Reached(..) => Met::default(),
        }
    }

    fn models(&self) -> usize {
        self.parts.iter().map(|part| part.models.len()).sum()
    }

    fn others(&self) -> usize {
        self.parts.iter().map(|part| part.others.len()).sum()
    }

    fn is_short(&self) -> bool {
        self.models() <= self.limit
    }

    fn add(&mut self, mut part: Rows) {
        part.models.retain(|row| row.place > self.after);
        self.parts.push(part);
    }

    /// Leaves out what is not shown. Where the page ends, if others follow, and the models of its last part that do.
    fn show(&mut self, mut others: usize) -> (Option<After>, Option<Rows>) {
        let (has_more, mut models) = (!self.is_short(), self.limit);
        let mut rest = None;
        for part in &mut self.parts {
            rest = part.split_off(models);
            part.others.truncate(others);
            models -= part.models.len();
            others -= part.others.len();
        }
        let last = self.parts.iter().rev().find_map(|part| part.models.last());
        (last.filter(|_| has_more).map(|row| row.place.clone()), rest)
    }

    /// Its rows; where they are all that there are, by distance, repository and digest.
    fn rows(&self, of: impl Fn(&Rows) -> &Vec<Row>, are_all: bool) -> Vec<(&Row, &Rows)> {
        let mut rows: Vec<_> = self.parts.iter().flat_map(|part| of(part).iter().map(move |row| (row, part))).collect();
        if are_all {
            rows.sort_by_cached_key(|(row, _)| (row.score.distance, row.name.to_string(), row.digest));
        }
        rows
    }
}

/// What is asked about, as it is known here, and by which other names statements may say that it was used. DVC knows a file by
/// its MD5: asked about by that, it is the file here that has it, and asked about as the file, it is used by that name, too.
async fn known_otherwise(session: &mut Session, question: &Question) -> Result<(Content, Vec<NodeId>), Error> {
    let content = &question.content;
    // On any other rung something else is asked about.
    if question.rung.is_some_and(|rung| rung != Rung::File) {
        return Ok((content.clone(), Vec::new()));
    }
    match content {
        Content::File(sha256) => {
            let identity = md5::of_file(session, sha256).await?.map(claims::External::of_md5);
            let beside = match identity {
                Some(identity) => claim::external(session, identity.as_str()).await?,
                None => None,
            };
            Ok((content.clone(), beside.into_iter().collect()))
        }
        Content::External(identity) => {
            let files = match identity.md5() {
                Some(md5) => md5::files(session, &md5).await?,
                None => Vec::new(),
            };
            let known = match files[..] {
                [] => return Ok((content.clone(), Vec::new())),
                [file] => Content::File(file),
                _ => Content::Files {
                    files: files.into_iter().collect(),
                    containers: BTreeSet::new(),
                    tree: None,
                    contents: None,
                },
            };
            let beside = claim::external(session, identity.as_str()).await?;
            Ok((known, beside.into_iter().collect()))
        }
        _ => Ok((content.clone(), Vec::new())),
    }
}

/// What the content is called by those who name it by a digest: a statement may name an archive that holds a file, whether that
/// is a layer or inside of one, or an archive that is the same as what is asked about, and each of very many files.
async fn names(
    session: &mut Session,
    reader: Reader,
    known: Micros,
    question: &Question,
    content: &Content,
    held: &Held,
) -> Result<Vec<NodeId>, Error> {
    let is_by_file = question.rung.is_none_or(|rung| rung == Rung::File);
    let mut layers: BTreeSet<_> = held.layers.keys().copied().collect();
    let mut names = Vec::new();
    // A layer may be a file of an archive, too.
    let mut inside = graph::layers_as_files(session, &Vec::from_iter(layers.iter().copied())).await?;
    match content {
        Content::File(sha256) if is_by_file => {
            names = graph::names_with_file(session, reader, known, sha256).await?;
            inside.insert(*sha256);
        }
        Content::Files { files, .. } if is_by_file => {
            names = manifest::known_nodes(session, files.iter().map(|file| &file[..])).await?;
            for identity in md5::of_files(session, files).await?.into_iter().map(claims::External::of_md5) {
                names.extend(claim::external(session, identity.as_str()).await?);
            }
            layers.extend(held.files.keys());
            inside.extend(files);
        }
        _ => {}
    }
    if is_by_file {
        names.extend(graph::names_around_files(session, reader, known, &inside).await?);
    }
    names.extend(graph::names_of_layers(session, &Vec::from_iter(layers)).await?);
    Ok(names)
}

/// The files of a set that statements name by their digests, if these are so many that what has them would be an overlap: what was
/// made from its files was made from it.
async fn named_files(session: &mut Session, likeness: Likeness, asked: &Asked) -> Result<Vec<NodeId>, Error> {
    if asked.files.is_empty() || !(likeness.wants(Rung::File) || likeness.wants(Rung::Overlap)) {
        return Ok(Vec::new());
    }
    let files = asked.files.union(&asked.containers);
    let named = manifest::known_nodes(session, files.map(|file| &file[..])).await?;
    let is_enough = alike::share_of(named.len() as u64, asked.files.len() as u64) >= likeness.min_overlap;
    Ok(if is_enough { named } else { Vec::new() })
}

/// How the holders are found: those of a file as they are needed, for they may be very many.
fn holders<'a>(held: &Held, question: &Question, content: &'a Content) -> Holders<'a> {
    match content {
        Content::File(sha256) if question.rung.is_none_or(|rung| rung == Rung::File) => Holders::File(sha256),
        _ => Holders::known(held.manifests.iter().chain(&held.itself).copied()),
    }
}

/// The share of the asked-for files that is an overlap, unless the question says another.
const USUAL_OVERLAP: f64 = 0.5;

/// A layer as it is compared. Whoever may not read it learns nothing by asking what agrees with it.
async fn asked_layer(
    ctx: &Ctx,
    session: &mut Session,
    together: &mut Together,
    digest: &Digest,
    as_of: Micros,
) -> Result<Asked, Error> {
    let Some(layer) = layer::get(session, digest).await? else { return Ok(Asked::default()) };
    if graph::holders_of_layers(session, ctx.reader, as_of, &[layer.id]).await?.is_empty() {
        return Ok(Asked::default());
    }
    as_compared(session, together, &[Placed { layer: layer.id, path: None }]).await
}

/// Layers as they are compared, all together.
async fn as_compared(session: &mut Session, together: &mut Together, placed: &[Placed]) -> Result<Asked, Error> {
    let layers: Vec<_> = placed.iter().map(|placed| placed.layer).collect();
    let (files, containers) = file::leaves_and_containers(session, &layers).await?;
    let identities = together.identities(session, placed).await?;
    Ok(Asked { layers, identities, files, containers, any_file: false })
}

/// An artifact, and those that it lists: an index is asked about as all of them.
pub(crate) async fn listed(
    session: &mut Session,
    reader: Reader,
    artifact: NodeId,
    as_of: Micros,
) -> Result<Vec<NodeId>, Error> {
    let (mut all, mut next) = (vec![artifact], 0);
    while let Some(&node) = all.get(next) {
        for child in manifest::children(session, reader, as_of, node).await? {
            if !all.contains(&child) {
                all.push(child);
            }
        }
        next += 1;
    }
    Ok(all)
}

/// An artifact, and those that it lists, as they are compared: as themselves, and each dataset by its layers. What has neither
/// a model nor datasets is compared by each of its layers, and by all together unless it is an image.
async fn artifact_sets(
    ctx: &Ctx,
    session: &mut Session,
    artifact: NodeId,
    dataset: Option<&str>,
    as_of: Micros,
) -> Result<(Vec<NodeId>, Vec<Vec<Placed>>), Error> {
    let asked_for = listed(session, ctx.reader, artifact, as_of).await?;
    let (mut itself, mut sets) = (Vec::new(), Vec::new());
    for node in asked_for {
        let kit = kit::get(session, node).await?;
        let is_model = kit.as_ref().is_some_and(|kit| kit.is_model);
        let named: BTreeSet<_> = graph::component_layers(session, node)
            .await?
            .into_iter()
            .filter(|component| {
                let is_named = dataset.is_none_or(|name| component.name.as_deref() == Some(name));
                component.role == "dataset" && is_named
            })
            .map(|component| component.position)
            .collect();
        let (mut datasets, mut others) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
        for (_, component, placed) in file::layers_of_manifests(session, &[node]).await? {
            match component.filter(|position| named.contains(position)) {
                Some(position) => datasets.entry(position).or_default().push(placed),
                None => others.push(placed),
            }
        }
        let mut datasets: Vec<_> = datasets.into_values().collect();
        if dataset.is_none() && !is_model && datasets.is_empty() {
            let is_plain = kit.is_some_and(|kit| kit.kind == modelkit::Kind::Artifact.as_str());
            if is_plain && others.len() > 1 {
                // The first of equal answers is told, and this one says more.
                datasets.push(others.clone());
            }
            datasets.extend(others.into_iter().map(|placed| vec![placed]));
        }
        // A model is asked about as itself: who derives from it, and where else it is.
        if dataset.is_some() || !is_model {
            sets.extend(datasets);
        }
        if dataset.is_none() {
            itself.push(node);
        }
    }
    if let (Some(name), true) = (dataset, sets.is_empty()) {
        return Err(Error::Unknown(Thing::Component(name.to_owned())));
    }
    Ok((itself, sets))
}

fn ubiquitous(held: &Held) -> Vec<view::Ubiquitous> {
    let told = held.ubiquitous.iter();
    told.map(|&(file, repositories)| view::Ubiquitous { file: Digest::sha256(file).to_string(), repositories })
        .collect()
}

/// What everybody and everything has says nothing about anybody.
fn refuse_empty(content: &Content) -> Result<(), Error> {
    let digest = match content {
        Content::File(sha256) => Digest::sha256(*sha256),
        Content::Layer(digest) => *digest,
        Content::Artifact { .. } | Content::External(_) => return Ok(()),
        Content::Files { files, .. } => {
            let nothing = |file: &&[u8; 32]| {
                let digest = Digest::sha256(**file);
                digest == Hasher::digest(digest.algorithm(), b"") || digest.to_string() == EMPTY_JSON
            };
            let why = "it is the digest of an empty file or of {}, which are everywhere and mean nothing; leave it out";
            return match files.iter().find(nothing) {
                Some(file) => {
                    let why = format!("{}: {why}", Digest::sha256(*file));
                    Err(Error::Invalid { what: Part::Parameter("files"), why })
                }
                None => Ok(()),
            };
        }
    };
    let (name, what) = match content {
        Content::Layer(_) => ("layer", "layer"),
        _ => ("file", "file"),
    };
    let empty = Hasher::digest(digest.algorithm(), b"");
    let empty_json: Option<Digest> = EMPTY_JSON.parse().ok();
    if digest == empty || Some(digest) == empty_json {
        let why = format!("the empty {what} has no identity: it is everywhere and means nothing");
        return Err(Error::Invalid { what: Part::Parameter(name), why });
    }
    Ok(())
}

/// What an answer for `reader` could know, where facts of `scanner` are the newest.
pub(crate) async fn count(session: &mut Session, reader: Reader, scanner: i32) -> Result<view::Completeness, Error> {
    Ok(completeness::count(session, reader, scanner).await?.into())
}

/// The question as it was understood.
fn query(question: &Question, as_of: Micros) -> Value {
    let mut query = match &question.content {
        Content::File(sha256) => json!({"file": Digest::sha256(*sha256).to_string()}),
        Content::Layer(digest) => json!({"layer": digest.to_string()}),
        Content::External(identity) => json!({"external": identity.as_str()}),
        Content::Artifact { repository, reference, dataset } => {
            let separator = if matches!(reference, Reference::Digest(_)) { '@' } else { ':' };
            let mut query = json!({"ref": format!("{repository}{separator}{reference}")});
            if let (Some(dataset), Some(members)) = (dataset, query.as_object_mut()) {
                members.insert("dataset".into(), json!(dataset));
            }
            query
        }
        Content::Files { files, containers, tree, contents } => {
            let mut query = json!({"files": files.len()});
            if let (false, Some(members)) = (containers.is_empty(), query.as_object_mut()) {
                members.insert("containers".into(), json!(containers.len()));
            }
            for (name, identity) in [("tree", tree), ("contents", contents)] {
                if let (Some(identity), Some(members)) = (identity, query.as_object_mut()) {
                    members.insert(name.into(), json!(Digest::sha256(*identity).to_string()));
                }
            }
            query
        }
    };
    if let Some(members) = query.as_object_mut() {
        members.insert("as_of".into(), json!(time(as_of)));
        members.insert("as_of_kind".into(), json!(question.as_of_kind.as_str()));
    }
    query
}
