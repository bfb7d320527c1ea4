//! What an operator can set: defaults, then a TOML file, then `PEDIGREE_…` variables, then flags; the last one wins.
//!
//! This is the only file that reads the environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use oci::Tag;
use registry::Grade;
use store::{Location, S3Options};
use tracing_subscriber::EnvFilter;

use crate::proxies::{Proxies, ProxyHeader};

/// The effective configuration of a server.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen, `HOST:PORT`; port 0 takes a free one.
    pub listen: String,
    /// The folder of the blobs, and of the SQLite file if no other database is set.
    pub data: PathBuf,
    /// A `postgres://` URL, or nothing for a SQLite file in the data folder. It may hold a password: never print it.
    pub database: Option<String>,
    /// Where blobs are: a folder, or `s3://BUCKET/PREFIX`; nothing for a folder in the data folder.
    pub storage: Option<String>,
    /// How the bucket is reached.
    pub s3: S3,
    /// From how many bytes on a blob is pulled straight from the bucket; 0 for never.
    pub redirect_from: u64,
    /// Clients, by what their User-Agent begins with, that cannot follow there.
    pub redirect_except: Vec<String>,
    /// The names (`HOST` or `HOST:PORT`) that references to this registry carry.
    pub names: Vec<String>,
    /// What someone without an account may do when the server listens beyond loopback.
    pub anonymous: Option<Anonymous>,
    /// Which log lines to write, as a `tracing` filter.
    pub log: String,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// The PEM file of the server's certificate and of those between it and the root; with `tls_key`, TLS is spoken.
    pub tls_cert: Option<PathBuf>,
    /// The PEM file of the key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// The proxies that are believed when they say whom they speak for (`proxies` and `proxy_header`).
    pub proxies: Proxies,
    /// How many bodies of pushes are received at once; 0 sets no limit.
    pub uploads_at_once: usize,
    /// The OpenTelemetry collector that gets a span for each request, if any. It may hold a password: never print it.
    pub otlp_endpoint: Option<String>,
    /// The tags that say what is where.
    pub stages: Vec<Tag>,
    /// Evidence at least this good must say what a model was made from before it is promoted.
    pub promotion_required_grade: Option<Grade>,
    /// Whom to ask before a promotion, by HTTP. It may hold a secret: never print it.
    pub promotion_check: Option<String>,
    /// How many layers are scanned at once.
    pub workers: usize,
    /// How many connections to hold to the database.
    pub database_connections: u32,
    /// How many seconds the database server may be silent.
    pub database_timeout: u64,
    /// After how many entries the scan of a layer ends.
    pub scan_entries: u64,
    /// After how many bytes, decompressed, the scan of a layer ends.
    pub scan_bytes: u64,
    /// How many files a file is looked for inside of.
    pub scan_depth: u32,
    /// Whether scans compute the MD5s of files as well, by which DVC knows them.
    pub scan_md5: bool,
    /// A file that is in more repositories makes no match by itself.
    pub ubiquitous: u64,
    /// The PEM files of the public keys whose signatures count.
    pub trusted_keys: Vec<PathBuf>,
    /// Whom certificates may name whose signatures count: issuer and subject, in which `*` is anything.
    pub trusted_identities: Vec<(String, String)>,
    /// The file (sigstore's TrustedRoot) that vouches for those certificates and for when they were used.
    pub trusted_root: Option<PathBuf>,
    /// How many seconds lie between two garbage collections; 0 collects only when `pedigree gc` is called.
    pub gc_interval: u64,
    /// How many seconds nobody must have needed a blob before it is collected.
    pub gc_grace: u64,
    /// After how many days a manifest that nothing names is deleted; 0 keeps them all.
    pub gc_untagged_days: u64,
    /// For how many days is kept who pulled what; 0 keeps it for ever.
    pub pulls_days: u64,
}

/// How a bucket is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct S3 {
    /// The server, as `http(s)://HOST[:PORT]`; nothing for AWS.
    pub endpoint: Option<String>,
    /// The server as clients reach it, where that is another name.
    pub public_endpoint: Option<String>,
    /// The region; nothing for the one that the environment names.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of an address; unless set, it does with an endpoint.
    pub path_style: Option<bool>,
    /// The access key; nothing for what the environment has.
    pub access_key: Option<String>,
    /// Its secret: never print it.
    pub secret_key: Option<String>,
    /// A PEM file with authorities that the server's certificate may be signed by.
    pub ca_cert: Option<PathBuf>,
    /// The size of a part of a large blob, in MiB.
    pub part_size: u64,
    /// How many MiB of parts may be in memory at once.
    pub memory: u64,
    /// How many seconds the server may be silent.
    pub timeout: u64,
    /// The environment's `AWS_…` variables, among them secrets.
    environment: Vec<(String, String)>,
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            endpoint: None,
            public_endpoint: None,
            region: None,
            path_style: None,
            access_key: None,
            secret_key: None,
            ca_cert: None,
            part_size: 25,
            memory: 256,
            timeout: 60,
            environment: Vec::new(),
        }
    }
}

/// What someone without an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    /// Read everything.
    Pull,
    /// Read and write everything.
    Push,
}

