//! Says after `cargo test` which tests did not run, and how to run them.

/// What plain `cargo test` leaves out; `None` if the feature `real-parts` is on and it leaves out nothing.
#[must_use]
pub fn left_out() -> Option<&'static str> {
    (!cfg!(feature = "real-parts")).then_some(
        "These tests needed neither root nor other programs. `make test` installs the programs of tests/packages.txt and \
         also runs the tests with docker, podman, containerd, skopeo, nginx, docker-registry, htpasswd, openssl, pebble and \
         others, on full and read-only disks, and in network namespaces.",
    )
}
