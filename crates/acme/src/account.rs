//! Loads the stored ACME account, or creates and stores a new one (RFC 8555, 7.3).
//!
//! Invariant: an account is used only with the directory that created it; its key is never used with another directory.

use instant_acme::{Account, AccountCredentials, NewAccount};
use zeroize::Zeroizing;

use super::{OrderError, error::to_log_line, http_client::AcmeHttpClient};
use portcullis_tls::acme::{AcmeConfig, AcmeFolder};

/// Returns the stored account of this directory, or creates one. A new account is stored before it is used.
pub(super) async fn load_or_create(config: &AcmeConfig, folder: &AcmeFolder) -> Result<Account, OrderError> {
    match load(config, folder)? {
        Some(credentials) => Ok(Account::builder_with_http(http_client(config)?).from_credentials(credentials).await?),
        None => create(config, folder).await,
    }
}

/// Creates an account, stores it and replaces the stored one. The order uses this when the directory no longer has the
/// stored account.
pub(super) async fn create(config: &AcmeConfig, folder: &AcmeFolder) -> Result<Account, OrderError> {
    let contact: Vec<&str> = config.contact.iter().map(String::as_str).collect();
    let new_account = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let builder = Account::builder_with_http(http_client(config)?);
    let (account, credentials) = builder.create(&new_account, config.directory.clone(), None).await?;
    let text = serde_json::to_string(&credentials).map(Zeroizing::new).map_err(instant_acme::Error::Json)?;
    folder.save_account(&text).map_err(|error| OrderError::Storage(folder.account_path(), error))?;
    tracing::info!(account = %to_log_line(account.id()), "created an account at the ACME directory");
    Ok(account)
}

fn http_client(config: &AcmeConfig) -> Result<Box<AcmeHttpClient>, OrderError> {
    AcmeHttpClient::new(config.ca.as_deref()).map(Box::new)
}

fn load(config: &AcmeConfig, folder: &AcmeFolder) -> Result<Option<AccountCredentials>, OrderError> {
    let text = folder.load_account().map_err(|error| OrderError::Storage(folder.account_path(), error))?;
    let Some(text) = text else { return Ok(None) };
    // A damaged account file is not replaced: the account may have limits or agreements that a new one would not have.
    let damaged = |error: serde_json::Error| OrderError::Account(folder.account_path(), error.to_string());
    let directory = serde_json::from_str::<StoredDirectory>(&text).map_err(damaged)?.directory;
    if directory.as_deref() != Some(config.directory.as_str()) {
        tracing::info!("the stored ACME account belongs to another directory; creating an account at this one");
        return Ok(None);
    }
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

/// The field of the stored credentials that [`AccountCredentials`] does not expose.
#[derive(serde::Deserialize)]
struct StoredDirectory {
    directory: Option<String>,
}
