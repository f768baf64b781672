//! The right to pull does not include writing.

use portcullis::{
    access::Pull,
    oci::{Algorithm, Digest, Reference},
    registry::{Repository, UploadId, VerifiedBlob},
};

pub fn write(pull: &Repository<Pull>, reference: &Reference, id: UploadId, digest: &Digest, blob: VerifiedBlob) {
    pull.begin_upload(Algorithm::Sha256, std::time::SystemTime::now()); //~ E0599
    pull.upload(id); //~ E0599
    pull.upload_offset(id); //~ E0599
    pull.cancel_upload(id); //~ E0599
    pull.commit(blob); //~ E0599
    pull.mount(pull, digest); //~ E0599
    pull.put_manifest(reference, Vec::new(), None, Default::default()); //~ E0599
}

fn main() {}
