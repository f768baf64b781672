//! Serves `/ca.crt`: the certificate of the certificate authority (CA) that this server created for itself.
//!
//! Invariant: the endpoint requires no credentials and never serves a private key: the PEM text is re-encoded from a
//! parsed certificate. The client that downloads it does not trust this connection yet; its user compares the
//! fingerprint with one obtained in another way.

use axum::{body::Body, response::Response};
use http::{HeaderValue, header};

use super::{
    error::{ApiError, ErrorCode},
    state::Api,
};

pub(super) fn get(api: &Api) -> Result<Response, ApiError> {
    let pem = (api.components().ca_certificate)().ok_or_else(|| {
        ApiError::new(
            ErrorCode::NameUnknown,
            "this server has no certificate authority of its own; the operator configured its certificate",
        )
    })?;
    let mut response = Response::new(Body::from(pem));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-pem-file"));
    Ok(response)
}
