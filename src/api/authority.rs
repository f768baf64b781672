//! `/ca.crt`: the certificate authority that the server made for itself.
//!
//! Invariant: nobody needs credentials for it, and no key ever comes this way: what is sent was made from a certificate that
//! was parsed. Whoever fetches it does not trust this connection yet, and compares the fingerprint with one from elsewhere.

use axum::{body::Body, response::Response};
use http::{HeaderValue, header};

use super::{
    error::{ApiError, Code},
    state::Api,
};

pub(super) fn certificate(api: &Api) -> Result<Response, ApiError> {
    let pem = (api.parts().authority)().ok_or_else(|| {
        ApiError::new(
            Code::NameUnknown,
            "this server has a certificate of somebody else, not of an authority of its own",
        )
    })?;
    let mut response = Response::new(Body::from(pem));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-pem-file"));
    Ok(response)
}
