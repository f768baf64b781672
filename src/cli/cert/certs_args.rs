//! Defines the option for the folder of the self-signed certificates, which several commands have.

use std::path::PathBuf;

/// The option for the folder of the self-signed certificates.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CertsArgs {
    /// The folder of the self-signed certificates and keys [default: ./certs]
    #[arg(long, value_name = "DIR")]
    pub(super) certs: Option<PathBuf>,
}
