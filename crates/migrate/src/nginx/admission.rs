//! Decides for each location and method whether requests are open, need a sign-in, or are refused.
//!
//! Invariant: where a condition cannot be parsed or expressed there is an obstacle, and the actions that would be
//! allowed without it are written as a comment only.

use std::collections::BTreeSet;

use super::{
    if_condition::{IfEffect, METHODS, effect},
    missing_settings, proxy_target,
    scope::Scope,
    syntax::Directive,
    unsupported_directives,
};
use portcullis_access::{Action, Actions};

/// The actions that a location allows.
pub(super) struct Admission<'a> {
    pub(super) anonymous: Actions,
    pub(super) signed_in: Actions,
    /// A condition that the actions do not take into account, and its line.
    pub(super) obstacle: Option<(usize, String)>,
    /// The `auth_basic_user_file` directives that apply, each file once.
    pub(super) users_files: Vec<&'a Directive>,
    /// The line of an `allow` or `deny` that admitted some addresses without a password (`satisfy any`).
    pub(super) address_line: Option<usize>,
}

/// Whether every connection requires a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientCertificates {
    Required,
    NotRequired,
}

/// The clients that a location admits, from the widest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AdmissionLevel {
    Everyone,
    SignedIn,
    Denied,
}

impl<'a> Admission<'a> {
    /// The admission of a location within `server`, or of the server itself, which answers where no location does.
    pub(super) fn new(location: Scope<'a>, server: Scope<'a>, certificates: ClientCertificates) -> Self {
        let mut admission = Self {
            anonymous: Actions::NONE,
            signed_in: Actions::NONE,
            obstacle: None,
            users_files: Vec::new(),
            address_line: None,
        };
        let refused = admission.refused_methods(location, server, certificates);
        // A push also reads, to find out which blobs exist. The DELETE that cancels an upload counts as a part of the
        // push and not as a deletion.
        for (action, methods) in
            [(Action::Pull, &METHODS[..2]), (Action::Push, &METHODS[..5]), (Action::Delete, &METHODS[5..])]
        {
            let admits = methods.iter().map(|method| {
                let admits = admission.level_for_method(location, method, certificates);
                if refused.contains(method) { AdmissionLevel::Denied } else { admits }
            });
            let strictest = admits.max().unwrap_or(AdmissionLevel::Denied);
            let one: Actions = [action].into_iter().collect();
            if strictest <= AdmissionLevel::SignedIn {
                admission.signed_in = admission.signed_in.union(one);
            }
            if strictest == AdmissionLevel::Everyone {
                admission.anonymous = admission.anonymous.union(one);
            }
        }
        admission
    }

    /// Records the first obstacle.
    fn add_obstacle(&mut self, line: usize, why: &str) {
        self.obstacle.get_or_insert_with(|| (line, why.to_owned()));
    }

