//! The description of `/api/v1` for programs: `openapi/pedigree.json` is this, written out.

use utoipa::OpenApi;

use super::problem::Problem;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pedigree",
        description = "Questions to a registry that knows which models used which data. Clients push and pull by the OCI distribution specification below `/v2/`, which is not described here.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        super::impact,
        super::claims::claims,
        super::claims::assert,
        super::claims::claim,
        super::claims::statement,
        super::claims::retract,
        super::events::event,
        super::events::batch,
        super::impact_of_files,
        super::holders,
        super::lineage::lineage,
        super::files,
        super::diff,
        super::coverage,
        super::search,
        super::pulls::pulls,
        super::audit::audit,
        super::repositories,
        super::versions,
        super::kit,
        super::tags::tag,
        super::tags::history,
        super::tags::promote,
        super::tags::rollback,
        super::tags::stages
    ),
    components(schemas(Problem))
)]
struct Description;

/// All calls of the API (OpenAPI 3.1).
pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Writes the file where it is not what the code says, and fails: commit what it wrote.
    #[test]
    fn the_written_description_is_the_code_s() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/pedigree.json");
        let written = fs::read_to_string(&path).unwrap_or_default();
        let current = format!("{}\n", description().to_pretty_json().unwrap());
        if written != current {
            fs::write(&path, &current).unwrap();
            panic!("openapi/pedigree.json was not what the code says; it is now: commit it");
        }
    }
}
