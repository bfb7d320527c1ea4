//! `pedigree config`

use std::process::ExitCode;

use super::{Outcome, SettingFlags, print, print_json};
use crate::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: SettingFlags,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    let settings = crate::config::load(&arguments.settings.into())?.settings();
    if arguments.json {
        print_json(&settings)?;
    } else {
        let mut table = Table::new(&["SETTING", "VALUE", "ORIGIN"]);
        for setting in settings {
            let value = if setting.value.is_empty() { "-".into() } else { setting.value };
            table.row([setting.key.into(), value, setting.origin]);
        }
        print(&table.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
