//! The table of all settings: path, type, default and documentation of each. The file reader, the variables, the
//! defaults and the reference are all derived from it.
//!
//! Invariant: a setting that is not in [`KEYS`] cannot be set, and every setting in it is documented.

use std::net::SocketAddr;

use super::{
    claim_table::ClaimTable,
    did_you_mean,
    durations::{DurationOrWord, DurationRange},
    value::TextShape,
    value_type::{Boolean, Choice, FilePath, InvalidText, ListOf, ParsedText, ValueType, WholeNumber},
};
use portcullis_access::{Action, Glob, UnknownAction, UserName};
use portcullis_auth::{ChallengeScheme, KeyIdForm, LegacyHashes, TokenAlgorithm, workload::IssuerUrl};
use portcullis_http_client::HttpsUrl;
use portcullis_net::{InvalidSubnet, Subnet};
use portcullis_storage::DirectIo;
use portcullis_telemetry::{self as telemetry, AuditDestination, LogFormat};
use portcullis_tls::{
    ClientMode, ClientUser, Hostname, MinimumVersion,
    acme::{Challenge, ChallengePreference, LETS_ENCRYPT},
};

/// A setting.
pub(super) struct Key<K> {
    /// The key in the file, with dots between levels.
    pub(super) path: &'static str,
    pub(super) kind: K,
    pub(super) fallback: Fallback,
    /// One sentence for the reference.
    pub(super) about: &'static str,
}

