//! A commit takes the verified bytes away.

use portcullis::{
    access::Push,
    registry::{Repository, VerifiedBlob},
};

pub async fn twice(repository: &Repository<Push>, blob: VerifiedBlob) {
    let _ = repository.commit(blob).await;
    let _ = repository.commit(blob).await; //~ E0382
}

fn main() {}
