//! Tests which server is taken for the registry's, its certificates, and the load balancers in front of it.

use std::path::Path;

use super::{
    super::super::{
        MigrationSource, migrate,
        tests::{allowed_actions, load, migrated, remarks, site},
    },
    PASS, assert_rights,
};

#[test]
fn of_two_sites_that_both_may_be_the_registry_none_is_taken() {
    let text = "server { listen 443 ssl; auth_basic r; auth_basic_user_file /a; location / { proxy_pass http://a; } }\n\
                server { listen 443 ssl; auth_basic r; auth_basic_user_file /b; location / { proxy_pass http://b; } }\n";
    let broken = migrate(MigrationSource::Nginx, "old", text).expect_err("this is a guess");
    assert_eq!(broken.to_string(), "the servers in old:1 and old:2 both may be the registry's");
    let named = text.replace("http://b;", "http://127.0.0.1:5000;");
    assert!(migrated(MigrationSource::Nginx, &named).toml.contains("htpasswd = \"/b\""));
}

#[test]
fn certificates_of_clients_open_connections_and_name_no_user() {
    let config = |more: &str| {
        let text = site(&format!("ssl_client_certificate /ca; {more} location / {{ {PASS} }}"));
        let migrated = migrated(MigrationSource::Nginx, &text);
        let messages = remarks(&migrated).join("\n");
        assert!(!messages.contains("not asked for") || more.contains("no_ca"), "{messages}");
        (load(&migrated.toml).config.tls.client, allowed_actions(&migrated.toml, "bob", "x"))
    };
    let open = "pull,push".to_owned();
    for (more, mode) in [
        ("ssl_verify_client on; ssl_crl /crl;", Some((portcullis_tls::ClientMode::Required, true))),
        ("ssl_verify_client optional;", Some((portcullis_tls::ClientMode::Optional, false))),
        (
            "ssl_verify_client optional; if ($ssl_client_verify != SUCCESS) { return 403; }",
            Some((portcullis_tls::ClientMode::Required, false)),
        ),
        ("ssl_verify_client optional_no_ca;", None),
        ("ssl_verify_client off;", None),
    ] {
        let (client, actions) = config(more);
        let seen = client.map(|client| {
            assert_eq!((client.ca.as_path(), client.user), (Path::new("/ca"), portcullis_tls::ClientUser::NoUser));
            (client.mode, client.crl.is_some())
        });
        assert_eq!((seen, &actions), (mode, &open), "{more}");
    }
    let closed = config("ssl_verify_client on; ssl_ocsp on;").1;
    assert_eq!(closed, "", "revocation that is asked elsewhere is not carried over");
}

#[test]
fn clients_without_the_certificate_that_some_location_wants_are_not_let_in_there() {
    let inside = format!(
        "ssl_client_certificate /ca; ssl_verify_client optional; location / {{ {PASS} }} \
         location /v2/a/ {{ if ($ssl_client_verify != SUCCESS) {{ return 403; }} {PASS} }}"
    );
    assert_rights(&inside, &[("a", ""), ("x", "pull,push")]);
}

#[test]
fn load_balancers_in_front_are_trusted_as_before() {
    let server = |more: &str, listen: &str| {
        let text = site(&format!("{more} location / {{ {PASS} }}")).replace("443 ssl;", &format!("443 ssl {listen};"));
        let migrated = migrated(MigrationSource::Nginx, &text);
        let proxies = load(&migrated.toml).config.server.trusted_proxies;
        (proxies.subnets.len(), proxies.uses_proxy_protocol, remarks(&migrated).join("\n"))
    };
    let (trusted, protocol, _) =
        server("set_real_ip_from 10.1.2.3/8; set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For;", "");
    assert_eq!((trusted, protocol), (1, false));
    let (trusted, protocol, _) = server("set_real_ip_from 10.0.0.1; real_ip_header proxy_protocol;", "proxy_protocol");
    assert_eq!((trusted, protocol), (1, true));
    let (trusted, _, messages) = server("set_real_ip_from 10.0.0.1;", "");
    assert!(
        trusted == 0 && messages.contains("X-Real-IP is not read"),
        "clients could write X-Forwarded-For: {messages}"
    );
    let (trusted, protocol, messages) = server("", "proxy_protocol");
    assert!(trusted == 0 && !protocol && messages.contains("trusted_proxies"), "{messages}");
}

#[test]
fn servers_that_differ_by_their_certificates_alone_become_one() {
    let server = |name: &str, location: &str| {
        format!(
            "server {{ listen 443 ssl; server_name {name}; ssl_certificate /{name}.crt; ssl_certificate_key /{name}.key; \
             auth_basic r; auth_basic_user_file /u; location /v2/ {{ {location} {PASS} }} }}\n"
        )
    };
    let text = [server("a.example", ""), server("b.example", ""), server("c.example", "deny all;")].concat();
    let migrated = migrated(MigrationSource::Nginx, &text);
    let config = load(&migrated.toml).config;
    assert_eq!(config.tls.hostnames.len(), 2);
    let portcullis_tls::CertificateSource::Files { additional: more, .. } = config.tls.source else {
        panic!("{}", migrated.toml)
    };
    assert_eq!(more.iter().map(|pair| pair.certificate.display().to_string()).collect::<Vec<_>>(), ["/b.example.crt"]);
    let messages = remarks(&migrated).join("\n");
    assert!(
        messages.contains("server c.example: not carried over") && !messages.contains("server b.example"),
        "{messages}"
    );
}

#[test]
fn a_server_with_two_certificates_keeps_both() {
    let text = site(&format!(
        "ssl_certificate /rsa.crt; ssl_certificate_key /rsa.key; ssl_certificate /ec.crt; ssl_certificate_key /ec.key; \
         location / {{ {PASS} }}"
    ));
    let toml = migrated(MigrationSource::Nginx, &text).toml;
    let portcullis_tls::CertificateSource::Files { certificate, additional: more, .. } = load(&toml).config.tls.source
    else {
        panic!("{toml}")
    };
    assert_eq!((certificate.as_path(), more[0].key.as_path()), (Path::new("/rsa.crt"), Path::new("/ec.key")));
}
