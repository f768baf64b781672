//! Who may do what: principals, scopes, the policy, and the gate that turns a question into a proof.
//!
//! First floor: imports [`oci`](crate::oci) only, does no I/O. The one invariant: an [`Authorized`] exists only where the
//! [`Gate`] admitted its subject, or for the [`LocalOperator`], and everything that touches a repository demands one.

mod action;
mod effect;
mod gate;
mod glob;
mod mount;
mod operator;
mod policy;
mod principal;
mod reach;
mod scope;
mod who;

pub use action::{Action, Actions, Admin, Delete, Pull, Push, Right, UnknownAction};
pub use effect::NoEffect;
pub use gate::{Authorized, CatalogView, Denied, Gate, Remedy, Subject, Wanted};
pub use glob::{Glob, InvalidGlob};
pub use mount::{MountAccess, NarrowToken};
pub use operator::LocalOperator;
pub use policy::{Explanation, Passed, Policy, Rule, RuleNumber, Verdict};
pub use principal::{InvalidUserName, Principal, UserName};
pub use reach::{Limits, Reach};
pub use scope::Scope;
pub use who::{Group, InvalidWho, Who};
