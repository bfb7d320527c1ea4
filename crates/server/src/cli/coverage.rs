//! `pedigree coverage`

use std::process::ExitCode;

use registry::{Coverage, CoverageQuestion, Gap};

use super::{Failure, Outcome, SettingFlags, print, runtime, short, start_quiet_log};
use crate::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: SettingFlags,
    /// Only these, with commas: pending, partial, opaque, failed, purged, outdated, incomplete, unresolved, unread
    #[arg(long, value_name = "STATES", value_delimiter = ',')]
    state: Vec<Gap>,
    /// Only what is or was in this repository
    #[arg(long, value_name = "NAME")]
    repository: Option<oci::Name>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) const HELP: &str = "\
Examples:
  pedigree coverage --data /srv/pedigree
  pedigree coverage --state failed,partial --repository fraud/detector --config pedigree.toml

May run beside a server; a server answers the same at /api/v1/coverage. An answer of `impact` is exact when nothing is listed \
here. `pedigree reindex --failed` tries again what failed.

Exit codes: 0 nothing is listed, 1 something is, 2 error.";

/// How many rows are in memory at once.
const PAGE: u32 = 500;

pub(super) fn run(arguments: Arguments) -> Outcome {
    let config = crate::config::load(&arguments.settings.into())?.config;
    start_quiet_log(&config);
    let question = CoverageQuestion {
        states: arguments.state.into_iter().collect(),
        repository: arguments.repository,
        limit: PAGE,
        cursor: None,
    };
    let mut listed = 0;
    let mut pages = 0;
    let page = |page: Coverage| -> Result<(), Failure> {
        let text = match arguments.json {
            true => json(&page, pages == 0, listed == 0)?,
            false => text(&page, pages == 0),
        };
        pages += 1;
        listed += page.gaps.len();
        Ok(print(&text)?)
    };
    runtime()?.block_on(crate::serve::coverage(&config, question, page))?;
    Ok(ExitCode::from(u8::from(listed > 0)))
}

/// A page's part of one JSON object, which is never in memory as a whole.
fn json(page: &Coverage, first_page: bool, first_row: bool) -> Result<String, Failure> {
    let mut text = String::new();
    if first_page {
        let completeness = serde_json::to_string(&page.completeness)?;
        text.push_str(&format!("{{\"completeness\": {completeness},\n\"gaps\": ["));
    }
    for (position, gap) in page.gaps.iter().enumerate() {
        text.push_str(if first_row && position == 0 { "\n" } else { ",\n" });
        text.push_str(&serde_json::to_string(gap)?);
    }
    if page.next.is_none() {
        text.push_str("\n]}\n");
    }
    Ok(text)
}

fn text(page: &Coverage, first: bool) -> String {
    let mut text = String::new();
    if first {
        let (all, layers) = (&page.completeness, &page.completeness.layers);
        let counts = [
            (layers.indexed, "indexed"),
            (layers.pending, "pending"),
            (layers.partial, "partial"),
            (layers.opaque, "opaque"),
            (layers.failed, "failed"),
            (layers.purged, "purged"),
            (layers.outdated, "outdated"),
        ];
        let counts = counts.map(|(count, state)| format!("{count} {state}"));
        text.push_str(&format!("layers: {}\n", counts.join(", ")));
        text.push_str(&format!(
            "kits that are incomplete: {}, statements not wholly read: {}, references that name nothing here: {}\n",
            all.incomplete_kits, all.incomplete_claims, all.unresolved_references
        ));
    }
    if page.gaps.is_empty() {
        return text;
    }
    let mut table = Table::new(&["STATE", "DIGEST", "SIZE", "SINCE", "TRIES", "WHERE", "WHY"]);
    for gap in &page.gaps {
        let state = if gap.outdated { format!("{} (outdated)", gap.state) } else { gap.state.to_owned() };
        let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        let places = gap.places.iter().map(|place| match &place.tag {
            Some(tag) => format!("{}:{tag}", place.repository),
            None if place.deleted => format!("{}@{} (deleted)", place.repository, short(&place.digest)),
            None => format!("{}@{}", place.repository, short(&place.digest)),
        });
        let mut places = places.collect::<Vec<_>>().join(", ");
        if gap.more_places > 0 {
            places.push_str(&format!(" and {} more", gap.more_places));
        }
        let why = gap.reference.clone().or_else(|| gap.reason.clone()).unwrap_or_default();
        let next_try = gap.next_try.as_ref().filter(|_| gap.attempts > Some(0));
        let tries = match (gap.attempts, next_try) {
            (Some(tries), Some(next)) => format!("{tries}, next {next}"),
            (tries, _) => number(tries.map(u64::from)),
        };
        let since = gap.since.clone().unwrap_or_default();
        // Whole digests: whoever looks for one here has it from elsewhere, or takes it there.
        table.row([state, gap.digest.clone(), number(gap.size), since, tries, places, why]);
    }
    text.push_str(&table.to_string());
    text
}
