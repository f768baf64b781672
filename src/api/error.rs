//! Defines API errors: a code, a message, an optional detail, and the HTTP status and headers of the code.
//!
//! Invariant: every error body is `{"errors":[{"code","message","detail"}]}`, never empty and never HTML; Docker
//! reports anything else as an "unexpected response". The cause of an internal error is logged under the request id and
//! not sent to the client.

use std::fmt::Display;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{oci::InvalidReference, registry, text::error_chain};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:ident;)+) => {
        /// The error codes of the distribution specification ("Error Codes"), and those that Docker added.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)+
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as it appears in the error body.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The HTTP status of the response.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)+
                }
            }
        }
    };
}

codes! {
    /// The request is malformed.
    BadRequest = "UNSUPPORTED", BAD_REQUEST;
    /// The digest is malformed, or the content has another one.
    DigestInvalid = "DIGEST_INVALID", BAD_REQUEST;
    /// The body is longer or shorter than announced.
    SizeInvalid = "SIZE_INVALID", BAD_REQUEST;
    /// The repository name is malformed.
    NameInvalid = "NAME_INVALID", BAD_REQUEST;
    /// The tag is malformed.
    TagInvalid = "TAG_INVALID", BAD_REQUEST;
    /// The document is not a valid manifest.
    ManifestInvalid = "MANIFEST_INVALID", BAD_REQUEST;
    /// The manifest refers to a blob or manifest that the repository does not have.
    ManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN", BAD_REQUEST;
    /// The page size `n` is not a number.
    PaginationNumberInvalid = "PAGINATION_NUMBER_INVALID", BAD_REQUEST;
    /// The body of an upload broke off.
    BlobUploadInvalid = "BLOB_UPLOAD_INVALID", BAD_REQUEST;
    /// The request has no credentials, or they are not valid.
    Unauthorized = "UNAUTHORIZED", UNAUTHORIZED;
    /// The caller has no permission for the operation.
    Denied = "DENIED", FORBIDDEN;
    /// The repository does not exist.
    NameUnknown = "NAME_UNKNOWN", NOT_FOUND;
    /// The manifest does not exist.
    ManifestUnknown = "MANIFEST_UNKNOWN", NOT_FOUND;
    /// The blob does not exist.
    BlobUnknown = "BLOB_UNKNOWN", NOT_FOUND;
    /// The upload session does not exist.
    BlobUploadUnknown = "BLOB_UPLOAD_UNKNOWN", NOT_FOUND;
    /// The path does not allow the method.
    Unsupported = "UNSUPPORTED", METHOD_NOT_ALLOWED;
    /// The client took too long to send the body.
    Timeout = "BLOB_UPLOAD_INVALID", REQUEST_TIMEOUT;
    /// The body exceeds the size limit.
    TooLarge = "SIZE_INVALID", PAYLOAD_TOO_LARGE;
    /// The request sets more tags than one request may.
    TooManyTags = "TAG_INVALID", URI_TOO_LONG;
    /// The range does not fit the content or the offset of the upload.
    RangeInvalid = "RANGE_INVALID", RANGE_NOT_SATISFIABLE;
    /// The client made too many failed attempts; it may try again later.
    TooManyRequests = "TOOMANYREQUESTS", TOO_MANY_REQUESTS;
    /// An internal error of the server.
    Unknown = "UNKNOWN", INTERNAL_SERVER_ERROR;
    /// The server cannot handle the request at present.
    Unavailable = "UNAVAILABLE", SERVICE_UNAVAILABLE;
}

/// An error response that has not been sent yet.
#[derive(Debug)]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    detail: Option<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// An error with a message for the user: the cause and, if possible, a remedy.
    pub fn new(code: ErrorCode, message: impl Display) -> Self {
        Self { code, message: message.to_string(), detail: None, headers: Vec::new() }
    }

    /// An internal error: its cause is logged and not part of the response.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %error_chain(error), "request failed");
        Self::new(ErrorCode::Unknown, "something went wrong here; the server's log has it under the request id")
    }

    /// Adds the `detail` of the error body: machine-readable facts about the error.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Adds a header. A value that is not a valid header value is left out.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).map(|value| (name, value)));
        self
    }

    /// The error code, which decides the HTTP status.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The JSON body alone, for responses that are not built by axum.
    #[must_use]
    pub fn body(&self) -> String {
        let mut error = json!({"code": self.code.as_str(), "message": self.message});
        if let Some(detail) = &self.detail {
            error["detail"] = detail.clone();
        }
        json!({"errors": [error]}).to_string()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.code.status();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<InvalidReference> for ApiError {
    fn from(error: InvalidReference) -> Self {
        let code = match error {
            InvalidReference::Digest(_) => ErrorCode::DigestInvalid,
            InvalidReference::Tag(_) => ErrorCode::TagInvalid,
        };
        Self::new(code, error)
    }
}

impl From<registry::Error> for ApiError {
    fn from(error: registry::Error) -> Self {
        use registry::Error;
        let code = match &error {
            Error::NameUnknown(_) => ErrorCode::NameUnknown,
            Error::BlobUnknown(_) => ErrorCode::BlobUnknown,
            Error::ManifestUnknown(_) => ErrorCode::ManifestUnknown,
            Error::UploadUnknown => ErrorCode::BlobUploadUnknown,
            Error::UploadBusy { .. } | Error::ChunkOutOfOrder { .. } => ErrorCode::RangeInvalid,
            Error::SizeMismatch { .. } => ErrorCode::SizeInvalid,
            Error::DigestMismatch { .. } => ErrorCode::DigestInvalid,
            Error::ManifestInvalid(_) => ErrorCode::ManifestInvalid,
            Error::ManifestReferencesUnknown(missing) => {
                return Self::new(ErrorCode::ManifestBlobUnknown, &error).with_detail(json!({"missing": missing}));
            }
            Error::Body(_) => ErrorCode::BlobUploadInvalid,
            Error::StoreFull(_) => return unavailable(&error, "the registry has no space left; ask its administrator"),
            Error::StoreNotWritable(_) => {
                return unavailable(&error, "the registry cannot write to its store; ask its administrator");
            }
            Error::StoreUnavailable(_) => {
                return unavailable(&error, "the registry's store does not answer; try again later");
            }
            Error::StoreDamaged(_) => return Self::internal(&error),
            Error::Interrupted => ErrorCode::Unavailable,
        };
        Self::new(code, error)
    }
}

/// A 503 error for a failure of the store: the log gets the operation and its cause, the client gets `message`.
fn unavailable(error: &registry::Error, message: &str) -> ApiError {
    tracing::error!(error = %error_chain(error), "the store failed");
    ApiError::new(ErrorCode::Unavailable, message)
}
