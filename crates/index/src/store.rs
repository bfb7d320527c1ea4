//! Which store the rows are about.

use crate::{Result, Session, db::on, sql};

/// The mark of the store that the rows are about, once there is one.
///
/// # Errors
/// When the statement fails.
pub async fn mark(session: &mut Session) -> Result<Option<String>> {
    Ok(on!(session, |c| sqlx::query_scalar(sql::STORE_MARK).fetch_optional(c).await)?)
}

/// Records the mark of the store that the rows will be about.
///
/// # Errors
/// When the statement fails.
pub async fn set_mark(session: &mut Session, mark: &str) -> Result<()> {
    on!(session, |c| sqlx::query(sql::STORE_SET_MARK).bind(mark).execute(c).await.map(drop))?;
    Ok(())
}