/// The value of a key that is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    /// This value, in the notation of a variable.
    Value(&'static str),
    /// A value that is computed at start; the text describes it for the reference.
    Computed(&'static str),
    /// No value: the feature is off.
    Off,
    /// No default: the key must be set if its table is present.
    Required,
}

macro_rules! keys {
    ($($name:ident: $kind:ty = $path:literal, $value:expr, $fallback:expr, $about:literal;)*) => {
        $(pub(super) static $name: Key<$kind> = Key { path: $path, kind: $value, fallback: $fallback, about: $about };)*

        /// Every setting, in the order of the reference.
        pub(super) static KEYS: &[&dyn Entry] = &[$(&$name),*];
    };
}

keys! {
    LISTEN: ListOf<ParsedText<SocketAddr>> = "listen",
        ListOf { element: ADDRESS, noun: "socket addresses", may_be_empty: false }, Fallback::Value("0.0.0.0:443"),
        "Where to serve HTTPS; `[::]:443` is IPv6 and IPv4, and IPv4 alone on a machine without IPv6.";
    HOSTNAMES: ListOf<ParsedText<Hostname>> = "hostnames",
        ListOf { element: HOSTNAME, noun: "host names", may_be_empty: false },
        Fallback::Computed("this machine's host name, `localhost`, `127.0.0.1`, `::1`"),
        "The names and addresses under which clients reach this server, the preferred one first; a self-signed \
         certificate is made out for them.";
    REDIRECT: ParsedText<SocketAddr> = "redirect", ADDRESS, Fallback::Off,
        "Where to listen for plain HTTP: requests are redirected to HTTPS, and challenges of ACME's `http-01` are answered; for example `0.0.0.0:80`.";

    TRUSTED_PROXIES: ListOf<ParsedText<Subnet>> = "trusted_proxies",
        ListOf { element: NETWORK, noun: "networks", may_be_empty: true }, Fallback::Off,
        "The load balancers in front of the server: only from them does the server take the client's address and host out of \
         headers (`X-Forwarded-For`, `X-Forwarded-Host`, `Forwarded`) or the PROXY protocol.";
    PROXY_PROTOCOL: Boolean = "proxy_protocol", Boolean, Fallback::Value("false"),
        "Whether connections from `trusted_proxies` must begin with a header of the PROXY protocol, version 1 or 2.";

    CONNECTIONS: WholeNumber = "limits.connections",
        WholeNumber { min: 1, max: 1_000_000, example: 4096 }, Fallback::Value("4096"),
        "How many connections are served at once; further ones wait. A network (an IPv4 address, an IPv6 /64) may have as many \
         as are left for all others.";
    HANDSHAKE_TIMEOUT: DurationRange = "limits.handshake_timeout", DurationRange { min: 1, max: 300 }, Fallback::Value("10s"),
        "How long a client may take for the TLS handshake.";
    HEADER_TIMEOUT: DurationRange = "limits.header_timeout", DurationRange { min: 1, max: 600 }, Fallback::Value("30s"),
        "How long a client may take to send the head of a request.";
    IDLE_TIMEOUT: DurationRange = "limits.idle_timeout", DurationRange { min: 1, max: 86_400 }, Fallback::Value("60s"),
        "How long a transfer may make no progress; a slow transfer that makes progress is not limited.";
    DRAIN_TIMEOUT: DurationRange = "limits.drain_timeout", DurationRange { min: 0, max: 3600 }, Fallback::Value("30s"),
        "How long running transfers may go on after the server was asked to stop.";

    MINIMUM_VERSION: Choice<MinimumVersion> = "tls.minimum_version",
        Choice(&[("1.2", MinimumVersion::Tls12), ("1.3", MinimumVersion::Tls13)]), Fallback::Value("1.2"),
        "The oldest version of TLS that is accepted.";
    SELF_SIGNED_DIRECTORY: FilePath = "tls.self_signed.directory", FilePath { example: "certs" }, Fallback::Value("certs"),
        "The folder of the CA and the certificate that are made on first start: `ca.crt`, `ca.key`, `server.crt`, \
         `server.key`.";
    FILES_CERTIFICATE: FilePath = "tls.files.certificate", FilePath { example: "server.crt" }, Fallback::Required,
        "Your certificate and its chain, in PEM. Naming it anywhere (file, variable or flag) means that none is made.";
    FILES_KEY: FilePath = "tls.files.key", FilePath { example: "server.key" }, Fallback::Required,
        "The private key of that certificate, in PEM: PKCS#8, SEC1 or RSA, not encrypted.";
    MORE_CERTIFICATE: FilePath = "tls.files.more.certificate", FilePath { example: "other.crt" }, Fallback::Required,
        "A further certificate with its chain, for clients that request one of its names (SNI). Clients that send no name, or a \
         name that no certificate has, get the certificate of `[tls.files]`.";
    MORE_KEY: FilePath = "tls.files.more.key", FilePath { example: "other.key" }, Fallback::Required,
        "The private key of that further certificate.";
    ACME_DIRECTORY: ParsedText<String> = "tls.acme.directory", ACME_URL, Fallback::Value(LETS_ENCRYPT),
        "The ACME directory that certificates for the DNS names among `hostnames` are ordered from; `[tls.acme]` says that you \
         agree to its terms.";
    ACME_CONTACT: ListOf<ParsedText<String>> = "tls.acme.contact",
        ListOf { element: MAIL, noun: "mail addresses", may_be_empty: true }, Fallback::Off,
        "The mail addresses at which the authority may contact you about the account.";
    ACME_CA: FilePath = "tls.acme.ca", FilePath { example: "acme-root.crt" }, Fallback::Off,
        "The only authorities, in PEM, that the directory's own certificate may come from, for one of your own; without it, the \
         public ones.";
    ACME_CHALLENGE: Choice<ChallengePreference> = "tls.acme.challenge",
        Choice(&[
            ("any", ChallengePreference::Any),
            (Challenge::TlsAlpn01.as_str(), ChallengePreference::Only(Challenge::TlsAlpn01)),
            (Challenge::Http01.as_str(), ChallengePreference::Only(Challenge::Http01)),
        ]),
        Fallback::Value("any"),
        "How the control over the names is proven: `tls-alpn-01` needs port 443 to be reachable, `http-01` port 80 and `redirect`; \
         `any` begins with `tls-alpn-01` and alternates after failures.";
    ACME_FOLDER: FilePath = "tls.acme.folder", FilePath { example: "certs" },
        Fallback::Computed("the folder `tls.self_signed.directory`"),
        "The folder of the account and the certificate: `acme-account.json`, `acme.pem`.";
    ACME_EAB_KEY_ID: ParsedText<String> = "tls.acme.eab.key_id", EAB_KEY_ID, Fallback::Required,
        "The key identifier of your account at the authority, for a directory that requires external account binding; used when \
         the ACME account is created.";
    ACME_EAB_HMAC_KEY_FILE: FilePath = "tls.acme.eab.hmac_key_file", FilePath { example: "certs/acme-eab.key" },
        Fallback::Required,
        "The file of that account's HMAC key, in base64url, as the authority issued it.";

    CLIENT_CA: FilePath = "tls.client.ca", FilePath { example: "clients.crt" }, Fallback::Required,
        "The authorities that issue certificates to clients, in PEM. Clients are asked for a certificate only where this table is \
         there.";
    CLIENT_MODE: Choice<ClientMode> = "tls.client.mode",
        Choice(&[("required", ClientMode::Required), ("optional", ClientMode::Optional)]), Fallback::Value("required"),
        "Whether a client without a certificate is rejected in the handshake, or may sign in another way.";
    CLIENT_USER: Choice<ClientUser> = "tls.client.user",
        Choice(&[
            ("cn", ClientUser::CommonName),
            ("dns", ClientUser::DnsName),
            ("email", ClientUser::Email),
            ("off", ClientUser::NoUser),
        ]),
        Fallback::Value("cn"),
        "Which part of a certificate is the user that it signs in without a password: the common name, the one DNS name, the \
         one mail address; `off` for none, so that certificates only open connections.";
    CLIENT_CRL: FilePath = "tls.client.crl", FilePath { example: "clients.crl" }, Fallback::Off,
        "The certificate revocation lists of those authorities, in PEM: one for each authority, intermediate ones included.";

    HTPASSWD: FilePath = "auth.htpasswd", FilePath { example: "htpasswd" }, Fallback::Value("htpasswd"),
        "The users file, as Apache's htpasswd writes it; made with one administrator if it is not there.";
    CHALLENGE: Choice<ChallengeScheme> = "auth.challenge",
        Choice(&[("bearer", ChallengeScheme::Bearer), ("basic", ChallengeScheme::Basic)]), Fallback::Value("bearer"),
        "How clients sign in: at the token endpoint, or with the password in every request. With `basic`, rules for \
         `anonymous` apply to requests without a password; the Docker Engine sends none of those.";
    LEGACY_HASHES: Choice<LegacyHashes> = "auth.legacy_hashes",
        Choice(&[("rehash", LegacyHashes::Rehash), ("refuse", LegacyHashes::Refuse)]), Fallback::Value("rehash"),
        "Password hashes older than bcrypt: replaced at the next successful login, or refused.";
    LOCKOUT_ATTEMPTS: WholeNumber = "auth.lockout.attempts",
        WholeNumber { min: 10, max: 10_000, example: 10 }, Fallback::Value("10"),
        "After how many wrong passwords a minute for one user from one network answers become 429 with a growing Retry-After; \
         for all users from one network together, ten times as many.";
    TOKEN_LIFETIME: DurationRange = "auth.token.lifetime", DurationRange { min: 60, max: 3600 }, Fallback::Value("5m"),
        "How long a bearer token is valid; clients fetch a new one by themselves.";
    TOKEN_ISSUER: ParsedText<String> = "auth.token.issuer", CLAIM, Fallback::Computed("the first of `hostnames`"),
        "The name of this token server in its tokens (the claim `iss`).";
    TOKEN_SERVICE: ParsedText<String> = "auth.token.service", CLAIM, Fallback::Computed("the first of `hostnames`"),
        "The name of this registry in tokens and challenges (the claim `aud`).";
    TOKEN_KEY: FilePath = "auth.token.key", FilePath { example: "certs/token.key" },
        Fallback::Computed("`token.key` in the folder `tls.self_signed.directory`, or `tls.acme.folder`"),
        "The private keys of tokens, in PEM (PKCS#8), of which the first signs; created at the first start.";
    TOKEN_ALGORITHM: Choice<TokenAlgorithm> = "auth.token.algorithm",
        Choice(&[
            (TokenAlgorithm::Es256.as_str(), TokenAlgorithm::Es256),
            (TokenAlgorithm::Rs256.as_str(), TokenAlgorithm::Rs256),
            (TokenAlgorithm::EdDsa.as_str(), TokenAlgorithm::EdDsa),
        ]),
        Fallback::Value("ES256"),
        "The algorithm of the key that is created at the first start and by `portcullis token rotate`; an existing key signs with \
         its own algorithm.";
    TOKEN_KEY_ID: Choice<KeyIdForm> = "auth.token.key_id",
        Choice(&[("thumbprint", KeyIdForm::Thumbprint), ("libtrust", KeyIdForm::Libtrust)]), Fallback::Value("thumbprint"),
        "How tokens name their key (the header `kid`): by RFC 7638, or as registries before Distribution 3 look it up.";
    TOKEN_CERTIFICATE_CHAIN: Boolean = "auth.token.certificate_chain", Boolean, Fallback::Value("false"),
        "Whether tokens contain a certificate of their key (the header `x5c`), for another registry that requires one.";
    TOKEN_REFRESH_LIFETIME: DurationRange = "auth.token.refresh_lifetime",
        DurationRange { min: 60, max: 3650 * 86_400 }, Fallback::Value("90d"),
        "After how long without use a refresh token ends: `docker login` stores one instead of the password.";
    TOKEN_UPLOAD_GRACE: DurationOrWord = "auth.token.upload_grace",
        DurationOrWord { word: "off", range: DurationRange { min: 60, max: 7 * 86_400 } }, Fallback::Value("12h"),
        "How long after it has expired a bearer token may still finish an upload that was begun before, and nothing else; \
         `off` for not at all.";

    WORKLOAD_ISSUER: ParsedText<IssuerUrl> = "auth.workload.issuer", ISSUER, Fallback::Required,
        "The issuer of the tokens of CI jobs that are accepted as a password: their claim `iss`, compared letter by letter. Its \
         keys are fetched by OpenID Connect Discovery.";
    WORKLOAD_AUDIENCE: ParsedText<String> = "auth.workload.audience", AUDIENCE, Fallback::Required,
        "The audience of the tokens: their claim `aud`, or one of its values. Choose a name that only this registry has.";
    WORKLOAD_CLAIMS: ClaimTable = "auth.workload.claims", ClaimTable, Fallback::Required,
        "Further claims that the tokens must have, all of them; at least one must distinguish your project from all others.";
    WORKLOAD_USER: ParsedText<UserName> = "auth.workload.user", USER, Fallback::Required,
        "The user that the token signs in, as access rules name it; this user need not be in the users file.";
    WORKLOAD_REPOSITORIES: ListOf<ParsedText<Glob>> = "auth.workload.repositories",
        ListOf { element: GLOB, noun: "repository patterns", may_be_empty: false }, Fallback::Off,
        "Restricts the job to these repositories, among those that the access rules allow; by default all of those.";
    WORKLOAD_ACTIONS: ListOf<ParsedText<Action>> = "auth.workload.actions",
        ListOf { element: ACTION, noun: "actions", may_be_empty: false }, Fallback::Off,
        "Restricts the job to these actions, among those that the access rules allow; by default all of those.";
    WORKLOAD_CA: FilePath = "auth.workload.ca", FilePath { example: "issuer-ca.crt" }, Fallback::Off,
        "The authority of the issuer's own TLS certificate, in PEM, if it is not a public one.";
    WORKLOAD_JWKS_URI: ParsedText<HttpsUrl> = "auth.workload.jwks_uri", JWKS_URI, Fallback::Off,
        "The URL of the issuer's keys, if they are on another host than the issuer; its discovery document is not fetched then.";

    ACCESS_USERS: ListOf<ParsedText<String>> = "access.users",
        ListOf { element: WHO, noun: "users", may_be_empty: false }, Fallback::Required,
        "The users that the rule matches: user names, `@group`, `*` for every signed-in user, `anonymous` for clients that are \
         not signed in.";
    ACCESS_REPOSITORIES: ListOf<ParsedText<Glob>> = "access.repositories",
        ListOf { element: GLOB, noun: "repository patterns", may_be_empty: false }, Fallback::Required,
        "The repositories that the rule matches: `*` is one component, `**` any number, `{user}` the name of the signed-in user.";
    ACCESS_ACTIONS: ListOf<ParsedText<Action>> = "access.actions",
        ListOf { element: ACTION, noun: "actions", may_be_empty: true }, Fallback::Required,
        "The allowed actions: `pull`, `push`, `delete`, and `admin` to remove whole repositories; `[]` allows nothing.";
    GROUPS: ListOf<ParsedText<UserName>> = "groups.NAME",
        ListOf { element: USER, noun: "user names", may_be_empty: true }, Fallback::Off,
        "The members of a group, which rules name `@NAME`.";

    SPARSE_MANIFESTS: Boolean = "registry.sparse_manifests", Boolean, Fallback::Value("false"),
        "Whether to accept manifests whose blobs or child manifests are not here.";
    UPLOAD_EXPIRY: DurationRange = "registry.upload_expiry", DurationRange { min: 60, max: 365 * 86_400 }, Fallback::Value("7d"),
        "After how long without a received byte an upload is cancelled.";
    GC_INTERVAL: DurationOrWord = "registry.gc.interval",
        DurationOrWord { word: "off", range: DurationRange { min: 1, max: 365 * 86_400 } }, Fallback::Value("24h"),
        "How often garbage is collected; `off` for never by itself.";
    GC_GRACE: DurationRange = "registry.gc.grace", DurationRange { min: 1, max: 365 * 86_400 }, Fallback::Value("24h"),
        "How long a blob or manifest must not have been accessed before it can be garbage; longer than any push takes.";
    GC_TRASH: DurationRange = "registry.gc.trash", DurationRange { min: 0, max: 365 * 86_400 }, Fallback::Value("7d"),
        "How long a removed blob stays in the trash; it is restored by itself when it is requested.";
    GC_UNTAGGED: DurationOrWord = "registry.gc.untagged",
        DurationOrWord { word: "keep", range: DurationRange { min: 1, max: 3650 * 86_400 } }, Fallback::Value("keep"),
        "After how long without being read or put a manifest without a tag is deleted; children of an index and referrers of \
         something kept never are.";
    FILESYSTEM_ROOT: FilePath = "storage.filesystem.root", FilePath { example: "data" }, Fallback::Value("data"),
        "The folder of images, in the layout of registry:2's `/var/lib/registry`.";
    FILESYSTEM_DIRECT: Choice<DirectIo> = "storage.filesystem.direct",
        Choice(&[("auto", DirectIo::Auto), ("off", DirectIo::Off)]), Fallback::Value("auto"),
        "Whether layers are written past the kernel's page cache (`O_DIRECT`): `auto` where the file system supports it; `off` \
         for one that supports it badly, or so that the first pull of a new layer is served from memory.";

    LOG_FORMAT: Choice<LogFormat> = "log.format",
        Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]), Fallback::Value("text"),
        "The format of log lines.";
    LOG_LEVEL: ParsedText<String> = "log.level", LEVEL, Fallback::Value("info"),
        "What is logged: `error`, `warn`, `info`, `debug`, `trace` or `off`, or finer as in `info,portcullis::auth=debug`.";
    LOG_AUDIT: ParsedText<AuditDestination> = "log.audit", AUDIT, Fallback::Value("off"),
        "Where the audit trail goes, as JSON lines: `off`, `stdout` or the path of a file.";
}

