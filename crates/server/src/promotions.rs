//! What the operator says about promotions: which tags are stages, and what is checked before a tag is promoted.

use std::time::Duration;

use oci::Tag;
use registry::{Grade, Proposed};
use serde_json::json;
use ureq::tls::{RootCerts, TlsConfig};

use crate::tls;

/// How long the check may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the operator says about promotions.
#[derive(Debug, Clone, Default)]
pub struct Promotions {
    /// The tags that are stages.
    pub stages: Vec<Tag>,
    /// Evidence at least this good must say what a promoted model was made from.
    pub grade: Option<Grade>,
    /// Whoever is asked before each promotion.
    pub(crate) check: Option<Check>,
}

impl Promotions {
    /// With a check at this address, if there is one.
    #[must_use]
    pub fn new(stages: Vec<Tag>, grade: Option<Grade>, check: Option<&str>) -> Self {
        Self { stages, grade, check: check.map(Check::at) }
    }
}

/// Somebody who is asked by HTTP whether a tag may be moved. Its address may hold a secret, and is told to nobody.
#[derive(Clone)]
pub(crate) struct Check {
    agent: ureq::Agent,
    url: String,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Check")
    }
}

impl Check {
    fn at(url: &str) -> Self {
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(tls::provider())
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).tls_config(tls);
        // Whoever answers with another address did not say yes.
        let config = config.max_redirects(0).timeout_global(Some(PATIENCE));
        Self { agent: config.build().new_agent(), url: url.into() }
    }

    /// Asks; why not, if the answer is not yes. No transaction may be open.
    pub(crate) async fn ask(&self, proposed: &Proposed, actor: &str) -> Result<(), String> {
        let body = json!({
            "repository": proposed.repository, "tag": proposed.tag, "from": proposed.from, "to": proposed.to,
            "actor": actor, "reason": proposed.reason,
        });
        let request = self.agent.post(&self.url).content_type("application/json");
        let asked = tokio::task::spawn_blocking(move || request.send(body.to_string())).await;
        match asked {
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => {
                Err(format!("the check before promotions answered {} and not 2xx", response.status().as_u16()))
            }
            Ok(Err(ureq::Error::Timeout(_))) => {
                Err(format!("the check before promotions did not answer within {} seconds", PATIENCE.as_secs()))
            }
            Ok(Err(_)) | Err(_) => Err("the check before promotions cannot be reached".into()),
        }
    }
}
