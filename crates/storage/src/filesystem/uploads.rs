//! Implements [`Uploads`]: the bytes of an upload are one file, to which its writer appends, and which becomes the
//! object by a rename.

use std::{fs, io, path::Path};

use async_trait::async_trait;

use super::{
    super::{
        ByteStream, Objects as _, SealedUpload, StoreError, StorePath, UploadState, UploadWriter, Uploads,
        uploads::{data_path, read_whole},
    },
    FilesystemStore, StoreDir, append, dirs,
};

#[async_trait]
impl Uploads for FilesystemStore {
    async fn open_upload(
        &self,
        folder: &StorePath,
        state: &UploadState,
        _: Option<&StorePath>,
    ) -> Result<Box<dyn UploadWriter>, StoreError> {
        let (path, direct_io, len) = (data_path(folder), self.direct_io, state.len);
        let open = move |disk: &StoreDir, place: &Path| append::open(&disk.dirs, place, len, direct_io);
        let tail = self.run_blocking("append to", &path, open).await?;
        Ok(Box::new(append::FileWriter::new(tail, path)))
    }

    async fn read_upload(&self, folder: &StorePath, state: &UploadState) -> Result<ByteStream, StoreError> {
        let path = data_path(folder);
        read_whole(self.open(&path).await?, &path, state)
    }

    async fn publish_upload(&self, folder: &StorePath, _: &SealedUpload, to: &StorePath) -> Result<(), StoreError> {
        self.rename(&data_path(folder), to).await
    }

    async fn discard_upload(&self, folder: &StorePath, _: &UploadState) -> Result<(), StoreError> {
        self.run_blocking("remove", folder, |disk, place| match fs::remove_dir_all(place) {
            Ok(()) => {
                dirs::remove_empty_dirs(dirs::parent_dir(place), &disk.root);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }
}
