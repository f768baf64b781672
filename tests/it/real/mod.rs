//! The programs that people use, as Debian ships them, against a server of ours.

mod compose;
mod containerd;
mod distribution;
mod docker;
mod engine;
mod garbage;
mod htpasswd;
mod podman;
mod skopeo;
mod trust;