const ADDRESS: ParsedText<SocketAddr> = ParsedText { noun: "a socket address", example: "0.0.0.0:443", parse: address };
const NETWORK: ParsedText<Subnet> = ParsedText { noun: "a network", example: "10.0.0.0/8", parse: network };
const HOSTNAME: ParsedText<Hostname> =
    ParsedText { noun: "a host name", example: "registry.example.com", parse: |text| Ok(text.parse()?) };
const ACME_URL: ParsedText<String> = ParsedText { noun: "an https URL", example: LETS_ENCRYPT, parse: acme_url };
const EAB_KEY_ID: ParsedText<String> = ParsedText { noun: "a key identifier", example: "kid-1", parse: eab_key_id };
const MAIL: ParsedText<String> = ParsedText { noun: "a mail address", example: "admin@example.com", parse: mail };
const CLAIM: ParsedText<String> = ParsedText { noun: "a name", example: "registry.example.com", parse: claim };
const WHO: ParsedText<String> = ParsedText { noun: "a user", example: "alice", parse: |text| Ok(text.to_owned()) };
const GLOB: ParsedText<Glob> =
    ParsedText { noun: "a repository pattern", example: "team/**", parse: |text| Ok(text.parse()?) };
const ACTION: ParsedText<Action> = ParsedText { noun: "an action", example: "pull", parse: action };
const AUDIT: ParsedText<AuditDestination> =
    ParsedText { noun: "a place for the audit trail", example: "/var/log/portcullis/audit.jsonl", parse: audit };
