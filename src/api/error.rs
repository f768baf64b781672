//! The one shape of errors: a code, a message, perhaps a detail, and the status and headers that go with the code.
//!
//! Invariant: every error body is `{"errors":[{"code","message","detail"}]}`, never empty and never HTML; Docker reports
//! anything else as an "unexpected response". What went wrong inside is logged under the request id, not told.

use std::fmt::Display;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{oci::InvalidReference, registry};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:ident;)+) => {
        /// The error codes of the distribution specification ("Error Codes"), and those that Docker added.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $variant,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as clients read it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The status that goes with it.
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
    /// The request as such makes no sense.
    BadRequest = "UNSUPPORTED", BAD_REQUEST;
    /// A digest that is none, or that the content does not have.
    DigestInvalid = "DIGEST_INVALID", BAD_REQUEST;
    /// A body that is longer or shorter than announced.
    SizeInvalid = "SIZE_INVALID", BAD_REQUEST;
    /// A repository name that is none.
    NameInvalid = "NAME_INVALID", BAD_REQUEST;
    /// A tag that is none.
    TagInvalid = "TAG_INVALID", BAD_REQUEST;
    /// A document that is no manifest.
    ManifestInvalid = "MANIFEST_INVALID", BAD_REQUEST;
    /// A manifest that refers to what is not here.
    ManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN", BAD_REQUEST;
    /// `n` is no number.
    PaginationNumberInvalid = "PAGINATION_NUMBER_INVALID", BAD_REQUEST;
    /// The body of an upload broke off.
    BlobUploadInvalid = "BLOB_UPLOAD_INVALID", BAD_REQUEST;
    /// Who is asking?
    Unauthorized = "UNAUTHORIZED", UNAUTHORIZED;
    /// Not for this user.
    Denied = "DENIED", FORBIDDEN;
    /// No such repository.
    NameUnknown = "NAME_UNKNOWN", NOT_FOUND;
    /// No such manifest.
    ManifestUnknown = "MANIFEST_UNKNOWN", NOT_FOUND;
    /// No such blob.
    BlobUnknown = "BLOB_UNKNOWN", NOT_FOUND;
    /// No such upload.
    BlobUploadUnknown = "BLOB_UPLOAD_UNKNOWN", NOT_FOUND;
    /// Not with this method.
    Unsupported = "UNSUPPORTED", METHOD_NOT_ALLOWED;
    /// The client took too long to send.
    Timeout = "BLOB_UPLOAD_INVALID", REQUEST_TIMEOUT;
    /// A document over the limit.
    TooLarge = "SIZE_INVALID", PAYLOAD_TOO_LARGE;
    /// More tags than may be set at a time.
    TooManyTags = "TAG_INVALID", URI_TOO_LONG;
    /// A range that does not fit.
    RangeInvalid = "RANGE_INVALID", RANGE_NOT_SATISFIABLE;
    /// Later.
    TooManyRequests = "TOOMANYREQUESTS", TOO_MANY_REQUESTS;
    /// Our fault.
    Unknown = "UNKNOWN", INTERNAL_SERVER_ERROR;
    /// Not now.
    Unavailable = "UNAVAILABLE", SERVICE_UNAVAILABLE;
}

/// An error on its way to the client.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    message: String,
    detail: Option<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// An error with a message that says what is wrong and, if it can, what to do.
    pub fn new(code: Code, message: impl Display) -> Self {
        Self { code, message: message.to_string(), detail: None, headers: Vec::new() }
    }

    /// Our own failure: logged with its cause, answered without.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %chain(error), "request failed");
        Self::new(Code::Unknown, "something went wrong here; the server's log has it under the request id")
    }

    /// Adds what a program or a patient person can use.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Adds a header. A value that cannot stand in a header is left out.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).map(|value| (name, value)));
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The body alone, for answers that are not made by axum.
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
            InvalidReference::Digest(_) => Code::DigestInvalid,
            InvalidReference::Tag(_) => Code::TagInvalid,
        };
        Self::new(code, error)
    }
}

impl From<registry::Error> for ApiError {
    fn from(error: registry::Error) -> Self {
        use registry::Error;
        let code = match &error {
            Error::NameUnknown(_) => Code::NameUnknown,
            Error::BlobUnknown(_) => Code::BlobUnknown,
            Error::ManifestUnknown(_) => Code::ManifestUnknown,
            Error::UploadUnknown => Code::BlobUploadUnknown,
            Error::UploadBusy | Error::ChunkOutOfOrder { .. } => Code::RangeInvalid,
            Error::SizeMismatch { .. } => Code::SizeInvalid,
            Error::DigestMismatch { .. } => Code::DigestInvalid,
            Error::ManifestInvalid(_) => Code::ManifestInvalid,
            Error::ManifestReferencesUnknown(missing) => {
                return Self::new(Code::ManifestBlobUnknown, &error).with_detail(json!({"missing": missing}));
            }
            Error::Body(_) => Code::BlobUploadInvalid,
            Error::StoreFull(_) => return unavailable(&error, "the registry has no space left; ask its administrator"),
            Error::StoreNotWritable(_) => {
                return unavailable(&error, "the registry cannot write to its store; ask its administrator");
            }
            Error::StoreUnavailable(_) => {
                return unavailable(&error, "the registry's store does not answer; try again later");
            }
            Error::StoreDamaged(_) => return Self::internal(&error),
            Error::Interrupted => Code::Unavailable,
        };
        Self::new(code, error)
    }
}

/// The store failed: the log is told which operation on what, the client what to do.
fn unavailable(error: &registry::Error, message: &str) -> ApiError {
    tracing::error!(error = %chain(error), "the store failed");
    ApiError::new(Code::Unavailable, message)
}

/// An error and what caused it, on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
