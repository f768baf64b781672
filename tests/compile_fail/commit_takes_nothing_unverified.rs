//! Bytes are verified before they are committed.

use portcullis::{
    access::Push,
    oci::Digest,
    registry::{Repository, Upload, UploadId},
};

pub async fn commit(repository: &Repository<Push>, digest: Digest, id: UploadId, upload: Upload) {
    let _ = repository.commit(digest).await; //~ E0308
    let _ = repository.commit(id).await; //~ E0308
    let _ = repository.commit(upload).await; //~ E0308
}

fn main() {}