const USER: ParsedText<UserName> =
    ParsedText { noun: "a user name", example: "alice", parse: |text| Ok(text.parse()?) };
const ISSUER: ParsedText<IssuerUrl> = ParsedText {
    noun: "an issuer",
    example: "https://token.actions.githubusercontent.com",
    parse: |text| Ok(text.parse()?),
};
const AUDIENCE: ParsedText<String> = ParsedText { noun: "an audience", example: "registry.example.com", parse: claim };
const JWKS_URI: ParsedText<HttpsUrl> =
    ParsedText { noun: "a URL", example: "https://issuer.example.com/jwks", parse: |text| Ok(text.parse()?) };
const LEVEL: ParsedText<String> = ParsedText { noun: "a log level", example: "info", parse: level };

fn address(text: &str) -> Result<SocketAddr, InvalidText> {
    let whole = |host: &str, port: &str| format!("did you mean \"{host}:{port}\"?");
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    text.parse().map_err(|_| {
        let hint = match text.rsplit_once(':') {
            None if is_port(text) => Some(whole("0.0.0.0", text)),
            None if text.parse::<std::net::Ipv4Addr>().is_ok() => Some(whole(text, "443")),
            Some(("", port)) if is_port(port) => Some(whole("0.0.0.0", port)),
            Some(("localhost", port)) if is_port(port) => Some(whole("127.0.0.1", port)),
            Some(_) if text.parse::<std::net::Ipv6Addr>().is_ok() => Some(whole(&format!("[{text}]"), "443")),
            None | Some(_) => None,
        };
        InvalidText { reason: "a socket address is an IP address, a colon and a port".to_owned(), hint }
    })
}

