//! A name and a path were parsed; nothing else constructs them.

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
