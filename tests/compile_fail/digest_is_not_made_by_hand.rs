//! A digest was parsed or computed; nothing else constructs one.

use portcullis::oci::{Algorithm, Digest};

pub fn forge() -> Digest {
    Digest { algorithm: Algorithm::Sha256, bytes: [0; 64] } //~ E0451
}

fn main() {}
