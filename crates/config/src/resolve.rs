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
    did_you_mean,
    keys::{self, Key},
    layers::{self, Layers, RawTable},
    loaded_config::Config,
    problem::{ConfigProblem, SettingPlace, quote},
    value::{Located, RawValue},
    value_type::ValueType,
};
use portcullis_access::{Group, InvalidSubjectMatcher, Policy, Rule, SubjectMatcher, UserName};
use portcullis_auth as auth;
use portcullis_registry::{self as registry, GcConfig, Untagged};
use portcullis_server as server;
use portcullis_storage as storage;
use portcullis_telemetry as telemetry;
use portcullis_tls::{self as tls, Hostname, acme};

/// The tables for a certificate that is not self-signed.
const FILES_TABLE: &str = "tls.files";
const ACME_TABLE: &str = "tls.acme";
const ACME_EAB_TABLE: &str = "tls.acme.eab";

/// Resolves the configuration; `None` only if a problem was added to `problems`.
pub(super) fn resolve(
    layers: &Layers,
    machine_name: Option<&str>,
    problems: &mut Vec<ConfigProblem>,
) -> Option<Config> {
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
    pub(super) problems: &'a mut Vec<ConfigProblem>,
}

impl Resolver<'_> {
    fn value<K: ValueType>(&mut self, key: &Key<K>) -> Option<K::Value> {
        self.layers.value(key, self.problems)
    }

    fn hostnames(&mut self, machine_name: Option<&str>) -> Vec<Hostname> {
        let given = self.value(&keys::HOSTNAMES).unwrap_or_else(|| Hostname::defaults(machine_name));
        let mut seen = BTreeSet::new();
        given.into_iter().filter(|name| seen.insert(name.clone())).collect()
    }

    fn server(&mut self) -> Option<server::HttpServerConfig> {
        let (listen, redirect) = (self.value(&keys::LISTEN), self.value(&keys::REDIRECT));
        self.refuse_duplicate_addresses(listen.as_deref().unwrap_or_default(), redirect);
        let proxies = self.proxies();
        let connections = self.value(&keys::CONNECTIONS);
        let handshake_timeout = self.value(&keys::HANDSHAKE_TIMEOUT);
        let header_timeout = self.value(&keys::HEADER_TIMEOUT);
        let idle_timeout = self.value(&keys::IDLE_TIMEOUT);
        let drain_timeout = self.value(&keys::DRAIN_TIMEOUT);
        let limits = server::ServerLimits {
            connections: connections?,
            handshake_timeout: handshake_timeout?,
            header_timeout: header_timeout?,
            idle_timeout: idle_timeout?,
            drain_timeout: drain_timeout?,
        };
        Some(server::HttpServerConfig { listen: listen?, redirect, trusted_proxies: proxies?, limits })
    }

    fn proxies(&mut self) -> Option<server::TrustedProxies> {
        let trusted = self.value(&keys::TRUSTED_PROXIES).unwrap_or_default();
        let protocol = self.value(&keys::PROXY_PROTOCOL);
        if protocol == Some(true) && self.layers.place(keys::TRUSTED_PROXIES.path).is_none() {
            let place = self.layers.place(keys::PROXY_PROTOCOL.path).cloned().unwrap_or(SettingPlace::Default);
            let problem = ConfigProblem::new(place, "proxy_protocol is for trusted_proxies, and there are none");
            let hint = format!("for example {}", example(&keys::TRUSTED_PROXIES));
            self.problems.push(problem.about(keys::PROXY_PROTOCOL.path).hint(hint));
        }
        Some(server::TrustedProxies { subnets: trusted, uses_proxy_protocol: protocol? })
    }

    /// Reports an address that is configured twice. Port 0 is exempt: it means any free port.
    fn refuse_duplicate_addresses(&mut self, listen: &[SocketAddr], redirect: Option<SocketAddr>) {
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
        let place = self.layers.place(path).cloned().unwrap_or(SettingPlace::Default);
        self.problems.push(ConfigProblem::new(place, message).about(path).hint("remove one of the two"));
    }

    /// A certificate from `[tls.files]` or `[tls.acme]` in any source takes precedence over a self-signed one, also if
    /// a source of higher precedence sets the folder of the self-signed one.
    fn tls(&mut self, hostnames: Vec<Hostname>) -> Option<tls::TlsConfig> {
        self.layers.refuse_multiple_tables([FILES_TABLE, ACME_TABLE, "tls.self_signed"], self.problems);
        let minimum_version = self.value(&keys::MINIMUM_VERSION);
        let directory = self.value(&keys::SELF_SIGNED_DIRECTORY);
        let source = match self.layers.chosen_table([FILES_TABLE, ACME_TABLE]) {
            None => tls::CertificateSource::SelfSigned { directory: directory? },
            Some((FILES_TABLE, place)) => {
                let certificate = self.required(&keys::FILES_CERTIFICATE, place);
                let key = self.required(&keys::FILES_KEY, place);
                let more = self.further_certificates();
                tls::CertificateSource::Files { certificate: certificate?, key: key?, additional: more? }
            }
            Some((_, place)) => tls::CertificateSource::Acme(self.acme(place, &hostnames)?),
        };
        let client = match self.layers.chosen_table(["tls.client"]) {
            None => None,
            Some((_, place)) => Some(self.client(place)?),
        };
        Some(tls::TlsConfig { minimum_version: minimum_version?, source, hostnames, client })
    }

    fn client(&mut self, place: &SettingPlace) -> Option<tls::ClientConfig> {
        let ca = self.required(&keys::CLIENT_CA, place);
        let (mode, user) = (self.value(&keys::CLIENT_MODE), self.value(&keys::CLIENT_USER));
        let crl = self.layers.place(keys::CLIENT_CRL.path).is_some().then(|| self.value(&keys::CLIENT_CRL));
        Some(tls::ClientConfig { ca: ca?, crl: crl.map_or(Some(None), |crl| crl.map(Some))?, mode: mode?, user: user? })
    }

    fn further_certificates(&mut self) -> Option<Vec<tls::CertificatePair>> {
        let layers = self.layers;
        // All pairs are read before any is given up: an invalid one must not hide the problems of the next one.
        let pairs: Vec<_> = layers.certificates.iter().map(|table| self.pair(table)).collect();
        pairs.into_iter().collect()
    }

    fn pair(&mut self, table: &RawTable) -> Option<tls::CertificatePair> {
        let certificate = self.table_value(table, &keys::MORE_CERTIFICATE, "pair");
        let key = self.table_value(table, &keys::MORE_KEY, "pair");
        Some(tls::CertificatePair { certificate: certificate?, key: key? })
    }

    fn acme(&mut self, place: &SettingPlace, hostnames: &[Hostname]) -> Option<acme::AcmeConfig> {
        let directory = self.value(&keys::ACME_DIRECTORY);
        let contact = self.value(&keys::ACME_CONTACT).unwrap_or_default();
        let eab = self.layers.chosen_table([ACME_EAB_TABLE]).map(|(_, place)| self.external_account(place));
        let ca = self.value(&keys::ACME_CA);
        let challenge = self.value(&keys::ACME_CHALLENGE);
        let folder = self.acme_folder();
        // The host name of the machine, which is the default, is rarely one that an authority can validate.
        let is_named = self.layers.place(keys::HOSTNAMES.path).is_some();
        if !is_named || !hostnames.iter().any(|name| acme::certifiable_name(name).is_some()) {
            let message = "there is no host name to order a certificate for".to_owned();
            let hint =
                format!("write the DNS names of this server at the top, for example {}", example(&keys::HOSTNAMES));
            self.problems.push(ConfigProblem::new(place.clone(), message).about(ACME_TABLE).hint(hint));
        }
        if challenge == Some(acme::ChallengePreference::Only(acme::Challenge::Http01))
            && self.layers.place(keys::REDIRECT.path).is_none()
        {
            let place = self.layers.place(keys::ACME_CHALLENGE.path).unwrap_or(place).clone();
            let message = "http-01 is answered where redirect listens, and that is not set".to_owned();
            let hint = "write redirect = \"0.0.0.0:80\" at the top, or leave the challenge out";
            self.problems.push(ConfigProblem::new(place, message).about(keys::ACME_CHALLENGE.path).hint(hint));
        }
        Some(acme::AcmeConfig {
            directory: directory?,
            contact,
            eab: eab.map_or(Some(None), |eab| eab.map(Some))?,
            ca,
            challenge: challenge?,
            folder: folder?,
        })
    }

    fn external_account(&mut self, place: &SettingPlace) -> Option<acme::ExternalAccount> {
        let key_id = self.required(&keys::ACME_EAB_KEY_ID, place);
        let hmac_key_file = self.required(&keys::ACME_EAB_HMAC_KEY_FILE, place);
        Some(acme::ExternalAccount { key_id: key_id?, hmac_key_file: hmac_key_file? })
    }

    /// The folder of the ACME account and certificate. The flag `--certs` overrides it, as for the self-signed
    /// certificate.
    fn acme_folder(&mut self) -> Option<PathBuf> {
        let own = self.value(&keys::ACME_FOLDER);
        let certs = self.value(&keys::SELF_SIGNED_DIRECTORY);
        let by_flag = matches!(self.layers.place(keys::SELF_SIGNED_DIRECTORY.path), Some(SettingPlace::Flag(_)));
        if by_flag { certs } else { own.or(certs) }
    }

    fn required<K: ValueType>(&mut self, key: &Key<K>, table: &SettingPlace) -> Option<K::Value> {
        // A pair of flags of which one is missing has a message of its own.
        if self.layers.place(key.path).is_none() && !matches!(table, SettingPlace::Flag(_)) {
            let problem = ConfigProblem::new(table.clone(), format!("{} is missing", key.path));
            self.problems.push(problem.hint(format!("for example {}", example(key))));
        }
        self.value(key)
    }

    fn auth(&mut self, first_hostname: Option<&Hostname>) -> Option<auth::AuthConfig> {
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
        Some(auth::AuthConfig {
            htpasswd: htpasswd?,
            legacy_hashes: legacy_hashes?,
            challenge: challenge?,
            lockout_attempts: lockout?,
            token,
        })
    }

    fn default_token_key(&mut self) -> Option<PathBuf> {
        let is_acme = matches!(self.layers.chosen_table([FILES_TABLE, ACME_TABLE]), Some((ACME_TABLE, _)));
        let folder = if is_acme { self.acme_folder() } else { self.value(&keys::SELF_SIGNED_DIRECTORY) };
        Some(folder?.join("token.key"))
    }

    fn policy(&mut self) -> Option<Policy> {
        let groups = self.groups();
        if self.layers.rules.is_empty() {
            return Some(Policy::allow_all_signed_in());
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

    fn rule(&mut self, rule: &RawTable, groups: &BTreeMap<String, Arc<Group>>) -> Option<Rule> {
        let users = self.users(rule, groups);
        let repositories = self.rule_value(rule, &keys::ACCESS_REPOSITORIES);
        let actions = self.rule_value(rule, &keys::ACCESS_ACTIONS);
        Some(Rule { users: users?, repositories: repositories?, actions: actions?.into_iter().collect() })
    }

    pub(super) fn rule_value<K: ValueType>(&mut self, rule: &RawTable, key: &Key<K>) -> Option<K::Value> {
        self.table_value(rule, key, "rule")
    }

    fn table_value<K: ValueType>(&mut self, table: &RawTable, key: &Key<K>, noun: &str) -> Option<K::Value> {
        if let Some(raw) = table.values.get(key.path) {
            return layers::read_value(key, raw, self.problems);
        }
        let name = key.path.rsplit('.').next().unwrap_or_default();
        let problem = ConfigProblem::new(table.place.clone(), format!("this {noun} has no {name}"));
        self.problems.push(problem.hint(format!("for example {}", example(key))));
        None
    }

    fn users(&mut self, rule: &RawTable, groups: &BTreeMap<String, Arc<Group>>) -> Option<Vec<SubjectMatcher>> {
        self.rule_value(rule, &keys::ACCESS_USERS)?;
        let RawValue::List(words) = &rule.values.get(keys::ACCESS_USERS.path)?.value else { return None };
        let users: Vec<Option<SubjectMatcher>> = words.iter().map(|word| self.subject_matcher(word, groups)).collect();
        users.into_iter().collect()
    }

    fn subject_matcher(
        &mut self,
        word: &Located<RawValue>,
        groups: &BTreeMap<String, Arc<Group>>,
    ) -> Option<SubjectMatcher> {
        let RawValue::Text(text) = &word.value else { return None };
        let error = match SubjectMatcher::parse(text, |name| groups.get(name).cloned()) {
            Ok(who) => return Some(who),
            Err(error) => error,
        };
        let hint = match &error {
            InvalidSubjectMatcher::UnknownGroup(name) => did_you_mean::nearest(name, groups.keys().map(String::as_str))
                .map_or_else(
                    || "for example team = [\"alice\"]".to_owned(),
                    |near| format!("did you mean \"@{near}\"?"),
                ),
            InvalidSubjectMatcher::UserName(_) => "for example \"alice\", \"@team\", \"*\" or \"anonymous\"".to_owned(),
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
        let gc = GcConfig { interval: interval?, grace_period: grace?, trash_period: trash?, untagged };
        Some(registry::Config { sparse_manifests: sparse_manifests?, upload_expiry: upload_expiry?, gc })
    }

    fn storage(&mut self) -> Option<storage::StoreConfig> {
        let (root, direct_io) = (self.value(&keys::FILESYSTEM_ROOT), self.value(&keys::FILESYSTEM_DIRECT));
        Some(storage::StoreConfig::Filesystem { root: root?, direct_io: direct_io? })
    }

    fn telemetry(&mut self) -> Option<telemetry::Config> {
        let (format, filter) = (self.value(&keys::LOG_FORMAT), self.value(&keys::LOG_LEVEL));
        let audit = self.value(&keys::LOG_AUDIT);
        Some(telemetry::Config { format: format?, filter: filter?, audit: audit? })
    }
}

/// An example line of the file that sets the key.
fn example<K: ValueType>(key: &Key<K>) -> String {
    let name = key.path.rsplit('.').next().unwrap_or_default();
    format!("{name} = {}", key.kind.example())
}
