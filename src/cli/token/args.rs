//! Defines the options that several token commands have: the file of the signing keys, and the places of the stored
//! tokens.

use std::path::PathBuf;

use super::super::{CommandError, load_config::load};
use crate::{auth::TokenConfig, config::Flags, storage::StoreConfig, telemetry::AuditDestination};

/// The option for the file of the signing keys.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// The file of the keys [default: auth.token.key of the configuration]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl KeyArgs {
    /// Loads the configuration; returns its token settings, with the key file replaced by `--key`, the target of the
    /// audit trail, and where the server's data is.
    pub(super) fn load_settings(self, config: Option<PathBuf>) -> Result<KeySettings, CommandError> {
        let config = load(&Flags { config, ..Flags::default() })?.config;
        let token = config.auth.token;
        Ok(KeySettings {
            token: TokenConfig { key: self.key.unwrap_or(token.key), ..token },
            audit: config.telemetry.audit,
            storage: config.storage,
        })
    }
}

/// The settings of the commands for signing keys.
pub(super) struct KeySettings {
    pub(super) token: TokenConfig,
    pub(super) audit: AuditDestination,
    pub(super) storage: StoreConfig,
}

/// The options for the data folder and the users file.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct StoreArgs {
    /// The folder of the registry's data [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The users file [default: ./htpasswd]
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
}

impl StoreArgs {
    pub(super) fn into_flags(self, config: Option<PathBuf>) -> Flags {
        Flags { config, data: self.data, htpasswd: self.htpasswd, ..Flags::default() }
    }
}
