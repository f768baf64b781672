//! The account with the directory: found again, or opened.
//!
//! Invariant: an account belongs to the directory at which it was opened; its key is never shown to another one.

use aws_lc_rs::rand::SystemRandom;
use instant_acme::{Account, AccountCredentials, NewAccount};
use zeroize::Zeroizing;

use super::{OrderError, client::Client, error::told};
use crate::tls::acme::{Config, Folder};

/// The account that was kept for this directory, or a new one, which is kept before it is used.
pub(super) async fn open(config: &Config, folder: &Folder) -> Result<Account, OrderError> {
    match kept(config, folder)? {
        Some(credentials) => Ok(Account::builder_with_http(client(config)?).from_credentials(credentials).await?),
        None => create(config, folder).await,
    }
}

/// A new account in place of one that the directory no longer knows.
pub(super) async fn create(config: &Config, folder: &Folder) -> Result<Account, OrderError> {
    let contact: Vec<&str> = config.contact.iter().map(String::as_str).collect();
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let builder = Account::builder_with_http(client(config)?);
    let (account, credentials) = builder.create(&wanted, config.directory.clone(), None).await?;
    let text = serde_json::to_string(&credentials).map(Zeroizing::new).map_err(instant_acme::Error::Json)?;
    folder.save_account(&text, &SystemRandom::new()).map_err(|error| OrderError::Keep(folder.account(), error))?;
    tracing::info!(account = %told(account.id()), "opened an account at the ACME directory");
    Ok(account)
}

fn client(config: &Config) -> Result<Box<Client>, OrderError> {
    Client::new(config.ca.as_deref()).map(Box::new)
}

fn kept(config: &Config, folder: &Folder) -> Result<Option<AccountCredentials>, OrderError> {
    let text = folder.load_account().map_err(|error| OrderError::Keep(folder.account(), error))?;
    let Some(text) = text else { return Ok(None) };
    // A damaged account is not thrown away: it may be bound to limits or agreements that a new one would not have.
    let damaged = |error: serde_json::Error| OrderError::Account(folder.account(), error.to_string());
    let directory = serde_json::from_str::<Kept>(&text).map_err(damaged)?.directory;
    if directory.as_deref() != Some(config.directory.as_str()) {
        tracing::info!("the ACME account that was kept is of another directory; opening one at this directory");
        return Ok(None);
    }
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

/// What of the library's credentials it does not tell.
#[derive(serde::Deserialize)]
struct Kept {
    directory: Option<String>,
}
