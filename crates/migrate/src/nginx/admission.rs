//! Decides for each location and method whether requests are open, need a sign-in, or are refused.
//!
//! Invariant: where a condition cannot be parsed or expressed there is an obstacle, and the actions that would be
//! allowed without it are written as a comment only.

use std::collections::BTreeSet;

use super::{
    condition::{Effect, METHODS, effect},
    scope::Scope,
    syntax::Directive,
    told, unsupported, upstream,
};
use portcullis_access::{Action, Actions};

/// The actions that a location allows.
pub(super) struct Admission<'a> {
    pub(super) anonymous: Actions,
    pub(super) signed_in: Actions,
    /// A condition that the actions do not take into account, and its line.
    pub(super) obstacle: Option<(usize, String)>,
    /// The `auth_basic_user_file` directives that apply, each file once.
    pub(super) files: Vec<&'a Directive>,
    /// The line of an `allow` or `deny` that admitted some addresses without a password (`satisfy any`).
    pub(super) addresses: Option<usize>,
}

/// Whether every connection requires a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certificates {
    Required,
    NotRequired,
}

/// The clients that a location admits, from the widest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Admits {
    Everyone,
    SignedIn,
    Nobody,
}

impl<'a> Admission<'a> {
    /// The admission of a location within `server`, or of the server itself, which answers where no location does.
    pub(super) fn of(location: Scope<'a>, server: Scope<'a>, certificates: Certificates) -> Self {
        let mut admission = Self {
            anonymous: Actions::NONE,
            signed_in: Actions::NONE,
            obstacle: None,
            files: Vec::new(),
            addresses: None,
        };
        let refused = admission.refused(location, server, certificates);
        // A push also reads, to find out which blobs exist. The DELETE that cancels an upload counts as a part of the
        // push and not as a deletion.
        for (action, methods) in
            [(Action::Pull, &METHODS[..2]), (Action::Push, &METHODS[..5]), (Action::Delete, &METHODS[5..])]
        {
            let admits = methods.iter().map(|method| {
                let admits = admission.method(location, method, certificates);
                if refused.contains(method) { Admits::Nobody } else { admits }
            });
            let strictest = admits.max().unwrap_or(Admits::Nobody);
            let one: Actions = [action].into_iter().collect();
            if strictest <= Admits::SignedIn {
                admission.signed_in = admission.signed_in.union(one);
            }
            if strictest == Admits::Everyone {
                admission.anonymous = admission.anonymous.union(one);
            }
        }
        admission
    }

    /// Records the first obstacle.
    fn hindered(&mut self, line: usize, why: &str) {
        self.obstacle.get_or_insert_with(|| (line, why.to_owned()));
    }

    /// The methods that `return` and `if` refuse for all clients. Conditions of `if` and `rewrite` on paths are read by
    /// [`barrier`](super::barrier), for all locations together.
    fn refused(
        &mut self,
        location: Scope<'a>,
        server: Scope<'a>,
        certificates: Certificates,
    ) -> BTreeSet<&'static str> {
        let mut refused = BTreeSet::new();
        let pass = location.own().iter().find(|directive| directive.name == "proxy_pass");
        match pass {
            None => refused.extend(METHODS),
            Some(pass) => match upstream::target(pass, location) {
                None => self.hindered(pass.line, "the request decides which server it is passed on to"),
                Some(target) if !target.keeps_path(location) => {
                    self.hindered(pass.line, "requests are passed on under another path");
                }
                Some(_) => {}
            },
        }
        if location.find("internal").is_some() {
            refused.extend(METHODS);
        }
        let own = if std::ptr::eq(location.own(), server.own()) { &[] } else { location.own() };
        for directive in server.own().iter().chain(own) {
            match directive.name.as_str() {
                "return" => refused.extend(METHODS),
                "if" => match effect(directive) {
                    Effect::None | Effect::RefusesPaths(_) => {}
                    Effect::RequiresCertificate if certificates == Certificates::Required => {}
                    Effect::RefusesHosts(hosts) if hosts.lets_through(server) => {}
                    Effect::Refuses(methods) => refused.extend(methods),
                    Effect::RequiresCertificate | Effect::RefusesHosts(_) | Effect::Unknown => {
                        self.hindered(directive.line, "an `if` refuses some requests");
                    }
                },
                _ => {}
            }
        }
        refused
    }

    fn method(&mut self, location: Scope<'a>, method: &str, certificates: Certificates) -> Admits {
        let limit =
            location.own().iter().find(|directive| directive.name == "limit_except" && !excepts(directive, method));
        let scope = limit.map_or(location, |limit| location.within(limit));
        self.conditions(scope, certificates);
        let list = scope.holding(&["allow", "deny"]);
        let addresses = Addresses::of(&list);
        let is_any = scope.find("satisfy").is_some_and(|directive| directive.first() == "any");
        if !self.asks_for_password(scope) {
            return match addresses {
                Addresses::All => Admits::Everyone,
                Addresses::None => Admits::Nobody,
                Addresses::Some(first) => {
                    self.only_addresses(first);
                    Admits::Everyone
                }
            };
        }
        match (addresses, is_any) {
            (Addresses::All, true) if !list.is_empty() => Admits::Everyone,
            (Addresses::All | Addresses::None, true) | (Addresses::All, false) => Admits::SignedIn,
            (Addresses::None, false) => Admits::Nobody,
            (Addresses::Some(first), true) => {
                self.addresses = Some(first.line);
                Admits::SignedIn
            }
            (Addresses::Some(first), false) => {
                self.only_addresses(first);
                Admits::SignedIn
            }
        }
    }

    fn only_addresses(&mut self, first: &Directive) {
        let setting = unsupported::find(&first.name).map_or("", |row| row.setting);
        self.hindered(first.line, &format!("only some addresses were let in (there is no setting {setting})"));
    }

    fn asks_for_password(&mut self, scope: Scope<'a>) -> bool {
        let Some(realm) = scope.find("auth_basic").filter(|directive| directive.first() != "off") else { return false };
        match scope.find("auth_basic_user_file") {
            Some(file) if !self.files.iter().any(|known| known.first() == file.first()) => self.files.push(file),
            Some(_) => {}
            None => self.hindered(realm.line, "there is no auth_basic_user_file"),
        }
        if realm.first().contains('$') {
            self.hindered(realm.line, "whether a password is asked for depends on the request");
        }
        true
    }

    /// Records obstacles for conditions that are neither passwords nor addresses.
    fn conditions(&mut self, scope: Scope<'a>, certificates: Certificates) {
        for directive in scope.of_http().flatten() {
            let asks = directive.name == "ssl_verify_client" && directive.first() == "on";
            if asks && certificates != Certificates::Required {
                self.hindered(directive.line, "clients had to present a certificate");
            }
            if let Some(why) = told::may_restrict(directive) {
                self.hindered(directive.line, &why);
            }
        }
    }
}

/// Whether a `limit_except` exempts the method. `GET` exempts HEAD as well.
fn excepts(limit: &Directive, method: &str) -> bool {
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
    fn of(list: &[&'a Directive]) -> Self {
        let Some(first) = list.first() else { return Self::All };
        match (first.name.as_str(), first.first()) {
            ("allow", "all") => Self::All,
            ("deny", "all") => Self::None,
            _ => Self::Some(first),
        }
    }
}
