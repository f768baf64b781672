//! Decides who may do what: principals, scopes, the access policy, and the gate that answers a request with a proof or
//! a denial.
//!
//! This module imports [`oci`](portcullis_oci) only and does no I/O.
//!
//! Invariant: an [`Authorized`] exists only where the [`Gate`] granted access to its subject, or for the
//! [`LocalOperator`], and every operation on a repository requires one.

mod action;
pub mod audit;
mod gate;
mod glob;
mod ineffective_rules;
mod local_operator;
mod mount_access;
mod policy;
mod principal;
mod restriction;
mod scope;
mod subject_matcher;
mod wildcard;

pub use action::{Action, Actions, Admin, Delete, Pull, Push, Right, UnknownAction};
pub use gate::{AccessChallenge, Authorized, CatalogView, Denied, Gate, RequestedAccess, Subject};
pub use glob::{Glob, InvalidGlob};
pub use ineffective_rules::NoEffect;
pub use local_operator::LocalOperator;
pub use mount_access::{MountAccess, NarrowToken};
pub use policy::{Explanation, Policy, PolicyDecision, Rule, RuleNumber, SkipReason};
pub use principal::{InvalidUserName, Principal, UserName};
pub use restriction::{CredentialLimits, Restriction};
pub use scope::Scope;
pub use subject_matcher::{Group, InvalidSubjectMatcher, SubjectMatcher};
pub use wildcard::{WildcardToken, wildcard_matches};
