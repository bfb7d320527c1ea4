//! What the registry remembers about itself.

use crate::{Result, Session, db::on, sql};

/// The value of a setting.
///
/// # Errors
/// When the statement fails.
pub async fn get(session: &mut Session, name: &str) -> Result<Option<Vec<u8>>> {
    Ok(on!(session, |c| sqlx::query_scalar(sql::SETTING_GET).bind(name).fetch_optional(c).await)?)
}

/// Sets it.
///
/// # Errors
/// When the statement fails.
pub async fn put(session: &mut Session, name: &str, value: &[u8]) -> Result<()> {
    on!(session, |c| sqlx::query(sql::SETTING_PUT).bind(name).bind(value).execute(c).await.map(drop))?;
    Ok(())
}
