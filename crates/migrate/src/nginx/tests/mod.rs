//! Tests the migration of nginx sites; each test is named after a configuration that could be migrated wrongly.

mod conditions;
mod includes;
mod locations;
mod servers;

use super::super::{
    MigrationSource,
    tests::{allowed_actions, migrated, site},
};

const PASS: &str = "proxy_pass http://r:5000;";

fn rights(inside: &str, user: &str, repository: &str) -> String {
    allowed_actions(&migrated(MigrationSource::Nginx, &site(inside)).toml, user, repository)
}

/// Asserts what a signed-in user may do in each repository.
fn assert_rights(inside: &str, expected: &[(&str, &str)]) {
    for (repository, actions) in expected {
        assert_eq!(rights(inside, "bob", repository), *actions, "{repository} in {inside}");
    }
}
