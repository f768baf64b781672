//! Loads the stored ACME account, or creates and stores a new one (RFC 8555, 7.3).
//!
//! Invariant: an account is used only with the directory that created it; its key is never used with another directory.

use instant_acme::{Account, AccountCredentials, Error, ExternalAccountKey, NewAccount};
use zeroize::Zeroizing;

use super::{
    OrderError,
    error::to_log_line,
    http_client::{AcmeHttpClient, RetryAfterUse},
};
use portcullis_tls::acme::{AcmeConfig, AcmeFolder};

/// Returns the stored account of this directory, or creates one. A new account is stored before it is used.
pub(super) async fn load_or_create(config: &AcmeConfig, folder: &AcmeFolder) -> Result<Account, OrderError> {
    match load(config, folder, RetryAfterUse::Polling).await? {
        Some(account) => Ok(account),
        None => create(config, folder).await,
    }
}

/// Returns the stored account of this directory; `None` if there is none. Fetches the directory.
pub(super) async fn load(
    config: &AcmeConfig,
    folder: &AcmeFolder,
    retry_after: RetryAfterUse,
) -> Result<Option<Account>, OrderError> {
    let Some(credentials) = read_credentials(config, folder)? else { return Ok(None) };
    let builder = Account::builder_with_http(http_client(config, retry_after)?);
    Ok(Some(builder.from_credentials(credentials).await?))
}

/// Creates an account, stores it and replaces the stored one. The order uses this when the directory no longer has the
/// stored account.
pub(super) async fn create(config: &AcmeConfig, folder: &AcmeFolder) -> Result<Account, OrderError> {
    let contact: Vec<&str> = config.contact.iter().map(String::as_str).collect();
    let new_account = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let binding = match &config.eab {
        Some(external) => Some(ExternalAccountKey::new(external.key_id.clone(), external.load_hmac_key()?.expose())),
        None => None,
    };
    let builder = Account::builder_with_http(http_client(config, RetryAfterUse::Polling)?);
    let created = builder.create(&new_account, config.directory.clone(), binding.as_ref()).await;
    let (account, credentials) = created.map_err(|error| {
        let is_rejected_binding = binding.is_some() && matches!(error, Error::Api(_));
        if is_rejected_binding { OrderError::BoundAccount(error) } else { error.into() }
    })?;
    let text = serde_json::to_string(&credentials).map(Zeroizing::new).map_err(instant_acme::Error::Json)?;
    folder.save_account(&text).map_err(|error| OrderError::Storage(folder.account_path(), error))?;
    tracing::info!(account = %to_log_line(account.id()), "created an account at the ACME directory");
    Ok(account)
}

fn http_client(config: &AcmeConfig, retry_after: RetryAfterUse) -> Result<Box<AcmeHttpClient>, OrderError> {
    AcmeHttpClient::new(config.ca.as_deref(), retry_after).map(Box::new)
}

fn read_credentials(config: &AcmeConfig, folder: &AcmeFolder) -> Result<Option<AccountCredentials>, OrderError> {
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
