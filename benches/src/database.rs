//! The rows of a large registry, written as fast as the database takes them: no request could make a million in the time
//! of a benchmark. They hang together as the server's own would, as far as what is measured looks at them.

use std::path::Path;

use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use tokio::runtime::Runtime;

use crate::Result;

/// The one repository.
pub(crate) const REPOSITORY: &str = "scale/large";
/// When everything was pushed: long before any grace, in microseconds.
pub(crate) const AT: &str = "1700000000000000";
/// Long after the benchmark.
const LATER: &str = "4100000000000000";
/// Among how many repositories models are shared out.
const REPOSITORIES: u32 = 10_000;
/// Rows of one statement.
const ROWS: usize = 500;

/// A tag by its number; their order is that of the numbers.
pub(crate) fn tag(number: u32) -> String {
    format!("v{number:08}")
}

/// A connection to the database of a registry.
pub(crate) struct Database {
    runtime: Runtime,
    engine: Engine,
}

pub(crate) enum Engine {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Database {
    pub(crate) fn open(url: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let engine = runtime.block_on(async {
            Result::Ok(if url.starts_with("sqlite:") {
                Engine::Sqlite(SqliteConnection::connect(url).await?)
            } else {
                Engine::Postgres(PgConnection::connect(url).await?)
            })
        })?;
        Ok(Self { runtime, engine })
    }

    /// Writes so many models, each in one of many repositories, with a tag, and derived from its parent, if it has one. The
    /// caller begins and commits.
    pub(crate) fn models(&mut self, models: u32, payload: &[u8], parent: impl Fn(u32) -> Option<u32>) -> Result<()> {
        let of = |model: u32| model % REPOSITORIES + 1;
        let all = || 1..=models;
        self.rows("repository (id, name, created_at)", 1..=REPOSITORIES, |_, n| format!("{n}, 'team/r{n:05}', {AT}"))?;
        self.rows("node (id, kind, key, is_manifest)", all(), |e, n| {
            format!("{n}, 0, {}, true", e.bytes(&hash("manifest", n)))
        })?;
        let size = payload.len();
        self.rows("manifest (id, digest, shape, size, payload, first_at)", all(), |e, n| {
            format!("{n}, {}, 0, {size}, {}, {AT}", e.bytes(&hash("manifest", n)), e.bytes(payload))
        })?;
        self.rows("occurrence (id, repository_id, manifest_id, media_type, opened_at, opened_by)", all(), |e, n| {
            format!("{n}, {}, {n}, {}, {AT}, 'bench'", of(n), e.bytes(b"application/vnd.oci.image.manifest.v1+json"))
        })?;
        self.rows("tag (repository_id, name, manifest_id, last_at)", all(), |_, n| {
            format!("{}, 'v{n}', {n}, {AT}", of(n))
        })?;
        self.rows("tag_event (repository_id, name, at, kind, manifest_id, actor)", all(), |_, n| {
            format!("{}, 'v{n}', {AT}, 0, {n}, 'bench'", of(n))
        })?;
        let kit = "kit (manifest_id, kind, is_model, name, version, document, incomplete, searchable)";
        self.rows(kit, all(), |e, n| {
            let (name, version) = (e.bytes(b"model"), e.bytes(n.to_string().as_bytes()));
            format!("{n}, 'modelkit', true, {name}, {version}, {}, false, 1", e.bytes(b"{}"))
        })?;
        self.execute(format!(
            "insert into claim (id, kind, repository_id, manifest_id, subject_id, actor, recorded_at) values (1, 0, 1, 1, 1, 'bench', {AT})"
        ))?;
        let edges = "edge (kind, grade, source_id, occurrence_id, target_id, claim_id, repository_id, recorded_at)";
        self.rows(edges, all().filter(|n| parent(*n).is_some()), |_, n| {
            format!("3, 2, {n}, {n}, {}, 1, {}, {AT}", parent(n).unwrap_or_default(), of(n))
        })
    }

