//! SQLite without another thread: for the reads of which there are thousands a second.
//!
//! sqlx gives every connection a thread of its own. To wake that and to be woken by it costs several times what a look into
//! an index costs, so those few statements run where they are asked for. They read a handful of pages and wait for nobody: in
//! WAL mode a reader is never locked out by a writer.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use rusqlite::{Connection, Row, ToSql};

use crate::Result;

/// How many connections are kept when nobody uses them: about one for each thread that answers requests.
const KEPT: usize = 16;

/// What the statements call their values.
const NAMES: [&str; 4] = ["$1", "$2", "$3", "$4"];

/// Connections to one SQLite file.
#[derive(Debug)]
pub struct Direct {
    path: PathBuf,
    free: Mutex<Vec<Connection>>,
}

impl Direct {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), free: Mutex::default() }
    }

    /// The only row of a statement, if it has one.
    pub(crate) fn row<T>(
        &self,
        statement: &str,
        values: &[&dyn ToSql],
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let free = self.free.lock().ok().and_then(|mut free| free.pop());
        let connection = free.map_or_else(|| self.connect(), Ok)?;
        let row = {
            let mut statement = connection.prepare_cached(statement)?;
            // To SQLite `$2` is a name, and its position is where it first stands in the text.
            for (value, name) in values.iter().zip(NAMES) {
                if let Some(position) = statement.parameter_index(name)? {
                    statement.raw_bind_parameter(position, value)?;
                }
            }
            statement.raw_query().next()?.map(read).transpose()?
        };
        // A connection that failed is closed.
        if let Ok(mut free) = self.free.lock()
            && free.len() < KEPT
        {
            free.push(connection);
        }
        Ok(row)
    }

    /// Closes every connection.
    pub(crate) fn close(&self) {
        if let Ok(mut free) = self.free.lock() {
            free.clear();
        }
    }

    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -4096)?;
        Ok(connection)
    }
}
