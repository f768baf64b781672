//! Opens a bucket of S3, or of a store that speaks its protocol.

use std::{fmt, sync::Arc};

use object_store::{
    RetryConfig,
    aws::{AmazonS3Builder, S3ConditionalPut},
};
use portcullis_clock::Clock;
use portcullis_http_client::{Origin, PoolConfig, PooledClient, Proxies, TrustedRoots, TrustedRootsError};

use super::{ObjectStorage, http_adapter::HttpAdapter, retry::Retrying};

/// The address from which a machine of AWS gets its credentials, over plain HTTP.
const INSTANCE_METADATA: &str = "http://169.254.169.254";

/// Where a bucket is, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Config {
    /// The name of the bucket.
    pub bucket: String,
    /// The region; stores other than AWS accept any.
    pub region: String,
    /// The URL of the store; `None`: AWS in this region.
    pub endpoint: Option<String>,
    /// The common beginning of all keys, with or without slashes at its ends: what registry:2 calls `rootdirectory`.
    pub prefix: String,
    /// Whether the bucket is the first component of the path of a URL, instead of a part of the host name.
    pub path_style: bool,
    /// The authorities that the store's certificate must come from.
    pub trust: TrustedRoots,
    /// The credentials.
    pub credentials: S3Credentials,
}

/// The credentials for requests to the store.
#[derive(Clone, PartialEq, Eq)]
pub enum S3Credentials {
    /// A fixed key.
    Key {
        /// The identifier of the key.
        id: String,
        /// The secret.
        secret: String,
        /// The token of a temporary key.
        session_token: Option<String>,
    },
    /// What the machine offers: a token in a file that AWS' variables name, or the metadata of the instance.
    Machine,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { id, .. } => f.debug_struct("Key").field("id", id).finish_non_exhaustive(),
            Self::Machine => f.write_str("Machine"),
        }
    }
}

/// Why a bucket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration is not usable.
    #[error("the object store cannot be used: {0}")]
    Config(#[from] object_store::Error),
    /// The endpoint is no URL of a server.
    #[error("the endpoint {0:?} is not the URL of a server")]
    Endpoint(String),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TrustedRootsError),
}

impl ObjectStorage {
    /// Opens a bucket of S3. Nothing is sent.
    pub fn open_s3(config: &S3Config, proxies: Proxies, upload_memory: u64, clock: Clock) -> Result<Self, OpenError> {
        let mut pool = PoolConfig::new(config.trust.clone());
        pool.proxies = proxies;
        pool.plaintext_origins = plaintext_origins(config)?;
        let client = PooledClient::new(&pool).map_err(TrustedRootsError::TlsConfig)?;
        let mut builder = AmazonS3Builder::new()
            .with_http_connector(Retrying::new(HttpAdapter::new(client)))
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_virtual_hosted_style_request(!config.path_style)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            // The bytes are verified against their digest before they become visible; a second hash of them would cost
            // as much again.
            .with_unsigned_payload(true)
            .with_allow_http(true);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let S3Credentials::Key { id, secret, session_token } = &config.credentials {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            if let Some(token) = session_token {
                builder = builder.with_token(token);
            }
        }
        let bucket = Arc::new(builder.build()?);
        let name = format!("s3://{}", config.bucket);
        Ok(Self::new(bucket, name, &config.prefix, upload_memory, clock))
    }
}

/// The servers to which requests may go over plain HTTP.
fn plaintext_origins(config: &S3Config) -> Result<Vec<Origin>, OpenError> {
    let mut origins = Vec::new();
    if let Some(endpoint) = config.endpoint.as_ref().filter(|endpoint| endpoint.starts_with("http://")) {
        let origin = endpoint.trim_end_matches('/').parse().map_err(|_| OpenError::Endpoint(endpoint.clone()))?;
        origins.push(origin);
    }
    match config.credentials {
        S3Credentials::Key { .. } => {}
        S3Credentials::Machine => origins.extend(INSTANCE_METADATA.parse::<Origin>().ok()),
    }
    Ok(origins)
}