fn network(text: &str) -> Result<Subnet, InvalidText> {
    text.parse().map_err(|error: InvalidSubnet| {
        let hint = match error {
            InvalidSubnet::HostBitsSet { first, bits } => Some(format!("did you mean \"{first}/{bits}\"?")),
            InvalidSubnet::Syntax | InvalidSubnet::PrefixLength { .. } => None,
        };
        InvalidText { reason: error.to_string(), hint }
    })
}

fn acme_url(text: &str) -> Result<String, InvalidText> {
    let host = text.strip_prefix("https://").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    let is_url = host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '#']));
    if !is_url || text.len() > 2048 || !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\".contains(&byte)) {
        let reason = "the directory of an ACME server is an https URL".to_owned();
        return Err(InvalidText { reason, hint: None });
    }
    Ok(text.to_owned())
}

fn eab_key_id(text: &str) -> Result<String, InvalidText> {
    if text.is_empty() || text.len() > 1024 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = "a key identifier is up to 1024 printable ASCII characters without spaces".to_owned();
        return Err(InvalidText { reason, hint: None });
    }
    Ok(text.to_owned())
}

/// A mail address in the form of RFC 8555, 7.3: one address without header fields.
fn mail(text: &str) -> Result<String, InvalidText> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let is_address = address.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    if !is_address
        || address.len() > 254
        || !address.bytes().all(|byte| byte.is_ascii_graphic() && !b"?,\"".contains(&byte))
    {
        return Err(InvalidText { reason: "not a mail address".to_owned(), hint: None });
    }
    Ok(format!("mailto:{address}"))
}

