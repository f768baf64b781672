//! Whoever holds a name or a path holds one that was parsed.

use portcullis::{
    oci::{MediaType, RepositoryName, Tag},
    storage::StorePath,
};

pub fn forge() -> (RepositoryName, Tag, MediaType, StorePath) {
    (
        RepositoryName("../../etc".to_owned()), //~ E0423
        Tag("../../etc".to_owned()),            //~ E0423
        MediaType("\r\n".to_owned()),           //~ E0423
        StorePath("../../etc".to_owned()),      //~ E0423
    )
}

fn main() {}
