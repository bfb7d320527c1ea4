//! The names of this registry, and what a reference that uses one of them means.

use index::{Grade, Micros, NodeId, Session, claim, reference};
use oci::{Name, Reference, Tag};

use crate::{
    Error, Registry,
    declared::{Voice, decide},
};

/// The hosts by which references mean this registry: where it listens, loopback by any name at that port, and what the
/// operator configured. Never what a request says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    /// The names of a registry that listens at `port` as `host`, and has these names besides.
    #[must_use]
    pub fn new(host: &str, port: u16, configured: &[String]) -> Self {
        let loopback = ["localhost", "127.0.0.1", "[::1]"].into_iter();
        let mut names: Vec<_> = loopback.chain([host]).map(|host| format!("{host}:{port}")).collect();
        for name in configured.iter().map(|name| name.to_ascii_lowercase()) {
            // Behind a proxy at the usual port the name stands alone; reached directly it carries the port.
            if name.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                names.push(format!("{name}:{port}"));
            }
            names.push(name);
        }
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// Whether a host means this registry.
    #[must_use]
    pub fn contains(&self, host: &str) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

impl Registry {
    /// References to what was another host until now are tried here: whoever pushed them may have known a name of this
    /// registry that it did not know itself.
    pub(crate) async fn learn_names(&self, tx: &mut Session) -> Result<(), Error> {
        let now = self.now();
        for host in &self.names.0 {
            for waiting in reference::to_host(tx, host).await? {
                let Some(target) = target(&waiting) else { continue };
                let Ok(name) = waiting.target_repository.parse::<Name>() else { continue };
                let Some(found) = index::manifest::get(tx, index::Reader::ALL, &name, &target).await? else {
                    reference::wait_for(tx, waiting.id).await?;
                    continue;
                };
                let resolved = reference::resolve(tx, waiting.id, found.id, true, now).await?;
                // A digest named its node from the beginning.
                if !resolved || waiting.target_digest.is_some() {
                    continue;
                }
                meet(tx, &waiting, found.id, now).await?;
            }
        }
        Ok(())
    }
}

/// Makes the edge of a reference whose target has come, as good as the signature of its statement is by now.
pub(crate) async fn meet(
    tx: &mut Session,
    waiting: &reference::Waiting,
    target: NodeId,
    now: Micros,
) -> Result<(), Error> {
    let is_signed = claim::is_verified(tx, waiting.claim).await?;
    let unsigned = Voice::unsigned(waiting.claim, waiting.repository, waiting.source);
    let voice = Voice {
        occurrence: waiting.occurrence,
        grade: if is_signed { Grade::Attested } else { Grade::Declared },
        everywhere: is_signed,
        occurred_at: waiting.occurred_at,
        ..unsigned
    };
    let kinds = decide(tx, [(waiting.kind, waiting.source, Some(target))].into_iter()).await?;
    let edges: Vec<_> = kinds.into_iter().map(|kind| voice.edge(kind, waiting.id, target)).collect();
    Ok(reference::insert_edges(tx, &edges, now).await?)
}

/// What a reference that was outside names, once its host is known to be this registry.
fn target(waiting: &reference::Waiting) -> Option<Reference> {
    let by_digest = waiting.target_digest.map(Reference::Digest);
    by_digest.or_else(|| waiting.target_tag.as_ref()?.parse::<Tag>().ok().map(Reference::Tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_many_names_and_other_ports_none() {
        let names = Names::new("127.0.0.1", 5000, &["Registry.Example.com".into()]);
        for ours in [
            "localhost:5000",
            "127.0.0.1:5000",
            "[::1]:5000",
            "registry.example.com",
            "registry.example.com:5000",
            "LOCALHOST:5000",
        ] {
            assert!(names.contains(ours), "{ours}");
        }
        for other in ["localhost:5001", "localhost", "docker.io"] {
            assert!(!names.contains(other), "{other}");
        }
    }
}
