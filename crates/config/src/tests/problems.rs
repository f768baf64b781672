//! Tests of the messages for each kind of configuration error.

use proptest::prelude::*;

use super::*;

#[test]
fn a_misspelled_key_is_told_with_the_right_one() {
    assert_eq!(
        problems("listne = [\"0.0.0.0:443\"]\n[limits]\nidle_timeot = \"1m\"\n[tsl]\n[\"tls.files\"]"),
        "error: portcullis.toml:1:1: unknown key 'listne'\n\
         hint: did you mean 'listen'?\n\
         error: portcullis.toml:3:1: unknown key 'idle_timeot' in [limits]\n\
         hint: did you mean 'idle_timeout'?\n\
         error: portcullis.toml:4:1: unknown table 'tsl'\n\
         hint: did you mean 'tls'?\n\
         error: portcullis.toml:5:1: unknown table 'tls.files'\n\
         hint: known here: listen, hostnames, redirect, trusted_proxies, proxy_protocol, limits, tls, auth, access, groups, registry, storage, log"
    );
}

#[test]
fn a_key_in_the_wrong_table_is_sent_to_the_right_one() {
    assert_eq!(
        problems(
            "minimum_version = \"1.3\"\n[tls]\nlisten = [\"0.0.0.0:443\"]\n[tls.acne]\n[storage.s3]\nbucket = \"b\"\n\
             [[access]]\nuser = [\"a\"]\nrepositories = [\"**\"]\nactions = [\"pull\"]"
        ),
        "error: portcullis.toml:1:1: unknown key 'minimum_version'\n\
         hint: did you mean 'minimum_version' in [tls]?\n\
         error: portcullis.toml:3:1: unknown key 'listen' in [tls]\n\
         hint: 'listen' belongs at the top of the file, before the first [table]\n\
         error: portcullis.toml:4:1: unknown table 'acne' in [tls]\n\
         hint: did you mean 'acme'?\n\
         error: portcullis.toml:5:1: unknown table 's3' in [storage]\n\
         hint: known here: filesystem\n\
         error: portcullis.toml:7:1: this rule has no users\n\
         hint: for example users = [\"alice\"]\n\
         error: portcullis.toml:8:1: unknown key 'user' in [[access]]\n\
         hint: did you mean 'users'?"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_an_example() {
    assert_eq!(
        problems(
            "listen = \"0.0.0.0:443\"\nredirect = 80\nhostnames = []\n[limits]\nconnections = \"many\"\nidle_timeout = 60\n\
             [tls]\nminimum_version = 1.3\n[registry]\nsparse_manifests = \"yes\"\n\
             [auth]\nhtpasswd = [\"a\"]\ntoken = 1979-05-27\n[log]\nlevel = {}"
        ),
        "error: portcullis.toml:1:10: listen: expected a list of socket addresses, found \"0.0.0.0:443\"\n\
         hint: write it in brackets: [\"0.0.0.0:443\"]\n\
         error: portcullis.toml:2:12: redirect: expected a socket address, found the number 80\n\
         hint: for example \"0.0.0.0:443\"\n\
         error: portcullis.toml:3:13: hostnames: expected a list of host names, found an empty list\n\
         hint: for example [\"registry.example.com\"]\n\
         error: portcullis.toml:5:15: limits.connections: expected a whole number between 1 and 1000000, found \"many\"\n\
         hint: for example 4096\n\
         error: portcullis.toml:6:16: limits.idle_timeout: expected a duration between 1s and 1d, found the number 60\n\
         hint: for example \"90s\"\n\
         error: portcullis.toml:8:19: tls.minimum_version: expected \"1.2\" or \"1.3\", found the number 1.3\n\
         hint: for example \"1.2\"\n\
         error: portcullis.toml:10:20: registry.sparse_manifests: expected true or false, found \"yes\"\n\
         hint: for example true\n\
         error: portcullis.toml:12:12: auth.htpasswd: expected a path, found a list\n\
         hint: for example \"htpasswd\"\n\
         error: portcullis.toml:13:9: auth.token: expected a table, found a date or time\n\
         hint: write [auth.token] and its keys below\n\
         error: portcullis.toml:15:9: log.level: expected a log level, found a table\n\
         hint: for example \"info\""
    );
}

#[test]
fn a_value_out_of_bounds_or_form_is_told_with_its_own_place() {
    assert_eq!(
        problems(
            "listen = [\"0.0.0.0:443\", \":8443\", \"localhost:5000\", \"::1\", \"5000\", \"example.com:443\"]\n\
             hostnames = [\"https://registry\"]\n\
             [limits]\nconnections = 0\nidle_timeout = \"5 minutes\"\nhandshake_timeout = \"1h\"\n\
             [auth]\nchallenge = \"baerer\"\nhtpasswd = \"\"\ntoken.lifetime = \"1s\"\ntoken.issuer = \"a\\\"b\"\n\
             [log]\nlevel = \"wran\"\nformat = \"xml\""
        ),
        "error: portcullis.toml:1:26: listen: \":8443\": a socket address is an IP address, a colon and a port\n\
         hint: did you mean \"0.0.0.0:8443\"?\n\
         error: portcullis.toml:1:35: listen: \"localhost:5000\": a socket address is an IP address, a colon and a port\n\
         hint: did you mean \"127.0.0.1:5000\"?\n\
         error: portcullis.toml:1:53: listen: \"::1\": a socket address is an IP address, a colon and a port\n\
         hint: did you mean \"[::1]:443\"?\n\
         error: portcullis.toml:1:60: listen: \"5000\": a socket address is an IP address, a colon and a port\n\
         hint: did you mean \"0.0.0.0:5000\"?\n\
         error: portcullis.toml:1:68: listen: \"example.com:443\": a socket address is an IP address, a colon and a port\n\
         hint: for example \"0.0.0.0:443\"\n\
         error: portcullis.toml:2:14: hostnames: \"https://registry\": a host name must not contain 'https://', a port or a path\n\
         hint: for example \"registry.example.com\"\n\
         error: portcullis.toml:4:15: limits.connections: expected a whole number between 1 and 1000000, found the number 0\n\
         hint: for example 4096\n\
         error: portcullis.toml:5:16: limits.idle_timeout: \"5 minutes\" is not a duration\n\
         hint: write a whole number and its unit: 90s, 5m, 24h or 7d\n\
         error: portcullis.toml:6:21: limits.handshake_timeout: expected a duration between 1s and 5m, found \"1h\"\n\
         hint: for example \"90s\"\n\
         error: portcullis.toml:8:13: auth.challenge: expected \"bearer\" or \"basic\", found \"baerer\"\n\
         hint: did you mean \"bearer\"?\n\
         error: portcullis.toml:9:12: auth.htpasswd: expected a path, found \"\"\n\
         hint: for example \"htpasswd\"\n\
         error: portcullis.toml:10:18: auth.token.lifetime: expected a duration between 1m and 1h, found \"1s\"\n\
         hint: for example \"90s\"\n\
         error: portcullis.toml:11:16: auth.token.issuer: \"a\\\"b\": a name has 1 to 255 characters, and no quotes, backslashes or control characters\n\
         hint: for example \"registry.example.com\"\n\
         error: portcullis.toml:13:9: log.level: \"wran\": a log level is error, warn, info, debug, trace or off, and \"wran\" is none of them\n\
         hint: did you mean \"warn\"?\n\
         error: portcullis.toml:14:10: log.format: expected \"text\" or \"json\", found \"xml\"\n\
         hint: for example \"text\""
    );
}

#[test]
fn contradictory_tables_are_one_error_that_names_both_lines() {
    assert_eq!(
        problems("[tls.files]\ncertificate = \"c\"\nkey = \"k\"\n\n[tls.self_signed]\ndirectory = \"certs\""),
        "error: portcullis.toml:5:1: [tls.self_signed] contradicts [tls.files] at portcullis.toml:1:1\n\
         hint: keep one of the two"
    );
    let variables = [
        ("PORTCULLIS_TLS__SELF_SIGNED__DIRECTORY", "certs"),
        ("PORTCULLIS_TLS__FILES__CERTIFICATE", "c"),
        ("PORTCULLIS_TLS__FILES__KEY", "k"),
    ];
    assert_eq!(
        load_with(&Flags::default(), &variables, b"").unwrap_err(),
        "error: PORTCULLIS_TLS__SELF_SIGNED__DIRECTORY: [tls.self_signed] contradicts [tls.files] at PORTCULLIS_TLS__FILES__CERTIFICATE\n\
         hint: keep one of the two"
    );
}

#[test]
fn the_same_address_twice_is_an_error() {
    assert_eq!(
        problems("listen = [\"0.0.0.0:443\", \"0.0.0.0:443\"]\nredirect = \"0.0.0.0:443\""),
        "error: portcullis.toml:1:10: listen: 0.0.0.0:443 is there twice\n\
         hint: remove one of the two\n\
         error: portcullis.toml:2:12: redirect: 0.0.0.0:443 is already in listen, where HTTPS is served\n\
         hint: remove one of the two"
    );
    config("listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]");
}

#[test]
fn half_a_certificate_is_an_error() {
    assert_eq!(
        problems("[tls.files]\ncertificate = \"c\""),
        "error: portcullis.toml:1:1: tls.files.key is missing\n\
         hint: for example key = \"server.key\""
    );
    let flags = Flags { tls_cert: Some("c".into()), ..Flags::default() };
    assert_eq!(
        load_with(&flags, &[], b"").unwrap_err(),
        "error: --tls-cert: it requires --tls-key as well\n\
         hint: --tls-cert FILE --tls-key FILE name a certificate with its chain, and its private key"
    );
}

#[test]
fn mistakes_in_rules_are_told_all_at_once() {
    assert_eq!(
        problems(
            "[groups]\nteam = [\"alice\", \"@other\"]\n\
             [[access]]\nusers = [\"@taem\", \"@unknown\", \"a:b\"]\nrepositories = [\"Team/**\"]\nactions = [\"pul\"]\n\
             [[access]]\nusers = []"
        ),
        "error: portcullis.toml:2:18: groups.team: \"@other\": '*', 'anonymous' and names that begin with '@' or '#' are reserved\n\
         hint: for example \"alice\"\n\
         error: portcullis.toml:4:10: access.users: \"@taem\": there is no group \"taem\"; define it under [groups]\n\
         hint: did you mean \"@team\"?\n\
         error: portcullis.toml:4:19: access.users: \"@unknown\": there is no group \"unknown\"; define it under [groups]\n\
         hint: for example team = [\"alice\"]\n\
         error: portcullis.toml:4:31: access.users: \"a:b\": a user name cannot contain ':'\n\
         hint: for example \"alice\", \"@team\", \"*\" or \"anonymous\"\n\
         error: portcullis.toml:5:17: access.repositories: \"Team/**\": a repository pattern is lower-case letters, digits, '.', '_', '-', '/', '*', '**' and {user}\n\
         hint: for example \"team/**\"\n\
         error: portcullis.toml:6:12: access.actions: \"pul\": an action is pull, push, delete or admin\n\
         hint: did you mean \"pull\"?\n\
         error: portcullis.toml:7:1: this rule has no actions\n\
         hint: for example actions = [\"pull\"]\n\
         error: portcullis.toml:7:1: this rule has no repositories\n\
         hint: for example repositories = [\"team/**\"]\n\
         error: portcullis.toml:8:9: access.users: expected a list of users, found an empty list\n\
         hint: for example [\"alice\"]"
    );
    assert_eq!(
        problems("access = []\ngroups = 1"),
        "error: portcullis.toml:1:10: access: an empty list of rules\n\
         hint: write each rule below a line [[access]], with users, repositories and actions\n\
         error: portcullis.toml:2:10: groups: expected a table\n\
         hint: write [groups], and below it team = [\"alice\"]"
    );
}

#[test]
fn what_is_no_toml_is_told_with_line_and_column_and_nothing_is_made_up() {
    assert_eq!(
        problems("listen = 0.0.0.0:443\n[tls.files]\nkey = \"k\"\n[limits\nconnections = 1"),
        "error: portcullis.toml:1:13: invalid float, expected nothing\n\
         hint: write text in quotes and lists in brackets: listen = [\"0.0.0.0:443\"]\n\
         error: portcullis.toml:4:8: unclosed table, expected `]`\n\
         hint: write text in quotes and lists in brackets: listen = [\"0.0.0.0:443\"]"
    );
    assert_eq!(
        problems("redirect = \"a\"\nredirect = \"b\""),
        "error: portcullis.toml:2:1: duplicate key\n\
         hint: a key or a table may be defined only once; remove one of the two"
    );
}

#[test]
fn flags_and_variables_are_named_as_their_own_places() {
    let flags = Flags { listen: vec!["443".into()], hostname: vec!["a b".into()], ..Flags::default() };
    let variables = [
        ("PORTCULLIS_LISTEN", "here"),
        ("PORTCULLIS_LIMITS__CONNECTIONS", "many"),
        ("PORTCULLIS_HOSTNAMES", ","),
        ("PORTCULLIS_LISTN", "x"),
    ];
    assert_eq!(
        load_with(&flags, &variables, b"redirect = \"x\"").unwrap_err(),
        "error: --hostname: \"a b\": each part of a host name is 1 to 63 letters, digits, '-' or '_', with '-' neither first nor last\n\
         hint: for example \"registry.example.com\"\n\
         error: --listen: \"443\": a socket address is an IP address, a colon and a port\n\
         hint: did you mean \"0.0.0.0:443\"?\n\
         error: PORTCULLIS_HOSTNAMES: expected a list of host names, found an empty list\n\
         hint: for example [\"registry.example.com\"]\n\
         error: PORTCULLIS_LIMITS__CONNECTIONS: expected a whole number between 1 and 1000000, found \"many\"\n\
         hint: for example 4096\n\
         error: PORTCULLIS_LISTEN: \"here\": a socket address is an IP address, a colon and a port\n\
         hint: for example \"0.0.0.0:443\"\n\
         error: PORTCULLIS_LISTN: no setting has this variable\n\
         hint: did you mean PORTCULLIS_LISTEN?\n\
         error: portcullis.toml:1:12: redirect: \"x\": a socket address is an IP address, a colon and a port\n\
         hint: for example \"0.0.0.0:443\""
    );
}

#[test]
fn control_characters_and_endless_values_do_not_reach_the_terminal() {
    let problems = problems(&format!("redirect = \"\\u001b[2J{}\"\n\"\\u001b\" = 1", "x".repeat(1000)));
    assert!(!problems.contains('\u{1b}') && problems.len() < 600, "{problems}");
}

#[test]
fn every_problem_has_a_hint() {
    let text = "listen = 1\nredirect = \"x\"\n[log]\nformat = \"xml\"\n[groups]\n\"a:b\" = 1\n[[access]]\nusers = [\"@x\", \"#\"]";
    let problems = problems(text);
    assert_eq!(problems.matches("error: ").count(), 9, "{problems}");
    assert_eq!(problems.matches("\nhint: ").count(), 9, "{problems}");
}

proptest! {
    #[test]
    fn whatever_is_written_is_either_valid_or_told(lines in proptest::collection::vec(line(), 0..8), end in ".{0,6}") {
        let text = format!("{}\n{end}", lines.join("\n"));
        if let Err(problems) = load_with(&Flags::default(), &[], text.as_bytes()) {
            prop_assert!(problems.starts_with("error: portcullis.toml:"), "{problems}");
        }
    }
}

/// Generates a line that is sometimes valid.
fn line() -> impl Strategy<Value = String> {
    let keys = super::super::keys::KEYS.iter().flat_map(|key| [key.path().to_owned(), key.name().to_owned()]);
    let values = ["1", "true", "\"a\"", "\"1m\"", "[]", "[\"a\"]", "[\"@a\", 1.5]", "{ a = 1 }", "1979-05-27", "\"1.2"];
    let headers =
        ["[tls]", "[tls.files]", "[tls.self_signed]", "[[access]]", "[groups]", "[auth.token]", "[x.y]", "[["];
    let setting = (proptest::sample::select(keys.collect::<Vec<_>>()), proptest::sample::select(values.to_vec()));
    prop_oneof![
        3 => setting.prop_map(|(key, value)| format!("{key} = {value}")),
        1 => proptest::sample::select(headers.to_vec()).prop_map(str::to_owned),
    ]
}

#[test]
fn further_certificates_are_read_in_their_order_and_each_needs_its_two_files() {
    let first = "[tls.files]\ncertificate = \"a.crt\"\nkey = \"a.key\"\n";
    let more = "[[tls.files.more]]\ncertificate = \"b.crt\"\nkey = \"b.key\"\n[[tls.files.more]]\ncertificate = \"c.crt\"\nkey = \"c.key\"";
    let pairs = config(&format!("{first}{more}")).tls.source.pairs();
    let names: Vec<_> =
        pairs.iter().map(|pair| (pair.certificate.to_str().unwrap(), pair.key.to_str().unwrap())).collect();
    assert_eq!(names, [("a.crt", "a.key"), ("b.crt", "b.key"), ("c.crt", "c.key")]);
    let found = problems(&format!(
        "{first}[[tls.files.more]]\ncertificate = \"b.crt\"\ncrt = \"b\"\n[[tls.files.more]]\nkey = 1"
    ));
    for words in [
        "portcullis.toml:4:1: this pair has no key\n",
        "portcullis.toml:6:1: unknown key 'crt' in [[tls.files.more]]\n",
        "portcullis.toml:7:1: this pair has no certificate\n",
        "portcullis.toml:8:7: tls.files.more.key: expected a path, found the number 1\n",
    ] {
        assert!(found.contains(words), "{words}\n{found}");
    }
    let found = problems(&format!("{first}more = []"));
    assert!(
        found.contains("tls.files.more: an empty list of certificates\nhint: write each certificate below"),
        "{found}"
    );
}

#[test]
fn an_order_that_could_come_to_nothing_is_told_before_it_is_made() {
    assert_eq!(
        problems("hostnames = [\"10.0.0.1\", \"localhost\"]\n[tls.acme]\nchallenge = \"http-01\""),
        "error: portcullis.toml:2:1: tls.acme: there is no host name to order a certificate for\n\
         hint: write the DNS names of this server at the top, for example hostnames = [\"registry.example.com\"]\n\
         error: portcullis.toml:3:13: tls.acme.challenge: http-01 is answered where redirect listens, and that is not set\n\
         hint: write redirect = \"0.0.0.0:80\" at the top, or leave the challenge out"
    );
    assert_eq!(
        problems(
            "hostnames = [\"registry.example.com\"]\n[tls.acme]\ndirectory = \"http://acme.example\"\n\
             contact = [\"admin\", \"a@example.com\"]\nchallenge = \"dns-01\"\nca = \"\""
        ),
        "error: portcullis.toml:3:13: tls.acme.directory: \"http://acme.example\": the directory of an ACME server is an https URL\n\
         hint: for example \"https://acme-v02.api.letsencrypt.org/directory\"\n\
         error: portcullis.toml:4:12: tls.acme.contact: \"admin\": not a mail address\n\
         hint: for example \"admin@example.com\"\n\
         error: portcullis.toml:5:13: tls.acme.challenge: expected \"any\" or \"tls-alpn-01\" or \"http-01\", found \"dns-01\"\n\
         hint: for example \"any\"\n\
         error: portcullis.toml:6:6: tls.acme.ca: expected a path, found \"\"\n\
         hint: for example \"acme-root.crt\""
    );
}

#[test]
fn only_one_table_says_where_the_certificate_comes_from() {
    assert_eq!(
        problems(
            "hostnames = [\"registry.example.com\"]\n[tls.acme]\n[tls.self_signed]\n[tls.files]\ncertificate = \"a\"\nkey = \"b\""
        ),
        "error: portcullis.toml:3:1: [tls.self_signed] contradicts [tls.acme] at portcullis.toml:2:1\n\
         hint: keep one of the two\n\
         error: portcullis.toml:4:1: [tls.files] contradicts [tls.acme] at portcullis.toml:2:1\n\
         hint: keep one of the two"
    );
}