impl Anonymous {
    /// As it is written in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// As it is written in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5000".into(),
            data: "pedigree-data".into(),
            database: None,
            storage: None,
            s3: S3::default(),
            redirect_from: 0,
            redirect_except: Vec::new(),
            names: Vec::new(),
            anonymous: None,
            log: "info".into(),
            log_format: LogFormat::Text,
            tls_cert: None,
            tls_key: None,
            proxies: Proxies::default(),
            uploads_at_once: 256,
            otlp_endpoint: None,
            stages: ["champion", "challenger", "stable", "production"]
                .map(|tag| tag.parse())
                .into_iter()
                .flatten()
                .collect(),
            promotion_required_grade: None,
            promotion_check: None,
            workers: 2,
            database_connections: 8,
            database_timeout: 30,
            scan_entries: 10_000_000,
            scan_bytes: 1 << 40,
            scan_depth: 2,
            scan_md5: false,
            ubiquitous: 20,
            trusted_keys: Vec::new(),
            trusted_identities: Vec::new(),
            trusted_root: None,
            gc_interval: 3600,
            gc_grace: 86_400,
            gc_untagged_days: 0,
            pulls_days: 365,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for key in KEYS {
            map.entry(&key.name, &self.show(key.name));
        }
        map.finish()
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// This file.
    File(PathBuf),
    /// This environment variable.
    Variable(String),
    /// This flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// Why there is no configuration. The text names the source and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{origin}: cannot read {}: {error}", path.display())]
    Unreadable {
        /// Who named the file.
        origin: Origin,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("file {}: not valid TOML: {error}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without the text itself, which may hold a password.
        error: String,
    },
    /// There is no such key.
    #[error("{origin}: there is no setting {key:?}; the settings are {}", names(origin))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// What was written.
        key: String,
    },
    /// The authorities of the bucket's server cannot be read.
    #[error("s3_ca_cert: cannot read {}: {error}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// An access key without its secret, or the other way round.
    #[error("s3_access_key and s3_secret_key belong together: set both, or neither to use what the environment has")]
    HalfAKey,
    /// There must be room for two parts at least.
    #[error("s3_memory: {memory} MiB do not hold two parts of {part_size} MiB (s3_part_size)")]
    Memory {
        /// `s3_memory`
        memory: u64,
        /// `s3_part_size`
        part_size: u64,
    },
    /// The value cannot be used.
    #[error("{origin}: {key}: {problem}; allowed is {allowed}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// What is wrong.
        problem: String,
        /// What is right.
        allowed: &'static str,
    },
}

