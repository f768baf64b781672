//! Checks the lists of referrers in both directions: that each manifest with a subject is in the list of the subject,
//! and that each entry of a list refers to its subject.

use super::{LinkCheck, Unreadable, intact_content::IntactContent};
use crate::{
    fsck::StoreDamage,
    links,
    paths::{DirKey, ObjectKey},
    referrers::list_folder,
};
use portcullis_oci::{Algorithm, Digest, Manifest, RepositoryName};

impl LinkCheck<'_> {
    /// Reports each manifest with a `subject` that is not in the subject's list of referrers.
    pub(super) async fn check_missing_referrers(&mut self, name: &RepositoryName, documents: &[(Digest, Manifest)]) {
        for (referrer, document) in documents {
            let Some(subject) = document.subject.as_ref().map(|subject| subject.digest) else { continue };
            let link = ObjectKey::ReferrerLink { repository: name, subject: &subject, referrer };
            match links::exists(&*self.check.registry.engine.store, link).await {
                Ok(true) => {}
                Ok(false) => {
                    self.add_finding(name, StoreDamage::MissingReferrer { subject, referrer: *referrer });
                }
                Err(error) => self.add_unreadable(name, &Unreadable { path: link.path(), error }),
            }
        }
    }

    /// Reports each entry of a list of referrers whose manifest does not refer to the subject.
    pub(super) async fn check_referrer_entries(&mut self, name: &RepositoryName, content: &IntactContent) {
        for algorithm in Algorithm::ALL {
            let folder = DirKey::Subjects(name, algorithm).path();
            let entries = match self.check.registry.engine.store.list(&folder).await {
                Ok(entries) => entries,
                Err(error) => {
                    self.add_unreadable(name, &Unreadable { path: folder, error });
                    continue;
                }
            };
            for entry in entries {
                let Ok(subject) = format!("{algorithm}:{}", entry.name).parse::<Digest>() else { continue };
                match self.list_links(list_folder(name, &subject)).await {
                    Ok(referrers) => self.check_referrers_of(name, subject, referrers, content),
                    Err(unreadable) => self.add_unreadable(name, &unreadable),
                }
            }
        }
    }

    fn check_referrers_of(
        &mut self,
        name: &RepositoryName,
        subject: Digest,
        referrers: Vec<Digest>,
        content: &IntactContent,
    ) {
        for referrer in referrers {
            let refers = content.manifests.get(&referrer).is_some_and(|named| named.may_refer_to(subject));
            if !refers {
                self.add_finding(name, StoreDamage::ReferrerToNowhere { subject, referrer });
            }
        }
    }
}
