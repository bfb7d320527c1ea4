//! All rows of one database, copied to another, of the same engine or the other.
//!
//! Rows keep their ids. They are read as a stream and written a page at a time, so memory stays the same however many there
//! are. The columns come from the target's catalogue, so that a migration that adds one has nothing to do here.

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use sqlx::{AssertSqlSafe, PgConnection, Row as _, SqliteConnection, postgres::PgCopyIn};

use crate::{
    BlobId, Error, Micros, Result, Session,
    db::{Engine, on},
    job, rows, sql,
};

/// Every table that is copied, those that others refer to first: its name, its key, and which rows.
///
/// A blob that is being deleted is gone already, and so are its links.
const TABLES: &[(&str, &[&str], &str)] = &[
    ("repository", &["id"], ALL),
    ("reader_repository", &["reader", "repository_id"], ALL),
    ("blob", &["id"], "t.state = 0"),
    ("blob_link", &["repository_id", "blob_id"], ALL),
    ("node", &["id"], ALL),
    ("manifest", &["id"], ALL),
    ("occurrence", &["id"], ALL),
    ("tag", &["repository_id", "name"], ALL),
    ("tag_event", &["seq"], ALL),
    ("layer", &["id"], ALL),
    ("layer_tally", &["state"], ALL),
    ("scan", &["id"], ALL),
    ("layer_file", &["scan_id", "position"], ALL),
    ("layer_path", &["scan_id", "first"], ALL),
    ("file_md5", &["scan_id", "position"], ALL),
    ("file_container", &["scan_id", "position"], ALL),
    ("file_metadata", &["scan_id", "position"], ALL),
    ("tensor", &["scan_id", "file", "position"], ALL),
    ("adapter", &["scan_id", "position"], ALL),
    ("manifest_blob", &["manifest_id", "position"], ALL),
    ("manifest_child", &["parent_id", "position"], ALL),
    ("kit", &["manifest_id"], ALL),
    ("component", &["id"], ALL),
    ("component_layer", &["component_id", "position"], ALL),
    ("kit_word", &["manifest_id", "position"], ALL),
    ("kit_parameter", &["manifest_id", "position"], ALL),
    ("repository_word", &["repository_id", "position"], ALL),
    ("statement", &["id"], ALL),
    ("claim", &["id"], ALL),
    ("verification", &["id"], ALL),
    ("run", &["id"], ALL),
    ("arrival", &["name"], ALL),
    ("reference", &["id"], ALL),
    ("edge", &["id"], ALL),
    ("job", &["id"], ALL),
    ("reindex", &["repository", "failed"], ALL),
    ("audit", &["id"], ALL),
    ("pull", &["id"], ALL),
];
const ALL: &str = "true";

/// What stays behind: uploads, for their objects are not whole, the keys that sign their addresses, and the store's mark.
const LEFT_OUT: &[&str] = &["upload", "secret", "store"];

/// How many rows are in memory at once, and twice that while one page is written and the next one read.
const PAGE_ROWS: usize = 4096;
/// How many bytes of rows end a page.
const PAGE_BYTES: usize = 4 << 20;
/// How many rows one statement of SQLite writes: more gain nothing.
const STATEMENT_ROWS: usize = 128;

