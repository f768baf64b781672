//! Uploads that outlive their token.
