//! Whom a location lets in, for each method.
//!
//! Invariant: where a condition cannot be read or expressed there is an obstacle, and what would be allowed without it is
//! shown to people only.

use std::collections::BTreeSet;

use super::{
    condition::{Effect, METHODS, effect},
    scope::Scope,
    syntax::Directive,
};
use crate::access::{Action, Actions};

/// What a location allows.
pub(super) struct Admission<'a> {
    pub(super) anonymous: Actions,
    pub(super) signed_in: Actions,
    /// Why that is not all that must be known, and the line of it.
    pub(super) obstacle: Option<(usize, String)>,
    /// The users files that passwords are compared with.
    pub(super) files: Vec<&'a Directive>,
    /// Addresses that came in without a password.
    pub(super) addresses: Option<usize>,
}

/// From the widest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Admits {
    Everyone,
    SignedIn,
    Nobody,
}

impl<'a> Admission<'a> {
    /// Of a location within `server`.
    pub(super) fn of(location: Scope<'a>, server: Scope<'a>) -> Self {
        let mut admission = Self {
            anonymous: Actions::NONE,
            signed_in: Actions::NONE,
            obstacle: None,
            files: Vec::new(),
            addresses: None,
        };
        let refused = admission.refused(location, server);
        for (action, methods) in
            [(Action::Pull, &METHODS[..2]), (Action::Push, &METHODS[2..5]), (Action::Delete, &METHODS[5..])]
        {
            let admits = methods.iter().map(|method| {
                let admits = admission.method(location, method);
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

    fn hindered(&mut self, line: usize, why: &str) {
        self.obstacle.get_or_insert_with(|| (line, why.to_owned()));
    }

    /// The methods that `return` and `if` refuse, whoever asks.
    fn refused(&mut self, location: Scope<'a>, server: Scope<'a>) -> BTreeSet<&'static str> {
        let mut refused = BTreeSet::new();
        if !passes_on(location.own()) {
            refused.extend(METHODS);
        }
        for directive in server.own().iter().chain(location.own()) {
            match directive.name.as_str() {
                "return" | "internal" => refused.extend(METHODS),
                "if" => match effect(directive) {
                    Effect::None => {}
                    Effect::Refuses(methods) => refused.extend(methods),
                    Effect::Unknown => self.hindered(directive.line, "an `if` refuses some requests"),
                },
                _ => {}
            }
        }
        refused
    }

    fn method(&mut self, location: Scope<'a>, method: &str) -> Admits {
        let limit =
            location.own().iter().find(|directive| directive.name == "limit_except" && !excepts(directive, method));
        let scope = limit.map_or(location, |limit| location.within(limit));
        self.conditions(scope);
        let list = scope.holding(&["allow", "deny"]);
        let addresses = Addresses::of(&list);
        let is_any = scope.find("satisfy").is_some_and(|directive| directive.first() == "any");
        if !self.asks_for_password(scope) {
            return match addresses {
                Addresses::All => Admits::Everyone,
                Addresses::None => Admits::Nobody,
                Addresses::Some(line) => {
                    self.hindered(line, "only some addresses were let in");
                    Admits::Everyone
                }
            };
        }
        match (addresses, is_any) {
            (Addresses::All, true) if !list.is_empty() => Admits::Everyone,
            (Addresses::All | Addresses::None, true) | (Addresses::All, false) => Admits::SignedIn,
            (Addresses::None, false) => Admits::Nobody,
            (Addresses::Some(line), true) => {
                self.addresses = Some(line);
                Admits::SignedIn
            }
            (Addresses::Some(line), false) => {
                self.hindered(line, "only some addresses were let in");
                Admits::SignedIn
            }
        }
    }

    fn asks_for_password(&mut self, scope: Scope<'a>) -> bool {
        let realm = scope.find("auth_basic").filter(|directive| directive.first() != "off");
        let Some(realm) = realm else {
            let is_asked = scope.find("auth_basic").is_none();
            let hidden = scope.levels_of_server().flatten().find(|directive| directive.name == "include");
            if let Some(include) = hidden.filter(|_| is_asked) {
                self.hindered(include.line, "the included file may ask for passwords");
            }
            return false;
        };
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

    /// Conditions that are neither passwords nor addresses.
    fn conditions(&mut self, scope: Scope<'a>) {
        for directive in scope.outwards().flatten() {
            let (name, first) = (directive.name.as_str(), directive.first());
            if name == "ssl_verify_client" && !["off", "optional", "optional_no_ca"].contains(&first) {
                self.hindered(directive.line, "clients had to show a certificate");
            }
            let is_password = ["auth_basic", "auth_basic_user_file", "auth_delay", "auth_request_set"].contains(&name);
            let is_program = ["access_by", "rewrite_by", "server_rewrite_by", "js_access"]
                .iter()
                .any(|start| name.starts_with(start));
            if is_program || (name.contains("auth") && !is_password && !name.starts_with("proxy_") && first != "off") {
                self.hindered(directive.line, &format!("{name} decided who was let in"));
            }
        }
    }
}

/// Whether requests reach the registry at all.
fn passes_on(block: &[Directive]) -> bool {
    block
        .iter()
        .any(|directive| directive.name == "proxy_pass" || (directive.name == "if" && passes_on(directive.inside())))
}

/// Whether the method is among those that a `limit_except` leaves alone. GET stands for HEAD as well.
fn excepts(limit: &Directive, method: &str) -> bool {
    let method = if method == "HEAD" { "GET" } else { method };
    limit.arguments.iter().any(|argument| argument == method)
}

/// Whom `allow` and `deny` let in.
enum Addresses {
    All,
    None,
    /// It depends; the first line of them.
    Some(usize),
}

impl Addresses {
    fn of(list: &[&Directive]) -> Self {
        let Some(first) = list.first() else { return Self::All };
        match (first.name.as_str(), first.first()) {
            ("allow", "all") => Self::All,
            ("deny", "all") => Self::None,
            _ => Self::Some(first.line),
        }
    }
}
