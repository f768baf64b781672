//! Runs the client programs that people use, in Debian's versions, against a running server.

mod acme;
mod anonymous;
mod balancer;
mod cert_trust;
mod compose;
mod containerd;
mod distribution;
mod docker;
mod documents;
mod engine;
mod fail2ban;
mod garbage;
mod htpasswd;
mod load;
mod migrate;
mod migrate_random;
mod migrate_registry;
mod passwords;
mod podman;
mod skopeo;
mod spellings;
mod syncs;
mod trust;
mod workload;