    /// Makes ready to be asked: Postgres numbers the next rows after those that are there, and knows what these are.
    pub(crate) fn settle(&mut self, numbered: &[&str]) -> Result<()> {
        let number =
            |table: &&str| format!("select setval(pg_get_serial_sequence('{table}', 'id'), max(id)) from {table}");
        let numbers: Vec<_> = numbered.iter().map(number).collect();
        let mut postgres: Vec<_> = numbers.iter().map(String::as_str).collect();
        postgres.extend(["vacuum analyze", "checkpoint"]);
        self.only(&["pragma wal_checkpoint(truncate)"], &postgres)
    }

    /// Writes a repository with so many tags, each of a manifest of its own, among which the blobs are shared out.
    pub(crate) fn fill(&mut self, blobs: u32, tags: u32) -> Result<()> {
        self.only(
            &["pragma foreign_keys = off", "pragma synchronous = off", "pragma cache_size = -524288"],
            &["set session_replication_role = replica", "set synchronous_commit = off"],
        )?;
        self.execute("begin".to_owned())?;
        self.insert("repository (id, name, created_at)", [format!("1, '{REPOSITORY}', {AT}")].into_iter())?;
        let manifest = |engine: &Engine, n: u32| engine.bytes(&hash("manifest", n));
        let blob = |engine: &Engine, n: u32| engine.bytes(&hash("blob", n));
        let rows = |count: u32| 1..=count;
        self.rows("node (id, kind, key, is_manifest)", rows(tags), |engine, n| {
            format!("{n}, 0, {}, true", manifest(engine, n))
        })?;
        self.rows("manifest (id, digest, shape, size, payload, first_at)", rows(tags), |engine, n| {
            format!("{n}, {}, 0, 2, {}, {AT}", manifest(engine, n), engine.bytes(b"{}"))
        })?;
        self.rows(
            "occurrence (repository_id, manifest_id, media_type, opened_at, opened_by)",
            rows(tags),
            |engine, n| {
                format!("1, {n}, {}, {AT}, 'bench'", engine.bytes(b"application/vnd.oci.image.manifest.v1+json"))
            },
        )?;
        self.rows("tag (repository_id, name, manifest_id, last_at)", rows(tags), |_, n| {
            format!("1, '{}', {n}, {AT}", tag(n))
        })?;
        self.rows("tag_event (repository_id, name, at, kind, manifest_id, actor)", rows(tags), |_, n| {
            format!("1, '{}', {AT}, 0, {n}, 'bench'", tag(n))
        })?;
        self.rows("kit (manifest_id, kind, is_model, document, incomplete)", rows(tags), |engine, n| {
            format!("{n}, 'image', false, {}, false", engine.bytes(b"{}"))
        })?;
        self.rows("blob (id, digest, size, object_key, state, created_at)", rows(blobs), |engine, n| {
            format!("{n}, {}, 4096, '{}', 0, {AT}", blob(engine, n), key("blob", n))
        })?;
        self.rows("blob_link (repository_id, blob_id, created_at)", rows(blobs), |_, n| format!("1, {n}, {AT}"))?;
        self.rows("layer (id, digest, size, state, scanner)", rows(blobs), |engine, n| {
            format!("{n}, {}, 4096, 1, 1", blob(engine, n))
        })?;
        self.execute(format!("update layer_tally set layers = {blobs} where state = 1"))?;
        let each = blobs.div_ceil(tags.max(1)).max(1);
        let columns = "manifest_blob (manifest_id, position, digest, size, media_type, layer_id)";
        self.rows(columns, rows(blobs), |engine, n| {
            let (of, position) = ((n - 1) / each + 1, (n - 1) % each);
            let media_type = engine.bytes(b"application/vnd.oci.image.layer.v1.tar");
            format!("{of}, {position}, {}, 4096, {media_type}, {n}", blob(engine, n))
        })?;
        self.execute("commit".to_owned())?;
        self.only(
            // What was written is in the file by the time that the server opens it.
            &["pragma wal_checkpoint(truncate)"],
            // The server goes on counting; and the planner knows the tables, as it would after so many pushes.
            &[
                "select setval(pg_get_serial_sequence('repository', 'id'), max(id)) from repository",
                "select setval(pg_get_serial_sequence('node', 'id'), max(id)) from node",
                "select setval(pg_get_serial_sequence('blob', 'id'), max(id)) from blob",
                "select setval(pg_get_serial_sequence('layer', 'id'), max(id)) from layer",
                "vacuum analyze",
                "checkpoint",
            ],
        )
    }