/// Whether no registry has written anything into the database. The session must not be a transaction.
///
/// # Errors
/// When a statement fails.
pub async fn is_empty(session: &mut Session) -> Result<bool> {
    // A new database has a tally, of nothing.
    let tables = TABLES.iter().map(|&(table, ..)| table).filter(|&table| table != "layer_tally");
    for table in tables.chain(LEFT_OUT.iter().copied().filter(|&table| table != "store")) {
        let text = AssertSqlSafe(format!("select exists (select 1 from {table})"));
        if on!(session, |c| sqlx::query_scalar::<_, bool>(text).fetch_one(c).await)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies every row, and says how many of each table. `from` is a snapshot, `to` a transaction by [`crate::Db::begin_bulk`] on an
/// empty database of the same version: memory would not do for the rows of an index that are sorted. `progress` hears how many rows of a table are written.
///
/// Jobs come without who held them: nobody does them here.
///
/// # Errors
/// When a statement fails on either side.
pub async fn rows(
    from: &mut Session,
    to: &mut Session,
    mut progress: impl FnMut(&'static str, u64) + Send,
) -> Result<Vec<(&'static str, u64)>> {
    let mut copied = Vec::with_capacity(TABLES.len());
    for &(name, key, condition) in TABLES {
        let columns = columns(to, name).await?;
        let table = Table { name, key, condition, columns };
        execute(to, format!("delete from {name}")).await?;
        // To sort the rows of an index once is much faster than to find the place of each.
        let indexes = indexes(to, name).await?;
        for (index, _) in &indexes {
            execute(to, format!("drop index {index}")).await?;
        }
        let count = table.copy(from, to, &mut progress).await?;
        for (_, create) in indexes {
            execute(to, create).await?;
        }
        if let Engine::Postgres(..) = to.engine() {
            for column in table.columns.iter().filter(|column| column.numbers) {
                execute(to, sql::copy_number(name, &column.name)).await?;
            }
            // Until it knows what there is, its plans are those for empty tables.
            execute(to, format!("analyze {name}")).await?;
        }
        copied.push((name, count));
    }
    job::release_all(to).await?;
    Ok(copied)
}

/// How many objects the rows name, and how many bytes these have.
///
/// # Errors
/// When the statement fails.
pub async fn objects(session: &mut Session) -> Result<(u64, u64)> {
    let (objects, bytes): (i64, i64) = on!(session, |c| sqlx::query_as(sql::COPY_OBJECTS).fetch_one(c).await)?;
    Ok((rows::unsigned(objects), rows::unsigned(bytes)))
}

/// Records how a bucket holds an object that is being copied, as an upload of which only what is left is to be deleted. Its id
/// is the object's key.
///
/// # Errors
/// When the statement fails.
pub async fn begin_object(session: &mut Session, key: &str, parts: &[u8], now: Micros) -> Result<()> {
    on!(session, |c| sqlx::query(sql::COPY_PARTS).bind(key).bind(parts).bind(now.0).execute(c).await.map(drop))?;
    Ok(())
}

/// The objects that were begun like that and of which it is not recorded that they ended: key, size, and how the bucket holds
/// them.
///
/// # Errors
/// When the statement fails.
pub async fn begun_objects(session: &mut Session) -> Result<Vec<(String, u64, Vec<u8>)>> {
    let found: Vec<(String, i64, Vec<u8>)> = on!(session, |c| sqlx::query_as(sql::COPY_BEGUN).fetch_all(c).await)?;
    Ok(found.into_iter().map(|(key, size, parts)| (key, rows::unsigned(size), parts)).collect())
}

/// Forgets a blob that was copied and whose object is not to be had any more, because it was collected.
///
/// # Errors
/// When a statement fails.
pub async fn forget(session: &mut Session, blob: BlobId) -> Result<()> {
    let text = AssertSqlSafe(sql::list(sql::GC_UNLINK, 1, 1));
    on!(session, |c| sqlx::query(text).bind(blob.0).execute(c).await.map(drop))?;
    on!(session, |c| sqlx::query(sql::COPY_FORGET).bind(blob.0).execute(c).await.map(drop))?;
    Ok(())
}

/// A table, as the target has it.
struct Table {
    name: &'static str,
    key: &'static [&'static str],
    condition: &'static str,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    kind: Kind,
    /// Whether the database numbers rows by it.
    numbers: bool,
}

/// What is in a column. SQLite has one width of numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bigint,
    Integer,
    Boolean,
    Text,
    Bytes,
}

enum Value {
    Null,
    Number(i64),
    Boolean(bool),
    Text(String),
    Bytes(Vec<u8>),
}

type Row = Vec<Value>;

impl Table {
    async fn copy(
        &self,
        from: &mut Session,
        to: &mut Session,
        progress: &mut (impl FnMut(&'static str, u64) + Send),
    ) -> Result<u64> {
        let mut rows = self.read(from);
        let mut sink = Sink::open(to, self).await?;
        let mut count = 0;
        let mut read = page(&mut rows).await?;
        while !read.is_empty() {
            let (written, next) = tokio::join!(sink.write(&read), page(&mut rows));
            written?;
            count += read.len() as u64;
            progress(self.name, count);
            read = next?;
        }
        sink.close().await?;
        Ok(count)
    }

    fn read<'a>(&'a self, from: &'a mut Session) -> BoxStream<'a, Result<Row>> {
        let is_number = |kind| matches!(kind, Kind::Bigint | Kind::Integer);
        let columns: Vec<_> = self.columns.iter().map(|column| (&*column.name, is_number(column.kind))).collect();
        let text = AssertSqlSafe(sql::copy_select(self.name, &columns, self.condition, self.key));
        // A stream takes as long as its table is large: no limit on silence.
        macro_rules! rows {
            ($connection:ident) => {{
                let rows = sqlx::query(text).fetch($connection).map(|row| {
                    let row = row?;
                    let value = |(i, column): (usize, &Column)| {
                        Ok(match column.kind {
                            Kind::Bigint | Kind::Integer => row.try_get::<Option<i64>, _>(i)?.map(Value::Number),
                            Kind::Boolean => row.try_get::<Option<bool>, _>(i)?.map(Value::Boolean),
                            Kind::Text => row.try_get::<Option<String>, _>(i)?.map(Value::Text),
                            Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(i)?.map(Value::Bytes),
                        }
                        .unwrap_or(Value::Null))
                    };
                    self.columns.iter().enumerate().map(value).collect()
                });
                rows.boxed()
            }};
        }
        match from.engine() {
            Engine::Postgres(connection, _) => rows!(connection),
            Engine::Sqlite(connection) => rows!(connection),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| &*column.name).collect()
    }
}

async fn page(rows: &mut BoxStream<'_, Result<Row>>) -> Result<Vec<Row>> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    while page.len() < PAGE_ROWS && bytes < PAGE_BYTES {
        let Some(row) = rows.try_next().await? else { break };
        bytes += row.iter().map(Value::size).sum::<usize>();
        page.push(row);
    }
    Ok(page)
}

impl Value {
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Null | Self::Number(_) | Self::Boolean(_) => 8,
        }
    }
}

