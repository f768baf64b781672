//! Lists and searches the repositories that a caller may see.

use super::{Error, Registry};
use portcullis_access::CatalogView;
use portcullis_oci::{ListPage, PageRequest, RepositoryName};

impl Registry {
    /// A page of the repositories that `view` shows, in byte order.
    pub async fn catalog(&self, view: &CatalogView<'_>, page: &PageRequest) -> Result<ListPage<RepositoryName>, Error> {
        self.engine.listing_cache.repository_page(&*self.engine.store, page, |name| view.shows(name)).await
    }

    /// At most `limit` of the repositories that `view` shows and whose names contain `text`, in byte order.
    pub async fn search(&self, view: &CatalogView<'_>, text: &str, limit: usize) -> Result<Vec<RepositoryName>, Error> {
        let names = self.engine.listing_cache.repository_names(&*self.engine.store).await?;
        let found = names.iter().filter(|name| name.as_str().contains(text) && view.shows(name));
        Ok(found.take(limit).cloned().collect())
    }
}