    /// Adds blobs that nobody needs, in the store too, and that are not to be collected yet; no other round has the same.
    pub(crate) fn litter(&mut self, objects: &Path, blobs: u32, round: &str) -> Result<()> {
        let what = format!("garbage of {round}");
        for n in 1..=blobs {
            let file = objects.join(key(&what, n));
            std::fs::create_dir_all(file.parent().ok_or("a key without a folder")?)?;
            std::fs::write(file, [b'g'; 4096])?;
        }
        self.rows("blob (digest, size, object_key, state, created_at, review_at)", 1..=blobs, |engine, n| {
            format!("{}, 4096, '{}', 0, {AT}, {LATER}", engine.bytes(&hash(&what, n)), key(&what, n))
        })?;
        let link = "insert into blob_link (repository_id, blob_id, created_at) select 1, id, created_at from blob";
        self.execute(format!("{link} where review_at = {LATER}"))
    }

    /// Lets them be collected.
    pub(crate) fn expose(&mut self) -> Result<()> {
        self.execute(format!("update blob set review_at = {AT} where review_at = {LATER}"))
    }

    /// How many of them are still to be collected, and whether any has been begun with.
    pub(crate) fn left(&mut self) -> Result<(i64, bool)> {
        let due = format!("select count(*) from blob where review_at = {AT}");
        let marked = "select count(*) from blob where state = 1";
        let (due, marked) = (self.number(due)?, self.number(marked.to_owned())?);
        Ok((due + marked, marked > 0))
    }

    fn number(&mut self, query: String) -> Result<i64> {
        Ok(self.runtime.block_on(async {
            match &mut self.engine {
                Engine::Sqlite(c) => sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(c).await,
                Engine::Postgres(c) => sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(c).await,
            }
        })?)
    }

    pub(crate) fn rows(
        &mut self,
        columns: &str,
        numbers: impl Iterator<Item = u32>,
        row: impl Fn(&Engine, u32) -> String,
    ) -> Result<()> {
        let mut numbers = numbers.peekable();
        while numbers.peek().is_some() {
            let rows: Vec<_> = numbers.by_ref().take(ROWS).map(|n| row(&self.engine, n)).collect();
            self.insert(columns, rows.into_iter())?;
        }
        Ok(())
    }

    pub(crate) fn insert(&mut self, columns: &str, rows: impl Iterator<Item = String>) -> Result<()> {
        let rows: Vec<_> = rows.map(|row| format!("({row})")).collect();
        self.execute(format!("insert into {columns} values {}", rows.join(", ")))
    }

    /// Statements of one engine.
    pub(crate) fn only(&mut self, sqlite: &[&str], postgres: &[&str]) -> Result<()> {
        let statements = match self.engine {
            Engine::Sqlite(_) => sqlite,
            Engine::Postgres(_) => postgres,
        };
        statements.iter().try_for_each(|statement| self.execute((*statement).to_owned()))
    }

    /// Sends a statement as one text: to prepare what is never said twice would cost more.
    pub(crate) fn execute(&mut self, statement: String) -> Result<()> {
        let query = sqlx::raw_sql(AssertSqlSafe(statement));
        self.runtime.block_on(async {
            match &mut self.engine {
                Engine::Sqlite(connection) => connection.execute(query).await.map(drop),
                Engine::Postgres(connection) => connection.execute(query).await.map(drop),
            }
        })?;
        Ok(())
    }
}

impl Engine {
    /// Bytes as the engine writes them.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> String {
        match self {
            Self::Sqlite(_) => format!("x'{}'", hex::encode(bytes)),
            Self::Postgres(_) => format!("'\\x{}'", hex::encode(bytes)),
        }
    }
}

/// A hash like any other, so that rows stand in the indexes as scattered as real ones.
pub(crate) fn hash(what: &str, number: u32) -> [u8; 32] {
    Sha256::digest(format!("{what} {number}")).into()
}

/// The key of an object, as the server makes them from chance.
fn key(what: &str, number: u32) -> String {
    let id = &hex::encode(hash(&format!("key of {what}"), number))[..32];
    format!("blobs/{}/{}/{id}", &id[..2], &id[2..4])
}