/// Where the rows of one table go.
enum Sink<'a> {
    Postgres(PgCopyIn<&'a mut PgConnection>, &'a Table),
    Sqlite(&'a mut SqliteConnection, &'a Table),
}

impl<'a> Sink<'a> {
    async fn open(to: &'a mut Session, table: &'a Table) -> Result<Self> {
        Ok(match to.engine() {
            Engine::Postgres(connection, _) => {
                let mut copy = connection.copy_in_raw(&sql::copy_in(table.name, &table.names())).await?;
                copy.send(BINARY).await?;
                Self::Postgres(copy, table)
            }
            Engine::Sqlite(connection) => Self::Sqlite(connection, table),
        })
    }

    async fn write(&mut self, rows: &[Row]) -> Result<()> {
        match self {
            Self::Postgres(copy, table) => {
                let mut buffer = Vec::with_capacity(PAGE_BYTES);
                for row in rows {
                    encode(row, &table.columns, &mut buffer)?;
                }
                copy.send(buffer).await?;
            }
            Self::Sqlite(connection, table) => {
                let (chunks, rest) = rows.as_chunks::<STATEMENT_ROWS>();
                for rows in chunks {
                    insert(connection, table, rows).await?;
                }
                // Only two different texts, so that each is prepared once.
                for row in rest.chunks(1) {
                    insert(connection, table, row).await?;
                }
            }
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        if let Self::Postgres(mut copy, _) = self {
            copy.send(BINARY_END).await?;
            copy.finish().await?;
        }
        Ok(())
    }
}

async fn insert(connection: &mut SqliteConnection, table: &Table, rows: &[Row]) -> Result<()> {
    let text = sql::copy_insert(table.name, &table.names(), rows.len());
    let query = rows.iter().flatten().fold(sqlx::query(AssertSqlSafe(text)), |query, value| match value {
        Value::Null => query.bind(None::<i64>),
        Value::Number(number) => query.bind(*number),
        Value::Boolean(boolean) => query.bind(*boolean),
        Value::Text(text) => query.bind(&**text),
        Value::Bytes(bytes) => query.bind(&**bytes),
    });
    query.execute(connection).await?;
    Ok(())
}

/// How Postgres's binary form begins: a signature, no flags, no extension of the header. (PostgreSQL's documentation, COPY.)
const BINARY: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// And how it ends: no more values.
const BINARY_END: &[u8] = &(-1_i16).to_be_bytes();

/// Writes a row in Postgres's binary form: how many values, then each of them after its length.
fn encode(row: &[Value], columns: &[Column], buffer: &mut Vec<u8>) -> Result<()> {
    let count = i16::try_from(row.len()).map_err(|_| Error::Unreadable("number of columns"))?;
    buffer.extend_from_slice(&count.to_be_bytes());
    for (value, column) in row.iter().zip(columns) {
        let narrow = |number| i32::try_from(number).map_err(|_| Error::Unreadable("number"));
        match value {
            Value::Null => buffer.extend_from_slice(&(-1_i32).to_be_bytes()),
            Value::Number(number) if column.kind == Kind::Integer => put(&narrow(*number)?.to_be_bytes(), buffer)?,
            Value::Number(number) => put(&number.to_be_bytes(), buffer)?,
            Value::Boolean(boolean) => put(&[u8::from(*boolean)], buffer)?,
            Value::Text(text) => put(text.as_bytes(), buffer)?,
            Value::Bytes(bytes) => put(bytes, buffer)?,
        }
    }
    Ok(())
}

fn put(bytes: &[u8], buffer: &mut Vec<u8>) -> Result<()> {
    let length = i32::try_from(bytes.len()).map_err(|_| Error::Unreadable("length of a value"))?;
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(bytes);
    Ok(())
}

async fn columns(session: &mut Session, table: &str) -> Result<Vec<Column>> {
    let text = match session.engine() {
        Engine::Postgres(..) => sql::COPY_COLUMNS_POSTGRES,
        Engine::Sqlite(_) => sql::COPY_COLUMNS_SQLITE,
    };
    let found: Vec<(String, String, bool)> = on!(session, |c| sqlx::query_as(text).bind(table).fetch_all(c).await)?;
    let column = |(name, kind, numbers): (String, String, bool)| {
        let kind = match &*kind {
            "bigint" => Kind::Bigint,
            "integer" => Kind::Integer,
            "boolean" => Kind::Boolean,
            "text" => Kind::Text,
            "bytea" | "blob" => Kind::Bytes,
            _ => return Err(Error::Unreadable("type of a column")),
        };
        Ok(Column { name, kind, numbers })
    };
    found.into_iter().map(column).collect()
}

/// The indexes of a table that are no constraints: name, and the statement that makes it.
async fn indexes(session: &mut Session, table: &str) -> Result<Vec<(String, String)>> {
    let text = match session.engine() {
        Engine::Postgres(..) => sql::COPY_INDEXES_POSTGRES,
        Engine::Sqlite(_) => sql::COPY_INDEXES_SQLITE,
    };
    Ok(on!(session, |c| sqlx::query_as(text).bind(table).fetch_all(c).await)?)
}

async fn execute(session: &mut Session, text: String) -> Result<()> {
    on!(session, |c| sqlx::query(AssertSqlSafe(text)).execute(c).await.map(drop))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Db;

    #[tokio::test]
    async fn no_table_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::sqlite(&folder.path().join("db")).await.unwrap();
        db.migrate().await.unwrap();
        let mut session = db.read().await.unwrap();
        let names: Vec<String> = on!(session, |c| {
            let text = "select name from pragma_table_list where type = 'table' and schema = 'main' and name not like 'sqlite_%'
                 and name not like '\\_sqlx%' escape '\\'";
            sqlx::query_scalar(text).fetch_all(c).await
        })
        .unwrap();
        let ours: BTreeSet<_> = TABLES.iter().map(|&(table, ..)| table).chain(LEFT_OUT.iter().copied()).collect();
        assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), ours);
    }
}
