//! Who may do what: principals, scopes, the policy, and the gate that turns a question into a proof.
//!
//! First floor: imports [`oci`](crate::oci) only, does no I/O. The one invariant: an [`Authorized`] exists only where the
//! [`Gate`] admitted its subject, and everything that touches a repository demands one.

mod principal;

pub use principal::{InvalidUserName, Principal, UserName};
