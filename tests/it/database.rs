//! A look into the database behind a server's back, and the proof that both engines have one schema.

use std::collections::BTreeSet;

use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection};

use crate::server::{Engine, Server};

/// Runs a statement on the database at a URL.
pub(crate) fn execute(url: &str, statement: &'static str) {
    runtime().block_on(async {
        if url.starts_with("sqlite:") {
            SqliteConnection::connect(url).await.unwrap().execute(statement).await.unwrap();
        } else {
            PgConnection::connect(url).await.unwrap().execute(statement).await.unwrap();
        }
    });
}

/// The texts that a statement gives.
pub(crate) fn texts(url: &str, statement: &'static str) -> Vec<String> {
    runtime().block_on(async {
        if url.starts_with("sqlite:") {
            let rows = SqliteConnection::connect(url).await.unwrap().fetch_all(statement).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        } else {
            let rows = PgConnection::connect(url).await.unwrap().fetch_all(statement).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        }
    })
}

/// The number that a statement gives.
pub(crate) fn number(url: &str, statement: &'static str) -> i64 {
    runtime().block_on(async {
        if url.starts_with("sqlite:") {
            SqliteConnection::connect(url).await.unwrap().fetch_one(statement).await.unwrap().get(0)
        } else {
            PgConnection::connect(url).await.unwrap().fetch_one(statement).await.unwrap().get(0)
        }
    })
}

/// Keeps everybody from writing to a SQLite database while something is done.
pub(crate) fn held(url: &str, work: impl FnOnce()) {
    runtime().block_on(async {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        connection.execute("begin immediate").await.unwrap();
        work();
        connection.execute("rollback").await.unwrap();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn both_engines_have_the_same_tables_and_indexes() {
    let (Some(sqlite), Some(postgres)) = (Server::start(Engine::Sqlite), Server::start(Engine::Postgres)) else {
        return;
    };
    // (table, column, what is in it, whether it may be null), and the columns of each index.
    let of_sqlite = "select m.name, c.name, case c.type when 'INTEGER' then 'integer' else lower(c.type) end,
           cast(c.\"notnull\" = 0 and c.pk = 0 as integer)
         from sqlite_master m, pragma_table_info(m.name) c
         where m.type = 'table' and m.name not like 'sqlite_%' and m.name not like '\\_sqlx%' escape '\\'
         union all
         select m.name, i.name, group_concat(x.name), i.\"unique\"
         from sqlite_master m, pragma_index_list(m.name) i, pragma_index_info(i.name) x
         where m.type = 'table' and i.origin = 'c' group by m.name, i.name, i.\"unique\"";
    let of_postgres = "select table_name::text, column_name::text,
           case data_type when 'bigint' then 'integer' when 'smallint' then 'integer' when 'bytea' then 'blob'
             else data_type::text end,
           (is_nullable = 'YES')::int::bigint
         from information_schema.columns where table_schema = 'public' and table_name not like '\\_sqlx%'
         union all
         select t.relname::text, i.relname::text,
           string_agg(a.attname::text, ',' order by array_position(x.indkey::int[], a.attnum::int)), x.indisunique::int::bigint
         from pg_index x join pg_class t on t.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
           join pg_attribute a on a.attrelid = t.oid and a.attnum = any (x.indkey::int[])
         where t.relnamespace = 'public'::regnamespace and t.relname not like '\\_sqlx%'
           and not exists (select 1 from pg_constraint c where c.conindid = x.indexrelid)
         group by 1, 2, 4";
    type Line = (String, String, String, i64);
    let (ours, theirs): (BTreeSet<Line>, BTreeSet<Line>) = runtime().block_on(async {
        let mut connection = SqliteConnection::connect(&sqlite.location()).await.unwrap();
        let rows = connection.fetch_all(of_sqlite).await.unwrap();
        let ours = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        let mut connection = PgConnection::connect(&postgres.location()).await.unwrap();
        let rows = connection.fetch_all(of_postgres).await.unwrap();
        (ours, rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect())
    });
    let different: Vec<_> = ours.symmetric_difference(&theirs).collect();
    assert!(ours.len() > 100 && different.is_empty(), "{different:#?}");
}
