//! Runs one ACME order: account, authorizations, challenges, signing request, certificate (RFC 8555, 7.4 and 7.5).
//!
//! Invariant: an order ends within [`ORDER_TIMEOUT`] and then removes its challenge responses: no challenge is answered
//! afterwards.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};

use super::{OrderError, account, error::to_log_line};
use portcullis_clock::Clock;
use portcullis_tls::{
    DnsName,
    acme::{AcmeConfig, AcmeFolder, Challenge, ChallengeGuard, Challenges, IssuedCertificate, SigningRequest},
};

/// Limit for an order as a whole.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The intervals at which the status of the order is polled, and the limit for each of the two waits: one for the
/// validation of the challenges, one for the certificate.
const POLL_POLICY: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(Duration::from_secs(120));

/// How often an order is restarted because the directory rejected a nonce, which is a normal event and not a failure.
const MAX_NONCE_RETRIES: u32 = 3;

/// What to order, and how.
#[derive(Clone, Debug)]
pub(super) struct OrderPlan {
    pub(super) config: AcmeConfig,
    pub(super) names: Vec<DnsName>,
    /// The challenge type to prove control over the names with.
    pub(super) challenge: Challenge,
    /// The certificate that the new one replaces (RFC 9773, 5).
    pub(super) replaces: Option<CertificateIdentifier<'static>>,
}

/// Orders a certificate.
pub(super) async fn run(
    plan: OrderPlan,
    challenges: &Arc<Challenges>,
    clock: &Clock,
) -> Result<IssuedCertificate, OrderError> {
    let (challenges, clock) = (Arc::clone(challenges), clock.clone());
    isolate(async move { run_with_nonce_retries(&plan, &challenges, &clock).await }).await
}

/// Runs communication with the directory in a task of its own and within [`ORDER_TIMEOUT`]: a library parses untrusted
/// responses, and its panic becomes an error.
pub(super) async fn isolate<T: Send + 'static>(
    communication: impl Future<Output = Result<T, OrderError>> + Send + 'static,
) -> Result<T, OrderError> {
    let mut task = tokio::task::JoinSet::new();
    task.spawn(tokio::time::timeout(ORDER_TIMEOUT, communication));
    match task.join_next().await {
        Some(Ok(Ok(result))) => result,
        Some(Ok(Err(_))) => Err(OrderError::TimedOut),
        Some(Err(_)) | None => Err(OrderError::Panic),
    }
}

async fn run_with_nonce_retries(
    plan: &OrderPlan,
    challenges: &Arc<Challenges>,
    clock: &Clock,
) -> Result<IssuedCertificate, OrderError> {
    let mut tries = 0;
    loop {
        match run_once(plan, challenges, clock).await {
            Err(error) if error.is_bad_nonce() && tries < MAX_NONCE_RETRIES => {
                tries += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            result => return result,
        }
    }
}

async fn run_once(
    plan: &OrderPlan,
    challenges: &Arc<Challenges>,
    clock: &Clock,
) -> Result<IssuedCertificate, OrderError> {
    let OrderPlan { config, names, challenge, replaces } = plan;
    let folder = AcmeFolder::new(&config.folder);
    folder.check_writable().map_err(|error| OrderError::Storage(config.folder.clone(), error))?;
    let identifiers: Vec<Identifier> = names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
    let account = account::load_or_create(config, &folder).await?;
    let replaces = replaces.as_ref();
    let mut order = match new_order(&account, &identifiers, replaces).await {
        Err(error) if error.is_unknown_account() => {
            tracing::warn!("the ACME account no longer exists at the directory");
            new_order(&account::create(config, &folder).await?, &identifiers, replaces).await?
        }
        result => result?,
    };
    let proofs = answer_challenges(&mut order, *challenge, challenges, clock.now()).await?;
    if order.state().status != OrderStatus::Ready {
        wait_until_ready(&mut order).await?;
    }
    drop(proofs);
    let request = SigningRequest::new(names)?;
    order.finalize_csr(request.der()).await?;
    let chain = match order.state().status {
        OrderStatus::Valid => order.certificate().await?.ok_or(OrderError::NoCertificate)?,
        OrderStatus::Pending | OrderStatus::Ready | OrderStatus::Processing | OrderStatus::Invalid => {
            order.poll_certificate(&POLL_POLICY).await?
        }
    };
    Ok(request.check_response(&chain, clock.now())?)
}

/// Creates the order, as a replacement of `replaces` if the directory accepts that. The certificate may be from another
/// account or directory, or replaced already, so a rejection is no reason to be without a new one.
async fn new_order(
    account: &Account,
    identifiers: &[Identifier],
    replaces: Option<&CertificateIdentifier<'_>>,
) -> Result<Order, OrderError> {
    if let Some(replaced) = replaces {
        match account.new_order(&NewOrder::new(identifiers).replaces(replaced.clone())).await {
            Ok(order) => return Ok(order),
            Err(Error::Unsupported(_)) => {}
            Err(error) => {
                let error = OrderError::from(error);
                if error.is_rate_limit() || error.is_bad_nonce() || error.is_unknown_account() {
                    return Err(error);
                }
                tracing::info!(%error, "the ACME directory takes no order that replaces the current certificate; ordering without");
            }
        }
    }
    Ok(account.new_order(&NewOrder::new(identifiers)).await?)
}

/// Publishes the response to the challenge of each pending authorization, and reports it as ready to the directory.
async fn answer_challenges(
    order: &mut Order,
    preferred: Challenge,
    challenges: &Arc<Challenges>,
    now: SystemTime,
) -> Result<Vec<ChallengeGuard>, OrderError> {
    let mut proofs = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            other @ (AuthorizationStatus::Invalid
            | AuthorizationStatus::Revoked
            | AuthorizationStatus::Expired
            | AuthorizationStatus::Deactivated) => return Err(OrderError::Authorization(format!("{other:?}"))),
        }
        let kind = match preferred {
            Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
            Challenge::Http01 => ChallengeType::Http01,
        };
        let mut challenge = authorization.challenge(kind).ok_or(OrderError::NotOffered(preferred))?;
        let Identifier::Dns(name) = challenge.identifier().identifier else {
            return Err(OrderError::Authorization("for an identifier that is not a DNS name".to_owned()));
        };
        let answer = challenge.key_authorization();
        proofs.push(match preferred {
            Challenge::TlsAlpn01 => challenges.prove_by_tls(name, answer.digest().as_ref(), now)?,
            Challenge::Http01 => challenges.prove_by_http(&challenge.token, answer.as_str())?,
        });
        challenge.set_ready().await?;
    }
    Ok(proofs)
}

/// Waits until the directory has validated every challenge.
async fn wait_until_ready(order: &mut Order) -> Result<(), OrderError> {
    let order_error = match order.poll_ready(&POLL_POLICY).await {
        Ok(OrderStatus::Ready) => return Ok(()),
        Ok(_) => None,
        // Some directories put the error into the order instead of the authorization.
        Err(error) if order.state().status == OrderStatus::Invalid => Some(error),
        Err(error) => return Err(error.into()),
    };
    let reasons = challenge_errors(order).await;
    Err(match order_error {
        Some(error) if reasons.is_empty() => error.into(),
        Some(_) | None => OrderError::ValidationFailed(reasons.join("; ")),
    })
}

/// The errors of the challenges, each with the name that it is about.
async fn challenge_errors(order: &mut Order) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let name = to_log_line(&state.identifier().to_string());
        let errors = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        reasons.extend(errors.map(|error| format!("{name}: {}", to_log_line(&error.to_string()))));
    }
    reasons
}
