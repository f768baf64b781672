//! Runs the client programs that people use, in Debian's versions, against a running server.

mod acme;
mod anonymous;
mod cert_trust;
mod compose;
mod containerd;
mod docker;
mod docker_engine;
mod fail2ban;
mod gc_command;
mod gc_under_load;
mod htpasswd;
mod load_balancers;
mod migrate;
mod migrate_random;
mod migrate_registry;
mod object_storage;
mod password_schemes;
mod podman;
mod registry2_data;
mod registry2_manifests;
mod registry2_paths;
mod registry2_token_server;
mod skopeo;
mod sync_count;
mod workload;