fn claim(text: &str) -> Result<String, InvalidText> {
    if text.is_empty() || text.len() > 255 || text.contains(['"', '\\']) || text.contains(char::is_control) {
        let reason = "a name has 1 to 255 characters, and no quotes, backslashes or control characters".to_owned();
        return Err(InvalidText { reason, hint: None });
    }
    Ok(text.to_owned())
}

fn action(text: &str) -> Result<Action, InvalidText> {
    text.parse().map_err(|error: UnknownAction| InvalidText {
        reason: error.to_string(),
        hint: suggestion_hint(text, Action::ALL.map(Action::as_str)),
    })
}

fn level(text: &str) -> Result<String, InvalidText> {
    telemetry::check_filter(text).map_err(|error| InvalidText {
        reason: error.to_string(),
        hint: suggestion_hint(text, ["error", "warn", "info", "debug", "trace", "off"]),
    })?;
    Ok(text.to_owned())
}

/// Parses the target of the audit trail. A single word is rejected as a file, because it is probably a typing error.
fn audit(text: &str) -> Result<AuditDestination, InvalidText> {
    let Ok(target) = text.parse::<AuditDestination>();
    match target {
        AuditDestination::File(_) if !text.contains(['/', '.']) => {
            let hint =
                suggestion_hint(text, ["off", "stdout"]).unwrap_or_else(|| format!("for a file, write \"./{text}\""));
            Err(InvalidText { reason: "the audit trail goes to off, stdout or a file".to_owned(), hint: Some(hint) })
        }
        AuditDestination::Off | AuditDestination::Stdout | AuditDestination::File(_) => Ok(target),
    }
}

