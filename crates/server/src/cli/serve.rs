//! `pedigree serve`

use std::{net::SocketAddr, process::ExitCode};

use super::{Failure, Outcome, SettingFlags, Signals, note, print, runtime, serve_until_signal, start_log};
use crate::{
    config::{Anonymous, Config},
    home,
};

pub(super) fn run(flags: SettingFlags) -> Outcome {
    let config = crate::config::load(&flags.into())?.config;
    start_log(&config);
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        // Before the start, so that a signal during it is not lost.
        let signals = Signals::new()?;
        let running = crate::serve::start(&config).await?;
        if let Some(anonymous) = config.anonymous {
            note(match anonymous {
                Anonymous::Pull => "WARNING: everyone who reaches this server can read everything (--anonymous pull)",
                Anonymous::Push => {
                    "WARNING: everyone who reaches this server can read and write everything (--anonymous push)"
                }
            });
        }
        let (host, tls) = (reached_as(&config, running.address), config.tls_cert.is_some());
        print(&format!(
            "Pedigree listens on {}://{}\n\n{}\nAsk:\n{}\nEnd with Ctrl-C.\n",
            home::scheme(tls),
            running.address,
            home::push_lines(&host, tls),
            home::ask_lines(&host, tls)
        ))?;
        serve_until_signal(running, signals).await;
        Ok::<_, Failure>(ExitCode::SUCCESS)
    });
    // The scan of a large layer must not hold up the end; it is begun again at the next start.
    runtime.shutdown_background();
    outcome
}

/// The `HOST:PORT` that a client of this server writes.
fn reached_as(config: &Config, address: SocketAddr) -> String {
    match config.names.first() {
        Some(name) if has_port(name) => name.clone(),
        Some(name) => format!("{name}:{}", address.port()),
        None if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
        None => address.to_string(),
    }
}

fn has_port(name: &str) -> bool {
    name.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_host_can_be_reached() {
        let host = |names: &[&str], address: &str| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            reached_as(&Config { names, ..Config::default() }, address.parse().unwrap())
        };
        assert_eq!(host(&[], "127.0.0.1:41"), "127.0.0.1:41");
        assert_eq!(host(&[], "0.0.0.0:41"), "127.0.0.1:41");
        assert_eq!(host(&["a.example"], "0.0.0.0:41"), "a.example:41");
        assert_eq!(host(&["a.example:5"], "0.0.0.0:41"), "a.example:5");
    }
}
