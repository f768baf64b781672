//! Resolves the settings of all sources into the [`Config`] of each module.
//!
//! Invariant: all settings are read even after a problem was found, so that all problems are reported at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use super::{
    Config,
    keys::{self, Key},
    kind::Kind,
    layers::{self, Layers, RawRule},
    problem::{Place, Problem, quote},
    raw::{Located, Raw},
    suggest,
};
use portcullis_access::{Group, InvalidWho, Policy, Rule, UserName, Who};
use portcullis_auth as auth;
use portcullis_registry::{self as registry, GcConfig, Untagged};
use portcullis_server as server;
use portcullis_storage as storage;
use portcullis_telemetry as telemetry;
use portcullis_tls::{self as tls, Hostname, acme};

/// The tables for a certificate that is not self-signed.
const FILES: &str = "tls.files";
const ACME: &str = "tls.acme";

/// Resolves the configuration; `None` only if a problem was added to `problems`.
pub(super) fn resolve(layers: &Layers, machine_name: Option<&str>, problems: &mut Vec<Problem>) -> Option<Config> {
    let mut resolver = Resolver { layers, problems };
    let hostnames = resolver.hostnames(machine_name);
    let server = resolver.server();
    let auth = resolver.auth(hostnames.first());
    let tls = resolver.tls(hostnames);
    let workloads = resolver.workloads();
    let policy = resolver.policy();
    let registry = resolver.registry();
    let storage = resolver.storage();
    let telemetry = resolver.telemetry();
    Some(Config {
        server: server?,
        tls: tls?,
        auth: auth?,
        workloads: workloads?,
        policy: policy?,
        registry: registry?,
        storage: storage?,
        telemetry: telemetry?,
    })
}