fn suggestion_hint<const N: usize>(text: &str, known: [&str; N]) -> Option<String> {
    did_you_mean::nearest(text, known).map(|word| format!("did you mean \"{word}\"?"))
}

/// A setting of any type; the object-safe view of [`Key`].
pub(super) trait Entry: Sync {
    fn path(&self) -> &'static str;
    fn about(&self) -> &'static str;
    fn fallback(&self) -> Fallback;
    fn noun(&self) -> String;
    fn shape(&self) -> TextShape;
}

impl<K: ValueType> Entry for Key<K> {
    fn path(&self) -> &'static str {
        self.path
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn fallback(&self) -> Fallback {
        self.fallback
    }

    fn noun(&self) -> String {
        self.kind.noun()
    }

    fn shape(&self) -> TextShape {
        self.kind.shape()
    }
}

impl dyn Entry + '_ {
    /// The name in its table, without the table.
    pub(super) fn name(&self) -> &'static str {
        self.path().rsplit('.').next().unwrap_or_default()
    }

    /// The table of the key; empty for the top level.
    pub(super) fn table(&self) -> &'static str {
        self.path().rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// The variable that sets the key. Rules and groups can only be set in the file, because they have an order or
    /// names of their own.
    pub(super) fn variable(&self) -> Option<String> {
        let in_file_only = matches!(self.table(), "access" | "groups" | "auth.workload" | MORE_CERTIFICATES_TABLE);
        (!in_file_only).then(|| format!("{VARIABLE_PREFIX}{}", self.path().to_uppercase().replace('.', "__")))
    }

    /// The default in TOML notation.
    pub(super) fn default_in_toml(&self) -> Option<String> {
        let Fallback::Value(value) = self.fallback() else { return None };
        Some(match self.shape() {
            TextShape::Text => format!("\"{value}\""),
            TextShape::Integer | TextShape::Boolean => value.to_owned(),
            TextShape::List => format!("[\"{}\"]", value.replace(',', "\", \"")),
        })
    }
}

/// The path of the array of tables with further certificates.
pub(super) const MORE_CERTIFICATES_TABLE: &str = "tls.files.more";

/// The prefix of the variables.
pub(super) const VARIABLE_PREFIX: &str = "PORTCULLIS_";

/// The setting with this path.
pub(super) fn find(path: &str) -> Option<&'static dyn Entry> {
    KEYS.iter().copied().find(|key| key.path() == path)
}

/// The header line of a table: `[tls]`, or `[[access]]` for an array of tables.
pub(super) fn header(table: &str) -> String {
    let is_list = matches!(table, "access" | "auth.workload" | MORE_CERTIFICATES_TABLE);
    if is_list { format!("[[{table}]]") } else { format!("[{table}]") }
}

/// Whether this path is a table that contains settings.
pub(super) fn is_table(path: &str) -> bool {
    KEYS.iter().any(|key| key.path().strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_once_and_explained_in_a_sentence() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(key.about().ends_with('.') && !key.about().contains(['\n', '|']), "{}", key.path());
            assert!(KEYS[..index].iter().all(|other| other.path() != key.path()), "{}", key.path());
        }
    }

    #[test]
    fn variables_are_the_path_in_upper_case_with_two_underscores_between_levels() {
        let variable = |path| find(path).unwrap().variable();
        assert_eq!(variable("listen").unwrap(), "PORTCULLIS_LISTEN");
        assert_eq!(variable("tls.minimum_version").unwrap(), "PORTCULLIS_TLS__MINIMUM_VERSION");
        assert_eq!(variable("access.users"), None);
        assert_eq!(variable("auth.workload.user"), None);
    }
}
