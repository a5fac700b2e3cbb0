use std::path::{Path, PathBuf};

use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
    value::Value,
};

use super::{Config, file::File};
use crate::Error;

/// What the names of variables begin with that this crate reads.
const PREFIX: &str = "CONVOKE_";
/// Between the parts of a key in the name of a variable.
const SEPARATOR: &str = "__";
/// Longer than any configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

impl Config {
    /// Reads a file: YAML when it ends in `.yaml` or `.yml`, else TOML. A path without an ending stands for the file with
    /// one of these.
    ///
    /// # Errors
    /// Everything that is wrong with it at once, each key with its remedy.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_sources(Some(path.as_ref()), [])
    }

    /// Reads variables such as `CONVOKE_CLUSTER__NODE_ID` or `CONVOKE_RAFT__PERSISTENCE__STRATEGY`: the key of a file in
    /// capitals, its parts two underscores apart. Lists have commas. `Cluster__LocalNodeEndpoint` and
    /// `Cluster__Members__0` are read as well.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_env() -> Result<Self, Error> {
        Self::from_sources(None, variables())
    }

    /// Reads a file, and lets variables override it.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_file_and_env(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_sources(Some(path.as_ref()), variables())
    }

    /// A file, if there is one, overridden by variables, given by their names.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_sources(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let mut figment = Figment::new();
        if let Some(path) = file {
            figment = figment.merge(Serialized::defaults(read(&located(path))?));
        }
        for (name, text) in variables {
            if let Some(key) = key(&name) {
                let value: Value =
                    text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {});
                figment = figment.merge(Serialized::default(&key, value));
            }
        }
        let file: File = figment.extract().map_err(|error| Error::config(sentence(error)))?;
        file.config()
    }
}

fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
}

/// The key of a variable that is ours.
fn key(name: &str) -> Option<String> {
    let ours = name.strip_prefix(PREFIX).or_else(|| name.starts_with("Cluster__").then_some(name))?;
    let key = ours.to_lowercase().replace(SEPARATOR, ".");
    (key.starts_with("cluster.") || key.starts_with("raft.")).then_some(key)
}

/// The file that is meant.
fn located(path: &Path) -> PathBuf {
    let endings = ["toml", "yaml", "yml"].iter().map(|ending| path.with_extension(ending));
    let named = path.extension().is_some() || path.is_file();
    let found = if named { None } else { endings.into_iter().find(|path| path.is_file()) };
    found.unwrap_or_else(|| path.to_owned())
}

fn read(path: &Path) -> Result<Value, Error> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Error::config(format!("the cluster's configuration {} cannot be read: {why}", path.display()))
    };
    let bytes = std::fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(unreadable(&format!("it has {bytes} bytes, at most {FILE_BYTES_MAX} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml" | "json") => serde_saphyr::from_str(&text).map_err(|error| unreadable(&error)),
        _ => Figment::from(Toml::string(&text)).extract().map_err(|error| unreadable(&error)),
    }
}

/// Everything that is wrong, each with its whole key.
fn sentence(errors: figment::Error) -> String {
    use figment::error::Kind;
    let sentence = |error: figment::Error| {
        let path = error.path.join(".");
        match &error.kind {
            Kind::UnknownField(_, known) => {
                format!("there is no key `{path}` (known here: {})", known.join(", "))
            }
            kind if path.is_empty() => kind.to_string(),
            kind => format!("`{path}`: {kind}"),
        }
    };
    let problems: Vec<String> = errors.into_iter().map(sentence).collect();
    format!("the cluster's configuration is wrong:\n- {}", problems.join("\n- "))
}
