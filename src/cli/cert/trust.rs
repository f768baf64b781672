//! Implements `portcullis cert trust`: prints a shell script that installs the CA certificate where a client reads it.
//!
//! Invariant: the printed script and `--apply` execute the same [`TrustPlan`].

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{
    super::{CommandError, load_config::load},
    apply,
    certs_args::CertsArgs,
    trust_plan::{ClientKind, RegistryHost, TrustPlan},
};
use crate::{
    app,
    config::Flags,
    tls::{self, Certificate},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The client that is to trust the authority
    client: ClientKind,
    /// The registry as the names of images begin, HOST or HOST:PORT [default: the first of `hostnames`, and the port of
    /// `listen`]
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Option<RegistryHost>,
    /// The certificate of the authority, for a machine where it has been copied to [default: ca.crt of the server]
    #[arg(long, value_name = "FILE", conflicts_with = "certs")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    place: CertsArgs,
    /// Write the files on this machine, and report what was written
    #[arg(long)]
    apply: bool,
    /// With --apply: write below this folder instead of `/`, into an image that is being built for example
    #[arg(long, value_name = "DIR", requires = "apply")]
    root: Option<PathBuf>,
}

pub(super) fn run(args: &Args, config: Option<PathBuf>) -> Result<(), CommandError> {
    let Args { client, host, ca, place, apply, root } = args;
    let flags = Flags { config, certs: place.certs.clone(), ..Flags::default() };
    // With both given no configuration is needed: the machine of a client has none.
    let config = if ca.is_some() && host.is_some() { None } else { Some(load(&flags)?.config) };
    let registry = match (host, &config) {
        (Some(host), _) => host.clone(),
        (None, Some(config)) => {
            RegistryHost::from_host(&app::registry_host(&config.tls.hostnames, &config.server.listen))
        }
        (None, None) => return Err(CommandError::new("no registry was given", Some("name it with --host HOST:PORT"))),
    };
    let authority = load_authority(ca.as_deref(), config.map(|config| config.tls.source).as_ref())?;
    let plan = TrustPlan::new(*client, &registry, &authority.pem());
    if *apply {
        return apply::run(plan, *client, root.as_deref());
    }
    let head = format!(
        "# {registry}: trust the certificate authority with the SHA-256 fingerprint\n# {}\n",
        authority.fingerprint()
    );
    let text = head + &plan.script();
    io::stdout().lock().write_all(text.as_bytes()).map_err(|error| CommandError::new(error, None))
}

fn load_authority(named: Option<&Path>, source: Option<&tls::CertificateSource>) -> Result<Certificate, CommandError> {
    let path = match (named, source.and_then(tls::CertificateSource::directory)) {
        (Some(path), _) => path.to_owned(),
        (None, Some(directory)) => directory.join("ca.crt"),
        (None, None) => {
            let error = "the certificate is not self-signed: it comes from [tls.files] or [tls.acme]";
            let hint = "clients trust public authorities; if yours is private, name its certificate with --ca FILE";
            return Err(CommandError::new(error, Some(hint)));
        }
    };
    let chain = tls::read_certificates(&path).map_err(|error| {
        let hint = if path.exists() {
            error.hint()
        } else {
            "the first start of 'portcullis serve' creates it; elsewhere, copy it there and name it with --ca FILE"
                .to_owned()
        };
        CommandError::new(error, Some(&hint))
    })?;
    let first = chain.into_iter().next().ok_or_else(|| CommandError::new("no certificate", None))?;
    // A self-signed server certificate can be trusted directly.
    if first.is_authority() || first.subject() == first.issuer() {
        return Ok(first);
    }
    let error = format!("{}: this certificate is not a certificate authority", path.display());
    Err(CommandError::new(
        error,
        Some(&format!("name the certificate of its issuer, {}", first.issuer().escape_debug())),
    ))
}