    /// The methods that `return` and `if` refuse for all clients. Conditions of `if` and `rewrite` on paths are read by
    /// [`path_conditions`](super::path_conditions), for all locations together.
    fn refused_methods(
        &mut self,
        location: Scope<'a>,
        server: Scope<'a>,
        certificates: ClientCertificates,
    ) -> BTreeSet<&'static str> {
        let mut refused = BTreeSet::new();
        let pass = location.directives().iter().find(|directive| directive.name == "proxy_pass");
        match pass {
            None => refused.extend(METHODS),
            Some(pass) => match proxy_target::resolve_target(pass, location) {
                None => self.add_obstacle(pass.line, "the request decides which server it is passed on to"),
                Some(target) if !target.keeps_path(location) => {
                    self.add_obstacle(pass.line, "requests are passed on under another path");
                }
                Some(_) => {}
            },
        }
        if location.find("internal").is_some() {
            refused.extend(METHODS);
        }
        let own = if std::ptr::eq(location.directives(), server.directives()) { &[] } else { location.directives() };
        for directive in server.directives().iter().chain(own) {
            match directive.name.as_str() {
                "return" => refused.extend(METHODS),
                "if" => match effect(directive) {
                    IfEffect::None | IfEffect::RefusesUserAgents | IfEffect::RefusesPaths(_) => {}
                    IfEffect::RequiresCertificate if certificates == ClientCertificates::Required => {}
                    IfEffect::RefusesHosts(hosts) if hosts.lets_through(server) => {}
                    IfEffect::Refuses(methods) => refused.extend(methods),
                    IfEffect::RequiresCertificate | IfEffect::RefusesHosts(_) | IfEffect::Unknown => {
                        self.add_obstacle(directive.line, "an `if` refuses some requests");
                    }
                },
                _ => {}
            }
        }
        refused
    }

    fn level_for_method(
        &mut self,
        location: Scope<'a>,
        method: &str,
        certificates: ClientCertificates,
    ) -> AdmissionLevel {
        let limit = location
            .directives()
            .iter()
            .find(|directive| directive.name == "limit_except" && !exempts(directive, method));
        let scope = limit.map_or(location, |limit| location.within(limit));
        self.add_condition_obstacles(scope, certificates);
        let list = scope.find_all(&["allow", "deny"]);
        let addresses = Addresses::from_directives(&list);
        let is_any = scope.find("satisfy").is_some_and(|directive| directive.first_argument() == "any");
        if !self.requires_password(scope) {
            return match addresses {
                Addresses::All => AdmissionLevel::Everyone,
                Addresses::None => AdmissionLevel::Denied,
                Addresses::Some(first) => {
                    self.add_address_obstacle(first);
                    AdmissionLevel::Everyone
                }
            };
        }
        match (addresses, is_any) {
            (Addresses::All, true) if !list.is_empty() => AdmissionLevel::Everyone,
            (Addresses::All | Addresses::None, true) | (Addresses::All, false) => AdmissionLevel::SignedIn,
            (Addresses::None, false) => AdmissionLevel::Denied,
            (Addresses::Some(first), true) => {
                self.address_line = Some(first.line);
                AdmissionLevel::SignedIn
            }
            (Addresses::Some(first), false) => {
                self.add_address_obstacle(first);
                AdmissionLevel::SignedIn
            }
        }
    }

    fn add_address_obstacle(&mut self, first: &Directive) {
        let setting = missing_settings::find_row(&first.name).map_or("", |row| row.setting);
        self.add_obstacle(first.line, &format!("only some addresses were let in (there is no setting {setting})"));
    }

    fn requires_password(&mut self, scope: Scope<'a>) -> bool {
        let Some(realm) = scope.find("auth_basic").filter(|directive| directive.first_argument() != "off") else {
            return false;
        };
        match scope.find("auth_basic_user_file") {
            Some(file) if !self.users_files.iter().any(|known| known.first_argument() == file.first_argument()) => {
                self.users_files.push(file);
            }
            Some(_) => {}
            None => self.add_obstacle(realm.line, "there is no auth_basic_user_file"),
        }
        if realm.first_argument().contains('$') {
            self.add_obstacle(realm.line, "whether a password is asked for depends on the request");
        }
        true
    }

    /// Records obstacles for conditions that are neither passwords nor addresses.
    fn add_condition_obstacles(&mut self, scope: Scope<'a>, certificates: ClientCertificates) {
        for directive in scope.blocks_within_http().flatten() {
            let asks = directive.name == "ssl_verify_client" && directive.first_argument() == "on";
            if asks && certificates != ClientCertificates::Required {
                self.add_obstacle(directive.line, "clients had to present a certificate");
            }
            if let Some(why) = unsupported_directives::may_restrict(directive) {
                self.add_obstacle(directive.line, &why);
            }
        }
    }
}

/// Whether a `limit_except` exempts the method. `GET` exempts HEAD as well.
fn exempts(limit: &Directive, method: &str) -> bool {
    let names = |wanted: &str| limit.arguments.iter().any(|argument| argument.eq_ignore_ascii_case(wanted));
    names(method) || (method == "HEAD" && names("GET"))
}

/// The addresses that `allow` and `deny` admit.
enum Addresses<'a> {
    All,
    None,
    /// Some addresses; the first directive.
    Some(&'a Directive),
}

impl<'a> Addresses<'a> {
    fn from_directives(list: &[&'a Directive]) -> Self {
        let Some(first) = list.first() else { return Self::All };
        match (first.name.as_str(), first.first_argument()) {
            ("allow", "all") => Self::All,
            ("deny", "all") => Self::None,
            _ => Self::Some(first),
        }
    }
}
