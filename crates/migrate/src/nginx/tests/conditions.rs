//! Tests conditions outside of locations' own directives: `if`, `rewrite` and unknown directives.

use super::{
    super::super::{
        MigrationSource,
        tests::{allowed_actions, migrated, remarks, site},
    },
    PASS, assert_rights,
};

#[test]
fn a_condition_in_a_location_that_patterns_cannot_say_does_not_get_lost() {
    for condition in [
        "if ($remote_user != admin) { return 403; }",
        "allow 10.0.0.0/8; deny all;",
        "deny all;",
        "auth_request /auth;",
        "auth_basic_user_file /others;",
        "access_by_lua_file /x.lua;",
        "return 403;",
    ] {
        let inside = format!("location ~ ^/v2/([a-z]+)-internal/ {{ {condition} {PASS} }} location /v2/ {{ {PASS} }}");
        assert_rights(
            &inside,
            &[
                ("team-internal/x", ""),
                ("team-internal/x/y", ""),
                ("team/x", "pull,push"),
                ("a/b-internal/x", "pull,push"),
            ],
        );
        let remarks = remarks(&migrated(MigrationSource::Nginx, &site(&inside)));
        let names_it = |remark: &String| {
            remark.starts_with("warning: old:1: location ^/v2/([a-z]+)-internal/: ") && remark.contains("*-internal/**")
        };
        assert!(remarks.iter().any(names_it), "{condition}: {remarks:#?}");
    }
}

#[test]
fn a_condition_that_may_apply_anywhere_closes_everything() {
    for location in [r"~ ^/v2/\x74eam/", "~ ^/v2/(?!public/)", "~ secret", r"~ ^/v2/.*/manifests/", "~* ^/v2/[A-Z]+/"] {
        let inside = format!("location {location} {{ deny all; {PASS} }} location / {{ {PASS} }}");
        assert_rights(&inside, &[("team/x", ""), ("public", "")]);
    }
}

#[test]
fn what_only_an_if_passes_on_is_not_open() {
    let inside = format!("location / {{ if ($request_method ~ ^(GET|HEAD)$) {{ {PASS} }} }}");
    assert_rights(&inside, &[("x", "")]);
}

#[test]
fn a_redirect_is_no_permission() {
    assert_rights(
        &format!("location / {{ if ($request_method = PUT) {{ return 301 https://x/; }} {PASS} }}"),
        &[("x", "pull")],
    );
    assert_rights(&format!("if ($scheme = https) {{ return 301 https://x/; }} location / {{ {PASS} }}"), &[("x", "")]);
    assert_rights(
        &format!("if ($scheme = http) {{ return 301 https://x/; }} location / {{ {PASS} }}"),
        &[("x", "pull,push")],
    );
}

#[test]
fn a_condition_on_the_host_is_harmless_only_where_the_server_has_that_name() {
    let with = |condition: &str| format!("server_name r.test; {condition} location / {{ {PASS} }}");
    for condition in ["if ($host != r.test) { return 444; }", "if ($host !~ ^r\\.test$) { return 444; }"] {
        assert_rights(&with(condition), &[("x", "pull,push")]);
    }
    for condition in [
        "if ($host != other.test) { return 403; }",
        "if ($host = r.test) { return 403; }",
        "if ($host != other.test) { rewrite ^ /x break; }",
    ] {
        assert_rights(&with(condition), &[("x", "")]);
    }
}

#[test]
fn conditions_on_paths_close_what_they_name() {
    for condition in [
        "if ($uri ~ ^/v2/a/) { return 403; }",
        "if ($request_uri ~* ^/V2/A/) { return 403; }",
        "if ($uri = /v2/a/tags/list) { return 403; }",
        "rewrite ^/v2/a/(.*)$ /v2/b/$1 last;",
        "rewrite ^/v2/a/ /x redirect;",
        "if ($http_user_agent ~ docker) { rewrite ^/v2/a/ /x last; }",
    ] {
        let server = format!("{condition} location / {{ {PASS} }}");
        let location = format!("location / {{ {condition} {PASS} }}");
        assert_rights(&server, &[("a", ""), ("b", "pull,push")]);
        assert_rights(&location, &[("a", ""), ("b", "pull,push")]);
    }
    assert_rights(
        &format!("if ($request_uri ~ ^/v2/[^/]+-x/) {{ return 403; }} location / {{ {PASS} }}"),
        &[("a/b-x/c", "")],
    );
}

#[test]
fn directives_that_are_not_known_may_refuse() {
    assert_rights(&format!("modsecurity on; location / {{ {PASS} }}"), &[("x", "")]);
    assert_rights(
        &format!("location /v2/a/ {{ testcookie on; {PASS} }} location / {{ {PASS} }}"),
        &[("a", ""), ("x", "pull,push")],
    );
    assert_rights(&format!("gzip off; proxy_buffering off; location / {{ {PASS} }}"), &[("x", "pull,push")]);
}

#[test]
fn a_condition_on_the_user_agent_takes_no_rights_away_and_is_warned_of_with_its_line() {
    for condition in [
        "if ($http_user_agent ~ \"^docker/1\\.3\") { return 404; }",
        "if ($http_user_agent !~* docker) { return 403; }",
        "if ($http_user_agent = \"\") { return 403; }",
    ] {
        for inside in [format!("{condition} location / {{ {PASS} }}"), format!("location / {{\n{condition}\n{PASS} }}")]
        {
            let migrated = migrated(MigrationSource::Nginx, &site(&inside));
            assert_eq!(allowed_actions(&migrated.toml, "bob", "x"), "pull,push", "{inside}");
            let line = if inside.contains('\n') { 2 } else { 1 };
            let warning = format!("warning: old:{line}: if ($http_user_agent ");
            let is_warning =
                |remark: &String| remark.starts_with(&warning) && remark.contains("are served like all others");
            assert!(remarks(&migrated).iter().any(is_warning), "{inside}: {:#?}", remarks(&migrated));
        }
    }
    let text = site(&format!("if ($http_user_agent ~ docker) {{ set $x 1; }} location / {{ {PASS} }}"));
    let remarks = remarks(&migrated(MigrationSource::Nginx, &text));
    assert!(!remarks.iter().any(|remark| remark.contains("are served like all others")), "{remarks:#?}");
}
