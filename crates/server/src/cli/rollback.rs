//! `pedigree rollback`

use serde_json::{Map, json};

use super::{Outcome, Ref, TagRef, promote::Moving};

pub(super) const HELP: &str = "\
Examples:
  pedigree rollback fraud/detector:champion --last-good --reason 'false alarms since noon'
  pedigree rollback fraud/detector:champion --last-good --unaffected-by-file sha256:0928bf1b… --reason 'leaked file'
  pedigree rollback fraud/detector:champion --to 1.1 --reason 'ticket 4711'

The last good version is the newest earlier one that is still whole, differs from now, was never left by a rollback and is not
affected by what --unaffected-by-… names.

Exit codes: 0 moved; 1 refused, the tag stays: there is nothing good to go back to, it is not known exactly what is affected, or
the tag was moved meanwhile; 2 error.";

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("target").required(true).args(["to", "last_good"])))]
#[command(group(clap::ArgGroup::new("unaffected").args(["unaffected_by_file", "unaffected_by_layer", "unaffected_by_ref", "unaffected_by_external"])))]
pub(super) struct Arguments {
    /// The tag to move, as REPOSITORY:TAG
    #[arg(value_name = "TAG")]
    tag: TagRef,
    /// Back to this, which it named before: another tag of the repository, or a digest
    #[arg(long, value_name = "TAG|DIGEST")]
    to: Option<String>,
    /// Back to the last good version
    #[arg(long)]
    last_good: bool,
    /// Not to what used the file with this SHA-256
    #[arg(long, value_name = "SHA256")]
    unaffected_by_file: Option<String>,
    /// Not to what used the layer with this digest
    #[arg(long, value_name = "DIGEST")]
    unaffected_by_layer: Option<String>,
    /// Not to what used this artifact, REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(long, value_name = "REF")]
    unaffected_by_ref: Option<Ref>,
    /// Not to what used this, which is in no registry: s3://…, hf://…, git+https://…
    #[arg(long, value_name = "IDENTITY")]
    unaffected_by_external: Option<String>,
    /// With --unaffected-by-ref: only its dataset of this name
    #[arg(long, value_name = "NAME", requires = "unaffected_by_ref")]
    unaffected_by_dataset: Option<String>,
    /// Go back even if it is not known exactly what is affected
    #[arg(long, requires = "unaffected")]
    force: bool,
    #[command(flatten)]
    moving: Moving,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut request = Map::new();
    match &arguments.to {
        Some(to) => request.insert("to".into(), json!(to)),
        None => request.insert("last_good".into(), json!(true)),
    };
    let file =
        arguments.unaffected_by_file.as_ref().map(|text| format!("sha256:{}", text.trim_start_matches("sha256:")));
    let members = [
        ("file", file),
        ("layer", arguments.unaffected_by_layer.clone()),
        ("ref", arguments.unaffected_by_ref.as_ref().map(Ref::to_string)),
        ("external", arguments.unaffected_by_external.clone()),
        ("dataset", arguments.unaffected_by_dataset.clone()),
    ];
    let members: Map<_, _> =
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect();
    if !members.is_empty() {
        request.insert("unaffected_by".into(), members.into());
        request.insert("force".into(), json!(arguments.force));
    }
    arguments.moving.run(&arguments.tag, "rollback", request)
}
