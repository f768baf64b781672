//! The right way to everything that the other programs try.

use portcullis::{
    access::{Admin, Authorized, Delete, Gate, Pull, Push, Subject},
    auth::{Password, SigningKey},
    oci::{Algorithm, Digest, Reference, RepositoryName, Tag},
    registry::{Registry, Repository, UploadId, VerifiedBlob},
    storage::StorePath,
};

pub fn enter(gate: &Gate, subject: &Subject, registry: &Registry, name: RepositoryName) -> Option<Repository<Pull>> {
    let proof: Authorized<Pull> = gate.authorize(subject, name).ok()?;
    Some(registry.open(&proof))
}

pub async fn read(repository: &Repository<Pull>, digest: &Digest) {
    let _ = repository.blob(digest).await;
}

pub async fn write(repository: &Repository<Push>, reference: &Reference, id: UploadId, blob: VerifiedBlob) {
    let _ = repository.begin_upload(Algorithm::Sha256, std::time::SystemTime::now()).await;
    let _ = repository.put_manifest(reference, Vec::new(), None, Default::default()).await;
    let _ = repository.cancel_upload(id).await;
    let _ = repository.commit(blob).await;
}

pub async fn delete(repository: &Repository<Delete>, reference: &Reference, digest: &Digest) {
    let _ = repository.delete_manifest(reference).await;
    let _ = repository.delete_blob(digest).await;
}

pub async fn administer(repository: &Repository<Admin>) {
    let _ = repository.delete().await;
}

pub fn parse() -> Option<(Digest, RepositoryName, Tag, StorePath, UploadId)> {
    Some(("".parse().ok()?, "".parse().ok()?, "".parse().ok()?, "".parse().ok()?, "".parse().ok()?))
}

pub fn keep(password: Password, key: &SigningKey) -> (Password, String) {
    (password.clone(), key.id().to_owned())
}

fn main() {}