fn names(origin: &Origin) -> String {
    let name = |key: &Key| match origin {
        Origin::Variable(_) => variable(key.name),
        _ => key.name.to_owned(),
    };
    KEYS.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What the command line can set.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--database`
    pub database: Option<String>,
    /// `--storage`
    pub storage: Option<String>,
    /// `--name`, any number of times
    pub names: Vec<String>,
    /// `--anonymous`
    pub anonymous: Option<String>,
    /// `--workers`
    pub workers: Option<String>,
    /// `--tls-cert`
    pub tls_cert: Option<String>,
    /// `--tls-key`
    pub tls_key: Option<String>,
}

/// A configuration, and where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

/// One line of `pedigree config`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    /// The setting.
    pub key: &'static str,
    /// Its value, without secrets.
    pub value: String,
    /// Where it came from.
    pub origin: String,
}

impl Loaded {
    /// Every setting, without secrets.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let setting = |key: &Key| Setting {
            key: key.name,
            value: self.config.show(key.name),
            origin: self.origins.get(key.name).unwrap_or(&Origin::Default).to_string(),
        };
        KEYS.iter().map(setting).collect()
    }
}

struct Key {
    name: &'static str,
    form: Form,
    allowed: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Number,
    Switch,
    List,
}

const KEYS: &[Key] = &[
    Key { name: "listen", form: Form::Text, allowed: "HOST:PORT, for example 127.0.0.1:5000" },
    Key { name: "data", form: Form::Text, allowed: "the path of a folder" },
    Key {
        name: "database",
        form: Form::Text,
        allowed: "postgres://USER:PASSWORD@HOST/DATABASE, or no value for a SQLite file in the data folder",
    },
    Key {
        name: "storage",
        form: Form::Text,
        allowed: "the path of a folder or s3://BUCKET/PREFIX, or no value for a folder in the data folder",
    },
    Key { name: "s3_endpoint", form: Form::Text, allowed: "http(s)://HOST[:PORT], or no value for AWS" },
    Key {
        name: "s3_public_endpoint",
        form: Form::Text,
        allowed: "http(s)://HOST[:PORT] as clients reach it, or no value for s3_endpoint",
    },
    Key { name: "s3_region", form: Form::Text, allowed: "a region, or no value for the environment's AWS_REGION" },
    Key { name: "s3_path_style", form: Form::Switch, allowed: "true or false; unset, true with an endpoint" },
    Key { name: "s3_access_key", form: Form::Text, allowed: "an access key, or no value for what the environment has" },
    Key { name: "s3_secret_key", form: Form::Text, allowed: "the secret of s3_access_key" },
    Key { name: "s3_ca_cert", form: Form::Text, allowed: "the path of a PEM file" },
    Key { name: "s3_part_size", form: Form::Number, allowed: "a number of MiB from 5 to 4096" },
    Key { name: "s3_memory", form: Form::Number, allowed: "a number of MiB, at least twice s3_part_size" },
    Key { name: "s3_timeout", form: Form::Number, allowed: "a number of seconds, at least 1" },
    Key { name: "redirect_from", form: Form::Number, allowed: "a number of bytes; 0 for no redirects" },
    Key {
        name: "redirect_except",
        form: Form::List,
        allowed: "a list of what the User-Agent of clients begins with that cannot follow redirects",
    },
    Key {
        name: "names",
        form: Form::List,
        allowed: "a list of HOST or HOST:PORT (a TOML array; commas between them in a variable)",
    },
    Key { name: "anonymous", form: Form::Text, allowed: "pull or push" },
    Key { name: "log", form: Form::Text, allowed: "error, warn, info, debug, trace or a list like info,server=debug" },
    Key { name: "log_format", form: Form::Text, allowed: "text or json" },
    Key { name: "tls_cert", form: Form::Text, allowed: "the path of a PEM file, together with tls_key" },
    Key { name: "tls_key", form: Form::Text, allowed: "the path of a PEM file, together with tls_cert" },
    Key {
        name: "proxies",
        form: Form::List,
        allowed: "a list of addresses or networks like 10.0.0.0/8 (a TOML array; commas between them in a variable)",
    },
    Key {
        name: "proxy_header",
        form: Form::Text,
        allowed: "x-forwarded-for or forwarded, whichever the proxies write",
    },
    Key { name: "uploads_at_once", form: Form::Number, allowed: "a number up to 100000; 0 sets no limit" },
    Key {
        name: "otlp_endpoint",
        form: Form::Text,
        allowed: "the http:// or https:// URL of an OpenTelemetry collector, for example http://127.0.0.1:4318, or no value",
    },
    Key {
        name: "stages",
        form: Form::List,
        allowed: "a list of tags (a TOML array; commas between them in a variable)",
    },
    Key {
        name: "promotion_required_grade",
        form: Form::Text,
        allowed: "declared or attested, or no value for promotions without evidence",
    },
    Key {
        name: "promotion_check",
        form: Form::Text,
        allowed: "an http:// or https:// URL that is asked before each promotion, or no value",
    },
    Key { name: "workers", form: Form::Number, allowed: "a number from 1 to 256" },
    Key { name: "database_connections", form: Form::Number, allowed: "a number from 1 to 1000" },
    Key { name: "database_timeout", form: Form::Number, allowed: "a number of seconds, at least 1" },
    Key { name: "scan_entries", form: Form::Number, allowed: "a number of entries, at least 1" },
    Key { name: "scan_bytes", form: Form::Number, allowed: "a number of bytes, at least 1" },
    Key { name: "scan_depth", form: Form::Number, allowed: "a number up to 32; 0 looks into no file" },
    Key { name: "scan_md5", form: Form::Switch, allowed: "true or false" },
    Key { name: "ubiquitous", form: Form::Number, allowed: "a number of repositories, at least 1" },
    Key { name: "trusted_keys", form: Form::List, allowed: "a list of paths of PEM files with a public key each" },
    Key {
        name: "trusted_identities",
        form: Form::List,
        allowed: "a list of \"ISSUER SUBJECT\", for example \"https://accounts.example.com *@example.com\"",
    },
    Key { name: "trusted_root", form: Form::Text, allowed: "the path of a sigstore trusted root (JSON), or no value" },
    Key { name: "gc_interval", form: Form::Number, allowed: "a number of seconds; 0 for no collection of its own" },
    Key { name: "gc_grace", form: Form::Number, allowed: "a number of seconds" },
    Key { name: "gc_untagged_days", form: Form::Number, allowed: "a number of days; 0 keeps untagged manifests" },
    Key { name: "pulls_days", form: Form::Number, allowed: "a number of days; 0 keeps for ever who pulled what" },
];

/// Variables that are not settings of the server: the last two are the tests' and CI's.
const OTHER_VARIABLES: [&str; 5] =
    ["PEDIGREE_SERVER", "PEDIGREE_CA_CERT", "PEDIGREE_CONFIG", "PEDIGREE_CLIENTS", "PEDIGREE_TOOLS"];
/// The tests' own, and those that Kubernetes gives every pod beside a service called `pedigree`.
const OTHER_PREFIXES: [&str; 3] = ["PEDIGREE_TEST_", "PEDIGREE_SERVICE_", "PEDIGREE_PORT"];

fn variable(key: &str) -> String {
    format!("PEDIGREE_{}", key.to_uppercase())
}

fn environment() -> Vec<(String, OsString)> {
    std::env::vars_os()
        .filter_map(|(name, value)| name.into_string().ok().map(|name| (name, value)))
        .filter(|(name, _)| name.starts_with("PEDIGREE_") || name.starts_with("AWS_"))
        .collect()
}

/// The server that `PEDIGREE_SERVER` names.
#[must_use]
pub fn server_variable() -> Option<String> {
    other_variable("PEDIGREE_SERVER")?.into_string().ok()
}

/// The file that `PEDIGREE_CA_CERT` names: the certificates of the authorities that commands trust.
#[must_use]
pub fn ca_cert_variable() -> Option<PathBuf> {
    other_variable("PEDIGREE_CA_CERT").map(PathBuf::from)
}

fn other_variable(name: &str) -> Option<OsString> {
    let found = environment().into_iter().find(|(found, _)| found == name);
    found.map(|(_, value)| value).filter(|value| !value.is_empty())
}

/// Reads every source and puts them together.
///
/// # Errors
/// A file that cannot be read, an unknown setting, or a value that cannot be used.
pub fn load(flags: &Flags) -> Result<Loaded, ConfigError> {
    load_from(flags, environment())
}

/// The configuration of one of several registries: a file, or a data folder with everything in it. Of the environment only
/// `AWS_…` counts, for anything else would be meant for all of them.
///
/// # Errors
/// As [`load`].
pub fn load_place(place: &Path) -> Result<Config, ConfigError> {
    // What is not there yet is a folder, unless it is called as a file is.
    let is_file = place.is_file() || !place.exists() && place.extension().is_some_and(|extension| extension == "toml");
    let place = Some(place.to_owned());
    let flags = match is_file {
        true => Flags { config: place, ..Flags::default() },
        false => Flags { data: place, ..Flags::default() },
    };
    let environment = environment().into_iter().filter(|(name, _)| name.starts_with("AWS_"));
    Ok(load_from(&flags, environment.collect())?.config)
}

fn load_from(flags: &Flags, mut environment: Vec<(String, OsString)>) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded { config: Config::default(), origins: BTreeMap::new() };
    environment.sort();

    let variable_file = environment.iter().find(|(name, value)| name == "PEDIGREE_CONFIG" && !value.is_empty());
    match (&flags.config, variable_file) {
        (Some(path), _) => loaded.file(path, Origin::Flag("--config"))?,
        (None, Some((name, path))) => loaded.file(Path::new(path), Origin::Variable(name.clone()))?,
        (None, None) => {}
    }
    for (name, value) in environment {
        if name.starts_with("AWS_") {
            loaded.config.s3.environment.extend(value.into_string().ok().map(|value| (name, value)));
            continue;
        }
        let others = OTHER_VARIABLES.contains(&name.as_str());
        if others || OTHER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let origin = Origin::Variable(name.clone());
        let Some(key) = KEYS.iter().find(|key| variable(key.name) == name) else {
            return Err(ConfigError::UnknownKey { origin, key: name });
        };
        if key.name == "data" {
            loaded.data(PathBuf::from(value), origin)?;
            continue;
        }
        let value = value.into_string().map_err(|_| key.error(&origin, "the value is not UTF-8"))?;
        let values = match key.form {
            Form::List => value.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
            Form::Text | Form::Number | Form::Switch => vec![value],
        };
        loaded.set(key, values, origin)?;
    }
    loaded.flags(flags)?;
    loaded.together()?;
    Ok(loaded)
}

impl Key {
    fn error(&self, origin: &Origin, problem: impl Into<String>) -> ConfigError {
        ConfigError::Value { origin: origin.clone(), key: self.name, problem: problem.into(), allowed: self.allowed }
    }
}

impl Loaded {
    fn file(&mut self, path: &Path, named_by: Origin) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            origin: named_by,
            path: path.into(),
            error,
        })?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text.bytes().take(span.start).filter(|&b| b == b'\n').count() + 1);
            ConfigError::Syntax { path: path.into(), error: format!("line {line}: {}", error.message()) }
        })?;
        let origin = Origin::File(path.into());
        // `[promotion] check` is another way to write `promotion_check`.
        let settings = table.into_iter().flat_map(|(name, value)| match value {
            toml::Value::Table(table) => {
                table.into_iter().map(|(key, value)| (format!("{name}_{key}"), value)).collect()
            }
            value => vec![(name, value)],
        });
        for (name, value) in settings {
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                return Err(ConfigError::UnknownKey { origin, key: name });
            };
            let kind = value.type_str();
            let values = match (key.form, value) {
                (Form::Text, toml::Value::String(text)) => Some(vec![text]),
                (Form::Number, toml::Value::Integer(number)) => Some(vec![number.to_string()]),
                (Form::Switch, toml::Value::Boolean(on)) => Some(vec![on.to_string()]),
                (Form::List, toml::Value::Array(items)) => items
                    .into_iter()
                    .map(|item| match item {
                        toml::Value::String(text) => Some(text),
                        _ => None,
                    })
                    .collect(),
                _ => None,
            };
            let values =
                values.ok_or_else(|| key.error(&origin, format!("a value of this type ({kind}) does not fit")))?;
            self.set(key, values, origin.clone())?;
        }
        Ok(())
    }

    fn flags(&mut self, flags: &Flags) -> Result<(), ConfigError> {
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let given = [
            ("listen", "--listen", one(&flags.listen)),
            ("database", "--database", one(&flags.database)),
            ("storage", "--storage", one(&flags.storage)),
            ("names", "--name", flags.names.clone()),
            ("anonymous", "--anonymous", one(&flags.anonymous)),
            ("workers", "--workers", one(&flags.workers)),
            ("tls_cert", "--tls-cert", one(&flags.tls_cert)),
            ("tls_key", "--tls-key", one(&flags.tls_key)),
        ];
        for (name, flag, values) in given {
            if let Some(key) = KEYS.iter().find(|key| key.name == name)
                && !values.is_empty()
            {
                self.set(key, values, Origin::Flag(flag))?;
            }
        }
        match &flags.data {
            Some(path) => self.data(path.clone(), Origin::Flag("--data")),
            None => Ok(()),
        }
    }

    /// A certificate without its key, or a key alone, is a mistake that must not end in a server without TLS.
    fn together(&self) -> Result<(), ConfigError> {
        let (set, problem) = match (&self.config.tls_cert, &self.config.tls_key) {
            (Some(_), None) => ("tls_cert", "it is set and tls_key is not"),
            (None, Some(_)) => ("tls_key", "it is set and tls_cert is not"),
            _ => return Ok(()),
        };
        let origin = self.origins.get(set).unwrap_or(&Origin::Default);
        let key = KEYS.iter().find(|key| key.name == set);
        key.map_or(Ok(()), |key| Err(key.error(origin, problem)))
    }

    fn data(&mut self, path: PathBuf, origin: Origin) -> Result<(), ConfigError> {
        if path.as_os_str().is_empty() {
            let (key, problem, allowed) = ("data", "the value is empty".into(), "the path of a folder");
            return Err(ConfigError::Value { origin, key, problem, allowed });
        }
        self.config.data = path;
        self.origins.insert("data", origin);
        Ok(())
    }

    fn set(&mut self, key: &'static Key, values: Vec<String>, origin: Origin) -> Result<(), ConfigError> {
        let config = &mut self.config;
        let value = values.first().map_or("", String::as_str);
        let wrong = || key.error(&origin, format!("{value:?} cannot be used"));
        match key.name {
            "listen" => {
                let (host, port) = value.rsplit_once(':').ok_or_else(wrong)?;
                let host_fits = !host.is_empty()
                    && !host.contains(|c: char| c.is_whitespace() || c == '/')
                    && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'));
                if !host_fits || port.parse::<u16>().is_err() {
                    return Err(wrong());
                }
                config.listen = value.into();
            }
            "data" => return self.data(value.into(), origin),
            "database" if value.is_empty() => config.database = None,
            "database" if value.starts_with("postgres://") || value.starts_with("postgresql://") => {
                config.database = Some(value.into());
            }
            // The value may hold a password, so the message does not repeat it.
            "database" => return Err(key.error(&origin, "the value is not a PostgreSQL URL")),
            "storage" => config.storage = location(value).ok_or_else(wrong)?,
            "s3_endpoint" => config.s3.endpoint = endpoint(value).ok_or_else(wrong)?,
            "s3_public_endpoint" => config.s3.public_endpoint = endpoint(value).ok_or_else(wrong)?,
            "s3_region" => config.s3.region = some(value),
            "s3_path_style" => config.s3.path_style = Some(value.parse().map_err(|_| wrong())?),
            "s3_access_key" => config.s3.access_key = some(value),
            "s3_secret_key" => config.s3.secret_key = some(value),
            "s3_ca_cert" => config.s3.ca_cert = some(value).map(PathBuf::from),
            "s3_part_size" => {
                config.s3.part_size = value.parse().ok().filter(|n| (5..=4096).contains(n)).ok_or_else(wrong)?;
            }
            "s3_memory" => config.s3.memory = value.parse().ok().filter(|n| *n < 1 << 20).ok_or_else(wrong)?,
            "s3_timeout" => {
                config.s3.timeout = seconds(value).filter(|seconds| *seconds > 0).ok_or_else(wrong)?;
            }
            "redirect_from" => config.redirect_from = value.parse().map_err(|_| wrong())?,
            "redirect_except" => config.redirect_except = values,
            "names" => {
                if let Some(bad) =
                    values.iter().find(|name| name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '/'))
                {
                    return Err(key.error(&origin, format!("{bad:?} cannot be used")));
                }
                config.names = values;
            }
            "anonymous" => {
                config.anonymous = Some(match value {
                    "pull" => Anonymous::Pull,
                    "push" => Anonymous::Push,
                    _ => return Err(wrong()),
                });
            }
            "log" => {
                EnvFilter::builder().parse(value).map_err(|_| wrong())?;
                config.log = value.into();
            }
            "log_format" => {
                config.log_format = match value {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    _ => return Err(wrong()),
                };
            }
            "tls_cert" => config.tls_cert = Some(value).filter(|path| !path.is_empty()).map(PathBuf::from),
            "tls_key" => config.tls_key = Some(value).filter(|path| !path.is_empty()).map(PathBuf::from),
            "proxies" => config.proxies.networks = networks(&values).map_err(|bad| key.error(&origin, bad))?,
            "proxy_header" => {
                let known = [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded];
                let found = known.into_iter().find(|header| header.as_str().eq_ignore_ascii_case(value));
                config.proxies.header = found.ok_or_else(wrong)?;
            }
            "uploads_at_once" => {
                config.uploads_at_once = value.parse().ok().filter(|n| *n <= 100_000).ok_or_else(wrong)?;
            }
            "otlp_endpoint" if value.is_empty() => config.otlp_endpoint = None,
            "otlp_endpoint" if is_http_url(value) => config.otlp_endpoint = Some(value.into()),
            "otlp_endpoint" => return Err(key.error(&origin, "the value is no such URL")),
            "stages" => {
                let tag = |text: &String| text.parse().map_err(|e| key.error(&origin, format!("{text:?}: {e}")));
                config.stages = values.iter().map(tag).collect::<Result<_, _>>()?;
            }
            "promotion_required_grade" => {
                config.promotion_required_grade = match value {
                    "" => None,
                    "declared" => Some(Grade::Declared),
                    "attested" => Some(Grade::Attested),
                    _ => return Err(wrong()),
                };
            }
            "promotion_check" if value.is_empty() => config.promotion_check = None,
            "promotion_check" if hidden(value).is_some() => config.promotion_check = Some(value.into()),
            "promotion_check" => return Err(key.error(&origin, "the value is no such URL")),
            "workers" => config.workers = value.parse().ok().filter(|n| (1..=256).contains(n)).ok_or_else(wrong)?,
            "database_timeout" => {
                config.database_timeout = seconds(value).filter(|seconds| *seconds > 0).ok_or_else(wrong)?;
            }
            "database_connections" => {
                config.database_connections =
                    value.parse().ok().filter(|n| (1..=1000).contains(n)).ok_or_else(wrong)?;
            }
            "scan_entries" => config.scan_entries = value.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?,
            "scan_bytes" => config.scan_bytes = value.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?,
            "scan_depth" => config.scan_depth = value.parse().ok().filter(|n| *n <= 32).ok_or_else(wrong)?,
            "scan_md5" => config.scan_md5 = value.parse().map_err(|_| wrong())?,
            "trusted_keys" => config.trusted_keys = values.iter().map(PathBuf::from).collect(),
            "trusted_identities" => {
                let pair = |text: &String| {
                    let (issuer, subject) = text.split_once(' ')?;
                    let pair = (issuer.to_owned(), subject.trim().to_owned());
                    (!pair.0.is_empty() && !pair.1.is_empty()).then_some(pair)
                };
                config.trusted_identities = values.iter().map(pair).collect::<Option<_>>().ok_or_else(wrong)?;
            }
            "trusted_root" => config.trusted_root = Some(value).filter(|path| !path.is_empty()).map(PathBuf::from),
            "ubiquitous" => config.ubiquitous = value.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?,
            "gc_interval" => config.gc_interval = seconds(value).ok_or_else(wrong)?,
            "gc_grace" => config.gc_grace = seconds(value).ok_or_else(wrong)?,
            "gc_untagged_days" => {
                config.gc_untagged_days = value.parse().ok().filter(|days| *days < 36_500).ok_or_else(wrong)?;
            }
            "pulls_days" => config.pulls_days = value.parse().ok().filter(|days| *days < 36_500).ok_or_else(wrong)?,
            _ => return Err(ConfigError::UnknownKey { origin, key: key.name.into() }),
        }
        self.origins.insert(key.name, origin);
        Ok(())
    }
}

impl Config {
    /// Where blobs are.
    ///
    /// # Errors
    /// When the file of `s3_ca_cert` cannot be read, or one of the two keys is missing.
    pub fn location(&self) -> Result<Location, ConfigError> {
        let Some(storage) = &self.storage else { return Ok(Location::Disk(self.data.join("objects"))) };
        let Some(bucket) = storage.strip_prefix("s3://") else { return Ok(Location::Disk(storage.into())) };
        let s3 = &self.s3;
        let authority = s3.ca_cert.as_ref().map(|path| {
            let unreadable = |error| ConfigError::Certificate { path: path.clone(), error };
            std::fs::read(path).map_err(unreadable)
        });
        let credentials = match (&s3.access_key, &s3.secret_key) {
            (Some(key), Some(secret)) => Some((key.clone(), secret.clone())),
            (None, None) => None,
            _ => return Err(ConfigError::HalfAKey),
        };
        if s3.memory < 2 * s3.part_size {
            return Err(ConfigError::Memory { memory: s3.memory, part_size: s3.part_size });
        }
        let (bucket, prefix) = bucket.split_once('/').unwrap_or((bucket, ""));
        Ok(Location::S3(Box::new(S3Options {
            bucket: bucket.into(),
            prefix: prefix.trim_matches('/').into(),
            endpoint: s3.endpoint.clone(),
            region: s3.region.clone(),
            path_style: s3.path_style.unwrap_or(s3.endpoint.is_some()),
            credentials,
            environment: s3.environment.clone(),
            authority: authority.transpose()?,
            public_endpoint: s3.public_endpoint.clone(),
            part_size: s3.part_size << 20,
            budget: s3.memory << 20,
            timeout: Duration::from_secs(s3.timeout),
        })))
    }

    fn show(&self, key: &str) -> String {
        match key {
            "listen" => self.listen.clone(),
            "data" => self.data.display().to_string(),
            "database" => self.database.as_deref().map_or_else(String::new, hide_password),
            "storage" => self.storage.clone().unwrap_or_default(),
            "s3_endpoint" => self.s3.endpoint.clone().unwrap_or_default(),
            "s3_public_endpoint" => self.s3.public_endpoint.clone().unwrap_or_default(),
            "s3_region" => self.s3.region.clone().unwrap_or_default(),
            "s3_path_style" => self.s3.path_style.map_or_else(String::new, |on| on.to_string()),
            "s3_access_key" => self.s3.access_key.clone().unwrap_or_default(),
            "s3_secret_key" => self.s3.secret_key.as_ref().map_or("", |_| "***").into(),
            "s3_ca_cert" => self.s3.ca_cert.as_ref().map_or_else(String::new, |path| path.display().to_string()),
            "s3_part_size" => self.s3.part_size.to_string(),
            "s3_memory" => self.s3.memory.to_string(),
            "s3_timeout" => self.s3.timeout.to_string(),
            "redirect_from" => self.redirect_from.to_string(),
            "redirect_except" => self.redirect_except.join(","),
            "names" => self.names.join(","),
            "anonymous" => self.anonymous.map_or("", Anonymous::as_str).into(),
            "log" => self.log.clone(),
            "log_format" => self.log_format.as_str().into(),
            "tls_cert" => self.tls_cert.as_ref().map_or_else(String::new, |path| path.display().to_string()),
            "tls_key" => self.tls_key.as_ref().map_or_else(String::new, |path| path.display().to_string()),
            "proxies" => self.proxies.networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(","),
            "proxy_header" => self.proxies.header.as_str().into(),
            "uploads_at_once" => self.uploads_at_once.to_string(),
            "otlp_endpoint" => self.otlp_endpoint.as_deref().map_or_else(String::new, hide_password),
            "stages" => self.stages.iter().map(Tag::to_string).collect::<Vec<_>>().join(","),
            "promotion_required_grade" => self.promotion_required_grade.map_or("", Grade::as_str).into(),
            "promotion_check" => self.promotion_check.as_deref().and_then(hidden).unwrap_or_default(),
            "workers" => self.workers.to_string(),
            "database_connections" => self.database_connections.to_string(),
            "database_timeout" => self.database_timeout.to_string(),
            "scan_entries" => self.scan_entries.to_string(),
            "scan_bytes" => self.scan_bytes.to_string(),
            "scan_depth" => self.scan_depth.to_string(),
            "scan_md5" => self.scan_md5.to_string(),
            "ubiquitous" => self.ubiquitous.to_string(),
            "trusted_keys" => {
                self.trusted_keys.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",")
            }
            "trusted_identities" => {
                let pairs = self.trusted_identities.iter().map(|(issuer, subject)| format!("{issuer} {subject}"));
                pairs.collect::<Vec<_>>().join(",")
            }
            "trusted_root" => self.trusted_root.as_ref().map_or_else(String::new, |path| path.display().to_string()),
            "gc_interval" => self.gc_interval.to_string(),
            "gc_grace" => self.gc_grace.to_string(),
            "gc_untagged_days" => self.gc_untagged_days.to_string(),
            "pulls_days" => self.pulls_days.to_string(),
            _ => String::new(),
        }
    }
}

fn is_http_url(text: &str) -> bool {
    let url = text.parse::<axum::http::Uri>().ok().filter(|url| url.authority().is_some() && url.query().is_none());
    url.is_some_and(|url| matches!(url.scheme_str(), Some("http" | "https")))
}

/// Where a URL leads, without what in it may be a secret. Nothing if it is no URL.
fn hidden(text: &str) -> Option<String> {
    let url = text.parse::<axum::http::Uri>().ok()?;
    let scheme = url.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let (_, host) = url.authority()?.as_str().rsplit_once('@').unwrap_or(("", url.authority()?.as_str()));
    let rest = if url.path_and_query().is_none_or(|rest| rest.as_str() == "/") { "" } else { "/***" };
    Some(format!("{scheme}://{host}{rest}"))
}

/// Networks, and addresses, each of which is a network of one.
fn networks(values: &[String]) -> Result<Vec<IpNet>, String> {
    let network = |text: &String| {
        let network = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        network.map_err(|_| format!("{text:?} is no address and no network"))
    };
    values.iter().map(network).collect()
}

fn some(value: &str) -> Option<String> {
    Some(value.to_owned()).filter(|value| !value.is_empty())
}

/// A folder, or a bucket with or without a prefix.
fn location(value: &str) -> Option<Option<String>> {
    match value.split_once("://") {
        Some(("s3", bucket)) if bucket.is_empty() || bucket.starts_with('/') => None,
        Some((scheme, _)) if scheme != "s3" => None,
        _ => Some(some(value)),
    }
}

/// A server, without a path or a name and password.
fn endpoint(value: &str) -> Option<Option<String>> {
    let host = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    match host {
        _ if value.is_empty() => Some(None),
        Some(host) if !host.is_empty() && !host.trim_end_matches('/').contains(['/', '@', '?', '#']) => {
            Some(Some(value.trim_end_matches('/').to_owned()))
        }
        _ => None,
    }
}

/// A century at most.
fn seconds(text: &str) -> Option<u64> {
    text.parse().ok().filter(|seconds| *seconds < 3_200_000_000)
}

/// The URL of a database with `***` for its password, wherever it stands.
#[must_use]
pub fn hide_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    // An unescaped `?` in a password is not where the parameters begin.
    let parameters = rest.rfind('@').map_or(0, |at| at + 1);
    let parameters = rest[parameters..].find('?').map(|at| parameters + at);
    let (rest, query) = parameters.map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
    // A password may hold an unescaped `/` or `@`; the host follows the last `@`.
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => format!("{user}@{host}"),
        },
        None => rest.to_owned(),
    };
    let hide = |part: &str| match part.split_once('=') {
        Some((name, _)) if name.to_lowercase().contains("password") => format!("{name}=***"),
        _ => part.to_owned(),
    };
    let query = query
        .map_or_else(String::new, |query| format!("?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&")));
    format!("{scheme}://{rest}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, OsString)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn origin(loaded: &Loaded, key: &str) -> String {
        loaded.settings().into_iter().find(|setting| setting.key == key).unwrap().origin
    }

    #[test]
    fn later_sources_win() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pedigree.toml");
        std::fs::write(&path, "listen = \"[::1]:1\"\nworkers = 3\nlog = \"warn\"\nnames = [\"a.example\"]\n").unwrap();
        let flags = Flags { config: Some(path.clone()), listen: Some("localhost:3".into()), ..Flags::default() };
        let environment = variables(&[
            ("PEDIGREE_LISTEN", "localhost:2"),
            ("PEDIGREE_WORKERS", "4"),
            ("PEDIGREE_TEST_X", "x"),
            ("PEDIGREE_SERVER", "x"),
            ("PEDIGREE_CLIENTS", "x"),
            ("PEDIGREE_PROXIES", "10.0.0.0/8,::1"),
        ]);
        let loaded = load_from(&flags, environment).unwrap();
        assert_eq!(loaded.config.listen, "localhost:3");
        assert_eq!(loaded.config.workers, 4);
        assert_eq!(loaded.config.log, "warn");
        assert_eq!(loaded.config.names, ["a.example"]);
        assert_eq!(loaded.config.show("proxies"), "10.0.0.0/8,::1/128");
        assert_eq!(loaded.config.scan_bytes, 1 << 40);
        assert_eq!(origin(&loaded, "listen"), "flag --listen");
        assert_eq!(origin(&loaded, "workers"), "variable PEDIGREE_WORKERS");
        assert_eq!(origin(&loaded, "log"), format!("file {}", path.display()));
        assert_eq!(origin(&loaded, "data"), "default");
    }

    #[test]
    fn messages_name_the_source_and_what_is_allowed() {
        let message = |pairs| load_from(&Flags::default(), variables(pairs)).unwrap_err().to_string();
        assert_eq!(
            message(&[("PEDIGREE_WORKERS", "many")]),
            "variable PEDIGREE_WORKERS: workers: \"many\" cannot be used; allowed is a number from 1 to 256"
        );
        assert!(message(&[("PEDIGREE_LISTN", "x")]).contains("PEDIGREE_LISTEN, PEDIGREE_DATA"));
        assert!(message(&[("PEDIGREE_LISTEN", "5000")]).contains("HOST:PORT"));
        assert!(message(&[("PEDIGREE_LISTEN", "::1:5000")]).contains("HOST:PORT"));
        assert_eq!(
            message(&[("PEDIGREE_TLS_KEY", "k.pem")]),
            "variable PEDIGREE_TLS_KEY: tls_key: it is set and tls_cert is not; allowed is the path of a PEM file, together \
             with tls_cert"
        );
        assert!(
            message(&[("PEDIGREE_PROXIES", "10.0.0.0/8, proxy.example")]).contains("\"proxy.example\" is no address")
        );
        assert!(message(&[("PEDIGREE_PROXY_HEADER", "x-real-ip")]).contains("x-forwarded-for or forwarded"));
        assert!(message(&[("PEDIGREE_ANONYMOUS", "all")]).contains("pull or push"));
        assert!(
            message(&[("PEDIGREE_CONFIG", "/nowhere/at/all")]).starts_with("variable PEDIGREE_CONFIG: cannot read")
        );
        assert!(!message(&[("PEDIGREE_DATABASE", "mysql://u:secret@h/d")]).contains("secret"));
        let endpoint = message(&[("PEDIGREE_OTLP_ENDPOINT", "grpc://u:secret@h:4317")]);
        assert!(endpoint.contains("http://127.0.0.1:4318") && !endpoint.contains("secret"), "{endpoint}");
    }

    #[test]
    fn a_bad_file_is_refused_without_repeating_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        let message = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let flags = Flags { config: Some(path.clone()), ..Flags::default() };
            load_from(&flags, Vec::new()).unwrap_err().to_string()
        };
        assert!(message("lisen = 1").contains("there is no setting \"lisen\"; the settings are listen, data"));
        assert!(message("workers = \"2\"").contains("(string)"));
        assert!(message("workers = -1").contains("1 to 256"));
        let syntax = message("log = \"info\"\ndatabase = \"postgres://u:secret@h\n");
        assert!(syntax.contains("line 2") && !syntax.contains("secret"), "{syntax}");
    }

    #[test]
    fn passwords_are_hidden() {
        assert_eq!(hide_password("postgres://u:p/@w@h:1/d?a=b&password=x"), "postgres://u:***@h:1/d?a=b&password=***");
        assert_eq!(hide_password("postgres://h/d"), "postgres://h/d");
        assert_eq!(hidden("https://u:p@h:1/hook/s3cret?token=x").unwrap(), "https://h:1/***");
        assert_eq!((hidden("http://h/").unwrap(), hidden("ftp://h")), ("http://h".into(), None));
        let s3 =
            S3 { secret_key: Some("hush".into()), environment: vec![("AWS_X".into(), "hush".into())], ..S3::default() };
        let config = Config { database: Some("postgres://u:hush@h/d".into()), s3, ..Config::default() };
        assert!(!format!("{config:?}").contains("hush"));
    }
}