pub(super) struct Resolver<'a> {
    pub(super) layers: &'a Layers,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Resolver<'_> {
    fn value<K: Kind>(&mut self, key: &Key<K>) -> Option<K::Value> {
        self.layers.value(key, self.problems)
    }

    fn hostnames(&mut self, machine_name: Option<&str>) -> Vec<Hostname> {
        let given = self.value(&keys::HOSTNAMES).unwrap_or_else(|| Hostname::defaults(machine_name));
        let mut seen = BTreeSet::new();
        given.into_iter().filter(|name| seen.insert(name.clone())).collect()
    }

    fn server(&mut self) -> Option<server::Config> {
        let (listen, redirect) = (self.value(&keys::LISTEN), self.value(&keys::REDIRECT));
        self.refuse_doubles(listen.as_deref().unwrap_or_default(), redirect);
        let proxies = self.proxies();
        let connections = self.value(&keys::CONNECTIONS);
        let handshake_timeout = self.value(&keys::HANDSHAKE_TIMEOUT);
        let header_timeout = self.value(&keys::HEADER_TIMEOUT);
        let idle_timeout = self.value(&keys::IDLE_TIMEOUT);
        let drain_timeout = self.value(&keys::DRAIN_TIMEOUT);
        let limits = server::Limits {
            connections: connections?,
            handshake_timeout: handshake_timeout?,
            header_timeout: header_timeout?,
            idle_timeout: idle_timeout?,
            drain_timeout: drain_timeout?,
        };
        Some(server::Config { listen: listen?, redirect, proxies: proxies?, limits })
    }

    fn proxies(&mut self) -> Option<server::Proxies> {
        let trusted = self.value(&keys::TRUSTED_PROXIES).unwrap_or_default();
        let protocol = self.value(&keys::PROXY_PROTOCOL);
        if protocol == Some(true) && self.layers.place(keys::TRUSTED_PROXIES.path).is_none() {
            let place = self.layers.place(keys::PROXY_PROTOCOL.path).cloned().unwrap_or(Place::Default);
            let problem = Problem::new(place, "proxy_protocol is for trusted_proxies, and there are none");
            let hint = format!("for example {}", example(&keys::TRUSTED_PROXIES));
            self.problems.push(problem.about(keys::PROXY_PROTOCOL.path).hint(hint));
        }
        Some(server::Proxies { trusted, protocol: protocol? })
    }

    /// Reports an address that is configured twice. Port 0 is exempt: it means any free port.
    fn refuse_doubles(&mut self, listen: &[SocketAddr], redirect: Option<SocketAddr>) {
        for (index, address) in listen.iter().enumerate().filter(|(_, address)| address.port() != 0) {
            if listen[..index].contains(address) {
                self.problem_at(keys::LISTEN.path, format!("{address} is there twice"));
            }
            if redirect == Some(*address) {
                let message = format!("{address} is already in listen, where HTTPS is served");
                self.problem_at(keys::REDIRECT.path, message);
            }
        }
    }

    fn problem_at(&mut self, path: &str, message: String) {
        let place = self.layers.place(path).cloned().unwrap_or(Place::Default);
        self.problems.push(Problem::new(place, message).about(path).hint("remove one of the two"));
    }

    /// A certificate from `[tls.files]` or `[tls.acme]` in any source takes precedence over a self-signed one, also if
    /// a source of higher precedence sets the folder of the self-signed one.
    fn tls(&mut self, hostnames: Vec<Hostname>) -> Option<tls::Config> {
        self.layers.refuse_several([FILES, ACME, "tls.self_signed"], self.problems);
        let minimum_version = self.value(&keys::MINIMUM_VERSION);
        let directory = self.value(&keys::SELF_SIGNED_DIRECTORY);
        let source = match self.layers.choice([FILES, ACME]) {
            None => tls::Source::SelfSigned { directory: directory? },
            Some((FILES, place)) => {
                let certificate = self.required(&keys::FILES_CERTIFICATE, place);
                let key = self.required(&keys::FILES_KEY, place);
                let more = self.further_certificates();
                tls::Source::Files { certificate: certificate?, key: key?, more: more? }
            }
            Some((_, place)) => tls::Source::Acme(self.acme(place, &hostnames)?),
        };
        let client = match self.layers.choice(["tls.client"]) {
            None => None,
            Some((_, place)) => Some(self.client(place)?),
        };
        Some(tls::Config { minimum_version: minimum_version?, source, hostnames, client })
    }

    fn client(&mut self, place: &Place) -> Option<tls::ClientConfig> {
        let ca = self.required(&keys::CLIENT_CA, place);
        let (mode, user) = (self.value(&keys::CLIENT_MODE), self.value(&keys::CLIENT_USER));
        let crl = self.layers.place(keys::CLIENT_CRL.path).is_some().then(|| self.value(&keys::CLIENT_CRL));
        Some(tls::ClientConfig { ca: ca?, crl: crl.map_or(Some(None), |crl| crl.map(Some))?, mode: mode?, user: user? })
    }

    fn further_certificates(&mut self) -> Option<Vec<tls::Pair>> {
        let layers = self.layers;
        // All pairs are read before any is given up: an invalid one must not hide the problems of the next one.
        let pairs: Vec<_> = layers.certificates.iter().map(|table| self.pair(table)).collect();
        pairs.into_iter().collect()
    }

    fn pair(&mut self, table: &RawRule) -> Option<tls::Pair> {
        let certificate = self.of_table(table, &keys::MORE_CERTIFICATE, "pair");
        let key = self.of_table(table, &keys::MORE_KEY, "pair");
        Some(tls::Pair { certificate: certificate?, key: key? })
    }

    fn acme(&mut self, place: &Place, hostnames: &[Hostname]) -> Option<acme::Config> {
        let directory = self.value(&keys::ACME_DIRECTORY);
        let contact = self.value(&keys::ACME_CONTACT).unwrap_or_default();
        let ca = self.value(&keys::ACME_CA);
        let challenge = self.value(&keys::ACME_CHALLENGE);
        let folder = self.acme_folder();
        // The host name of the machine, which is the default, is rarely one that an authority can validate.
        let is_named = self.layers.place(keys::HOSTNAMES.path).is_some();
        if !is_named || !hostnames.iter().any(|name| acme::orderable(name).is_some()) {
            let message = "there is no host name to order a certificate for".to_owned();
            let hint =
                format!("write the DNS names of this server at the top, for example {}", example(&keys::HOSTNAMES));
            self.problems.push(Problem::new(place.clone(), message).about(ACME).hint(hint));
        }
        if challenge == Some(acme::Preference::Only(acme::Challenge::Http01))
            && self.layers.place(keys::REDIRECT.path).is_none()
        {
            let place = self.layers.place(keys::ACME_CHALLENGE.path).unwrap_or(place).clone();
            let message = "http-01 is answered where redirect listens, and that is not set".to_owned();
            let hint = "write redirect = \"0.0.0.0:80\" at the top, or leave the challenge out";
            self.problems.push(Problem::new(place, message).about(keys::ACME_CHALLENGE.path).hint(hint));
        }
        Some(acme::Config { directory: directory?, contact, ca, challenge: challenge?, folder: folder? })
    }

    /// The folder of the ACME account and certificate. The flag `--certs` overrides it, as for the self-signed
    /// certificate.
    fn acme_folder(&mut self) -> Option<PathBuf> {
        let own = self.value(&keys::ACME_FOLDER);
        let certs = self.value(&keys::SELF_SIGNED_DIRECTORY);
        let by_flag = matches!(self.layers.place(keys::SELF_SIGNED_DIRECTORY.path), Some(Place::Flag(_)));
        if by_flag { certs } else { own.or(certs) }
    }

    fn required<K: Kind>(&mut self, key: &Key<K>, table: &Place) -> Option<K::Value> {
        // A pair of flags of which one is missing has a message of its own.
        if self.layers.place(key.path).is_none() && !matches!(table, Place::Flag(_)) {
            let problem = Problem::new(table.clone(), format!("{} is missing", key.path));
            self.problems.push(problem.hint(format!("for example {}", example(key))));
        }
        self.value(key)
    }

    fn auth(&mut self, first_hostname: Option<&Hostname>) -> Option<auth::Config> {
        let first_hostname = first_hostname.map(ToString::to_string);
        let htpasswd = self.value(&keys::HTPASSWD);
        let legacy_hashes = self.value(&keys::LEGACY_HASHES);
        let challenge = self.value(&keys::CHALLENGE);
        let lockout = self.value(&keys::LOCKOUT_ATTEMPTS).and_then(|count| u32::try_from(count).ok()?.try_into().ok());
        let lifetime = self.value(&keys::TOKEN_LIFETIME);
        let issuer = self.value(&keys::TOKEN_ISSUER).or_else(|| first_hostname.clone());
        let service = self.value(&keys::TOKEN_SERVICE).or(first_hostname);
        let key = self.value(&keys::TOKEN_KEY).or_else(|| self.default_token_key());
        let algorithm = self.value(&keys::TOKEN_ALGORITHM);
        let key_id = self.value(&keys::TOKEN_KEY_ID);
        let certificate_chain = self.value(&keys::TOKEN_CERTIFICATE_CHAIN);
        let refresh_lifetime = self.value(&keys::TOKEN_REFRESH_LIFETIME);
        let upload_grace = self.value(&keys::TOKEN_UPLOAD_GRACE);
        let token = auth::TokenConfig {
            lifetime: lifetime?,
            issuer: issuer?,
            service: service?,
            key: key?,
            algorithm: algorithm?,
            key_id: key_id?,
            certificate_chain: certificate_chain?,
            refresh_lifetime: refresh_lifetime?,
            upload_grace: upload_grace?,
        };
        Some(auth::Config {
            htpasswd: htpasswd?,
            legacy_hashes: legacy_hashes?,
            challenge: challenge?,
            lockout_attempts: lockout?,
            token,
        })
    }

    fn default_token_key(&mut self) -> Option<PathBuf> {
        let is_acme = matches!(self.layers.choice([FILES, ACME]), Some((ACME, _)));
        let folder = if is_acme { self.acme_folder() } else { self.value(&keys::SELF_SIGNED_DIRECTORY) };
        Some(folder?.join("token.key"))
    }

    fn policy(&mut self) -> Option<Policy> {
        let groups = self.groups();
        if self.layers.rules.is_empty() {
            return Some(Policy::signed_in_may_do_everything());
        }
        // All rules are read before any is given up: an invalid rule must not hide the problems of the next one.
        let rules: Vec<Option<Rule>> = self.layers.rules.iter().map(|rule| self.rule(rule, &groups)).collect();
        Some(Policy::new(rules.into_iter().collect::<Option<_>>()?))
    }

    /// The groups by name. A group with invalid members is kept without them, so that rules do not report it as
    /// missing.
    fn groups(&mut self) -> BTreeMap<String, Arc<Group>> {
        let mut groups = BTreeMap::new();
        for (name, members) in &self.layers.groups {
            // A group name must be valid like a user name: rules write it, after an `@`, where users are written.
            if let Err(error) = name.value.parse::<UserName>() {
                let message = format!("groups: {} is not a name for a group: {error}", quote(&name.value));
                self.problems.push(name.problem(message).hint("for example team = [\"alice\"]"));
            }
            let members = keys::GROUPS.kind.read(members).unwrap_or_else(|found| {
                let path = format!("groups.{}", name.value.escape_debug());
                self.problems.extend(found.into_iter().map(|problem| problem.about(&path)));
                Vec::new()
            });
            let group = Group { name: name.value.clone(), members: members.into_iter().collect() };
            groups.insert(name.value.clone(), Arc::new(group));
        }
        groups
    }

    fn rule(&mut self, rule: &RawRule, groups: &BTreeMap<String, Arc<Group>>) -> Option<Rule> {
        let users = self.users(rule, groups);
        let repositories = self.of_rule(rule, &keys::ACCESS_REPOSITORIES);
        let actions = self.of_rule(rule, &keys::ACCESS_ACTIONS);
        Some(Rule { users: users?, repositories: repositories?, actions: actions?.into_iter().collect() })
    }

    pub(super) fn of_rule<K: Kind>(&mut self, rule: &RawRule, key: &Key<K>) -> Option<K::Value> {
        self.of_table(rule, key, "rule")
    }

    fn of_table<K: Kind>(&mut self, table: &RawRule, key: &Key<K>, noun: &str) -> Option<K::Value> {
        if let Some(raw) = table.values.get(key.path) {
            return layers::read(key, raw, self.problems);
        }
        let name = key.path.rsplit('.').next().unwrap_or_default();
        let problem = Problem::new(table.place.clone(), format!("this {noun} has no {name}"));
        self.problems.push(problem.hint(format!("for example {}", example(key))));
        None
    }

    fn users(&mut self, rule: &RawRule, groups: &BTreeMap<String, Arc<Group>>) -> Option<Vec<Who>> {
        self.of_rule(rule, &keys::ACCESS_USERS)?;
        let Raw::List(words) = &rule.values.get(keys::ACCESS_USERS.path)?.value else { return None };
        let users: Vec<Option<Who>> = words.iter().map(|word| self.who(word, groups)).collect();
        users.into_iter().collect()
    }

    fn who(&mut self, word: &Located<Raw>, groups: &BTreeMap<String, Arc<Group>>) -> Option<Who> {
        let Raw::Text(text) = &word.value else { return None };
        let error = match Who::parse(text, |name| groups.get(name).cloned()) {
            Ok(who) => return Some(who),
            Err(error) => error,
        };
        let hint = match &error {
            InvalidWho::UnknownGroup(name) => suggest::nearest(name, groups.keys().map(String::as_str)).map_or_else(
                || "for example team = [\"alice\"]".to_owned(),
                |near| format!("did you mean \"@{near}\"?"),
            ),
            InvalidWho::UserName(_) => "for example \"alice\", \"@team\", \"*\" or \"anonymous\"".to_owned(),
        };
        let problem = word.problem(format!("{}: {error}", quote(text))).about(keys::ACCESS_USERS.path);
        self.problems.push(problem.hint(hint));
        None
    }

    fn registry(&mut self) -> Option<registry::Config> {
        let sparse_manifests = self.value(&keys::SPARSE_MANIFESTS);
        let upload_expiry = self.value(&keys::UPLOAD_EXPIRY);
        let interval = self.value(&keys::GC_INTERVAL);
        let grace = self.value(&keys::GC_GRACE);
        let trash = self.value(&keys::GC_TRASH);
        let untagged = self.value(&keys::GC_UNTAGGED);
        let untagged = untagged?.map_or(Untagged::Keep, Untagged::DeleteAfter);
        let gc = GcConfig { interval: interval?, grace: grace?, trash: trash?, untagged };
        Some(registry::Config { sparse_manifests: sparse_manifests?, upload_expiry: upload_expiry?, gc })
    }

    fn storage(&mut self) -> Option<storage::Config> {
        Some(storage::Config::Filesystem { root: self.value(&keys::FILESYSTEM_ROOT)? })
    }

    fn telemetry(&mut self) -> Option<telemetry::Config> {
        let (format, filter) = (self.value(&keys::LOG_FORMAT), self.value(&keys::LOG_LEVEL));
        let audit = self.value(&keys::LOG_AUDIT);
        Some(telemetry::Config { format: format?, filter: filter?, audit: audit? })
    }
}

/// An example line of the file that sets the key.
fn example<K: Kind>(key: &Key<K>) -> String {
    let name = key.path.rsplit('.').next().unwrap_or_default();
    format!("{name} = {}", key.kind.example())
}
