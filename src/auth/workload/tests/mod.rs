//! Every way in which a token may not hold, and the ways in which an issuer may not answer.

mod issuers;
mod tokens;
