//! Tests which repositories the locations of a server concern, and where they pass requests on to.

use super::{
    super::super::{
        MigrationSource,
        tests::{allowed_actions, migrated, site},
    },
    PASS, assert_rights, rights,
};

#[test]
fn a_location_about_a_part_of_a_repository_closes_that_repository_alone() {
    let inside = format!("location /v2/team/app/manifests/ {{ deny all; }} location /v2/ {{ {PASS} }}");
    assert_rights(
        &inside,
        &[("team/app", ""), ("team/app/manifests/x", ""), ("team/app/x", "pull,push"), ("team", "pull,push")],
    );
    let inside = format!("location = /v2/app/tags/list {{ deny all; }} location /v2/ {{ {PASS} }}");
    assert_rights(&inside, &[("app", ""), ("app/x", "pull,push")]);
}

#[test]
fn expressions_go_before_prefixes_and_not_before_final_ones() {
    let inside = format!(
        "location / {{ {PASS} }} location ~ ^/v2/a/ {{ return 403; }} location ^~ /v2/a/b/ {{ {PASS} }} \
         location /v2/a/c/ {{ {PASS} }}"
    );
    assert_rights(&inside, &[("a/b/x", "pull,push"), ("a/c/x", ""), ("a/x", ""), ("x", "pull,push")]);
}

#[test]
fn a_location_within_another_goes_before_expressions_beside_it() {
    let inside = format!(
        "location /v2/ {{ {PASS} location ~ ^/v2/a/ {{ deny all; {PASS} }} }} location ~ ^/v2/a/b/ {{ {PASS} }} \
         location ~ ^/v2/c/ {{ location ~ ^/v2/c/d/ {{ deny all; {PASS} }} {PASS} }}"
    );
    assert_rights(&inside, &[("a/b/x", ""), ("a/x", ""), ("c/d/x", ""), ("c/x", "pull,push"), ("x", "pull,push")]);
}

#[test]
fn head_is_excepted_by_its_own_name_and_methods_are_written_in_any_case() {
    let inside = format!("auth_basic r; location / {{ limit_except HEAD {{ auth_basic off; }} {PASS} }}");
    assert_eq!(rights(&inside.replace("auth_basic r; ", ""), "", "x"), "", "HEAD asks for a password");
    let inside = format!("location / {{ limit_except get {{ auth_basic off; }} {PASS} }}");
    assert_eq!(rights(&inside, "", "x"), "", "GET asks for a password");
}

#[test]
fn repositories_that_nginx_asks_for_under_another_name_are_closed() {
    for pass in
        ["proxy_pass http://r/v2/b/;", "proxy_pass http://r/;", "proxy_pass http://r$1;", "proxy_pass http://r$uri;"]
    {
        assert_rights(
            &format!("location /v2/a/ {{ {pass} }} location / {{ {PASS} }}"),
            &[("a/x", ""), ("x", "pull,push")],
        );
    }
    for pass in
        ["proxy_pass http://r/v2/a/;", "proxy_pass http://r$request_uri;", "proxy_pass http://unix:/run/r.sock;"]
    {
        assert_rights(&format!("location /v2/a/ {{ {pass} }} location / {{ {PASS} }}"), &[("a/x", "pull,push")]);
    }
}

#[test]
fn an_internal_location_is_closed_with_those_within_it() {
    assert_rights(
        &format!("location /v2/ {{ internal; location /v2/a/ {{ {PASS} }} {PASS} }}"),
        &[("a/x", ""), ("x", "")],
    );
}

#[test]
fn a_users_file_that_depends_on_the_request_lets_nobody_in() {
    assert_rights(&format!("location / {{ auth_basic_user_file /etc/$host; {PASS} }}"), &[("x", "")]);
}

/// Whether signed-in users may pull and push after the migration of a site with these lines in its server and in its
/// location for the registry.
fn passes_on(server: &str, pass: &str) -> bool {
    let text = site(&format!("{server} location /v2/ {{ {pass} }}"));
    allowed_actions(&migrated(MigrationSource::Nginx, &text).toml, "bob", "team/app") == "pull,push"
}

#[test]
fn a_server_that_the_request_chooses_lets_no_one_in() {
    assert!(passes_on("", "proxy_pass http://registry:5000;"));
    assert!(passes_on("", "proxy_pass http://registry:5000$request_uri;"));
    assert!(passes_on("", "set $up registry:5000; proxy_pass http://$up;"));
    assert!(passes_on("set $up http://registry:5000;", "proxy_pass $up;"));
    for (server, pass) in [
        ("", "proxy_pass http://$up;"),
        ("", "proxy_pass http://${up}:5000;"),
        ("set $up registry:5000; if ($remote_user = bob) { set $up 127.0.0.1:1; }", "proxy_pass http://$up;"),
        ("set $up $remote_user;", "proxy_pass http://$up;"),
        ("set $up http://registry:5000/other;", "proxy_pass $up;"),
        ("", "if ($remote_user = bob) { proxy_pass http://127.0.0.1:1; } proxy_pass http://registry:5000;"),
        ("", "proxy_pass http://registry:5000$uri;"),
    ] {
        assert!(!passes_on(server, pass), "{server} {pass}");
    }
}
