//! `pedigree promote`, and how every command that moves a tag ends.

use std::{process::ExitCode, time::Duration};

use serde_json::{Map, Value, json};

use super::{Outcome, ServerFlag, TagRef, kits::text, note, print, print_json, short};
use crate::client::{Client, ClientError};

pub(super) const HELP: &str = "\
Examples:
  pedigree promote fraud/detector:champion --from 1.2 --reason 'better recall on the holdout set'
  pedigree promote fraud/detector:champion --from sha256:0928bf1b… --if-digest sha256:55aa… --reason 'ticket 4711'

Exit codes: 0 moved; 1 refused, the tag stays: its target is gone, a check failed, or it was moved meanwhile; 2 error.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The tag to move, as REPOSITORY:TAG
    #[arg(value_name = "TAG")]
    tag: TagRef,
    /// What it is to name: another tag of the repository, or a digest
    #[arg(long, value_name = "TAG|DIGEST")]
    from: String,
    #[command(flatten)]
    moving: Moving,
}

/// What every move of a tag says.
#[derive(Debug, clap::Args)]
pub(super) struct Moving {
    /// Why; it is kept in the tag's history
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only if the tag names this digest now; `none`: only if it does not exist
    #[arg(long, value_name = "DIGEST|none")]
    if_digest: Option<String>,
    #[command(flatten)]
    pub(super) server: ServerFlag,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut request = Map::new();
    request.insert("from".into(), json!(arguments.from));
    arguments.moving.run(&arguments.tag, "promote", request)
}

impl Moving {
    /// Sends the request, and says what became of it.
    pub(super) fn run(&self, tag: &TagRef, act: &str, mut request: Map<String, Value>) -> Outcome {
        let client: Client = self.server.client(tag.host.as_deref())?;
        request.insert("reason".into(), json!(self.reason));
        if let Some(digest) = &self.if_digest {
            request.insert("if_digest".into(), json!(Some(digest).filter(|digest| *digest != "none")));
        }
        let path = format!("{}/{act}", tag.path());
        // A question about what is affected may take its time.
        let moved: Value = match client.post(&path, &[], &Value::Object(request), Duration::from_secs(300)) {
            Ok(moved) => moved,
            Err(ClientError::Refused { status: 409, detail, .. }) => {
                if self.json {
                    print_json(&json!({"refused": detail}))?;
                } else {
                    note(&detail);
                }
                return Ok(ExitCode::from(1));
            }
            Err(error) => return Err(error.into()),
        };
        if self.json {
            print_json(&moved)?;
            return Ok(ExitCode::SUCCESS);
        }
        let (from, to) = (text(&moved, "from"), text(&moved, "to"));
        let from = if from.is_empty() { "nothing" } else { short(&from) };
        print(&format!(
            "{}:{} names {} since {}, before it named {from}\n",
            tag.repository,
            tag.tag,
            short(&to),
            text(&moved, "at")
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
