//! Decides who may do what: principals, scopes, the access policy, and the gate that answers a request with a proof or
//! a denial.
//!
//! This module imports [`oci`](crate::oci) only and does no I/O.
//!
//! Invariant: an [`Authorized`] exists only where the [`Gate`] granted access to its subject, or for the
//! [`LocalOperator`], and every operation on a repository requires one.

mod action;
pub mod audit;
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
