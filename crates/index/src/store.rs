//! Which store the rows are about.

use crate::{Result, Session, db::on, sql};

/// A copy of another registry that is not whole yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The mark of the store that is copied.
    pub of: String,
    /// The mark that the copy's own store is to bear.
    pub mark: String,
}

/// The mark of the store that the rows are about, once there is one and the rows are whole.
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

/// The copy that is being made here, if one is.
///
/// # Errors
/// When the statement fails.
pub async fn copy(session: &mut Session) -> Result<Option<Copy>> {
    let found: Option<(String, String)> = on!(session, |c| sqlx::query_as(sql::STORE_COPY).fetch_optional(c).await)?;
    Ok(found.map(|(of, mark)| Copy { of, mark }))
}

/// Says that a copy is being made here.
///
/// # Errors
/// When the statement fails.
pub async fn begin_copy(session: &mut Session, copy: &Copy) -> Result<()> {
    on!(session, |c| sqlx::query(sql::STORE_COPY_BEGIN).bind(&copy.mark).bind(&copy.of).execute(c).await.map(drop))?;
    Ok(())
}

/// Says that the copy is whole. Whether it was being made until now.
///
/// # Errors
/// When the statement fails.
pub async fn end_copy(session: &mut Session, copy: &Copy) -> Result<bool> {
    let ended = on!(session, |c| {
        sqlx::query(sql::STORE_COPY_END).bind(&copy.mark).execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(ended > 0)
}
