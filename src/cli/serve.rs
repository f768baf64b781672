//! Implements `portcullis serve`: loads the configuration, starts the server and runs it until it is stopped.

use std::path::PathBuf;

use super::{
    CommandError, first_start,
    load_config::{load, machine_name},
};
use crate::{
    app::{self, StartError},
    clock::Clock,
    config::{self, Flags},
    telemetry,
};

/// Serve the registry over HTTPS
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address and port to listen on; may be given several times [default: 0.0.0.0:443]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// A name or address by which clients reach this server; may be given several times [default: this machine's host
    /// name, localhost and the loopback addresses]
    #[arg(long, value_name = "NAME")]
    hostname: Vec<String>,
    /// The folder of the registry's data, as registry:2 lays it out [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The users file, in the format of Apache's htpasswd [default: ./htpasswd]
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// The folder of the self-signed certificates and keys [default: ./certs]
    #[arg(long, value_name = "DIR")]
    certs: Option<PathBuf>,
    /// A certificate of your own: PEM, with its chain
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate: PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl Args {
    pub(super) fn into_flags(self, config: Option<PathBuf>) -> Flags {
        let Self { listen, hostname, data, htpasswd, certs, tls_cert, tls_key } = self;
        Flags { config, listen, hostname, data, htpasswd, certs, tls_cert, tls_key }
    }
}

pub(super) fn run(flags: Flags, clock: &Clock) -> Result<(), CommandError> {
    let loaded = load(&flags)?;
    telemetry::install(&loaded.config.telemetry, clock.clone()).map_err(|error| CommandError::new(error, None))?;
    let source =
        config::ConfigSource { flags, environment: config::variables(std::env::vars_os()), machine: machine_name() };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::from(StartError::Runtime(error)))?;
    let lock = runtime.block_on(async {
        let app = app::App::start(loaded, source, clock.clone()).await?;
        first_start::print(app.first_start());
        Ok::<_, CommandError>(app.serve().await)
    })?;
    // Waits for the operations of tasks that were cut off.
    drop(runtime);
    if let Some(lock) = lock {
        app::release_store(lock);
    }
    Ok(())
}
